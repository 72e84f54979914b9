import { z } from "zod";
import type { Policy } from "../src/schemes/policy.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import { readJson } from "./json.ts";

/** Ids are parsed where they are used. */
const scheme = z.custom<SchemeId>(
  (id) => typeof id === "string" && id !== "",
  "it must be the id of a scheme",
);
const pair = z.strictObject({ keys: scheme, values: scheme });

/** A policy as JSON: the library's `Policy`. */
export const policySchema = z.strictObject({
  keys: scheme,
  values: scheme,
  layers: z.record(z.string().regex(/^(0|[1-9]\d*)$/), pair).optional(),
  shareHeads: z.boolean().optional(),
});

const fileSchema = z.object({ name: z.string().min(1), policy: policySchema });

/**
 * Reads a saved policy, `{ "name": ..., "policy": { "keys", "values", "layers", "shareHeads" }
 * }`. Other properties are ignored.
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
  const { keys, values, layers, shareHeads } = policy;
  return {
    name,
    policy: {
      keys,
      values,
      ...(layers === undefined ? {} : { layers }),
      ...(shareHeads === undefined ? {} : { shareHeads }),
    },
  };
}
