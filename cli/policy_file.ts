import { z } from "zod";
import type { Policy } from "../src/schemes/policy.ts";
import { readJson } from "./json.ts";

const scheme = z.string().min(1);
const pair = z.strictObject({ keys: scheme, values: scheme });

/** A policy as JSON: the library's `Policy`. */
export const policySchema = z.strictObject({
  keys: scheme,
  values: scheme,
  layers: z.record(z.string().regex(/^(0|[1-9]\d*)$/), pair).optional(),
});

const fileSchema = z.object({ name: z.string().min(1), policy: policySchema });

/**
 * Reads a saved policy, `{ "name": ..., "policy": { "keys", "values", "layers" } }`. Other
 * properties are ignored.
 *
 * @throws {CoupletError} `file` where it cannot be read or is not a policy.
 */
export async function readPolicy(
  path: string,
): Promise<{ readonly name: string; readonly policy: Policy }> {
  const source = {
    what: `the policy ${path}`,
    remedy: "Give a file in the form that docs/evaluation.md describes",
  };
  const { name, policy } = await readJson(path, source, fileSchema);
  const { layers, ...rest } = policy;
  return { name, policy: layers === undefined ? rest : { ...rest, layers } };
}
