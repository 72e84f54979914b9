import {
  type ChosenPolicy,
  CoupletError,
  type ModelFingerprint,
  type Policy,
  type Sensitivity,
} from "@couplet/kv";
import { z } from "zod";
import { readJson } from "../../cli/json.ts";

/** What the program writes: a policy that others take up, and what it was chosen by. */
export interface PolicyFile
  extends Pick<ChosenPolicy, "effectiveBits" | "nominalBits" | "expectedLoss"> {
  /** For tables. */
  readonly name: string;
  readonly policy: Policy;
  readonly model: ModelFingerprint;
  /** Where the sensitivities come from, for people. */
  readonly source: string;
  readonly sensitivities: readonly Sensitivity[];
}

/**
 * The sensitivities in a file of an earlier run.
 *
 * @throws {CoupletError} `file` where it is none, `codebook` where it is of another model.
 */
export async function readSensitivities(
  path: string,
  model: ModelFingerprint,
): Promise<Pick<PolicyFile, "source" | "sensitivities">> {
  const what = `Cannot read the sensitivities of ${path}`;
  const remedy = "Pass a file that this program wrote with --json";
  const file = await readJson(
    path,
    { what: `the sensitivities of ${path}`, remedy },
    z.looseObject({ model: z.object({ name: z.string(), digest: z.string() }).optional() }),
  ) as Partial<PolicyFile>;
  const { sensitivities, source } = file;
  if (
    typeof source !== "string" || !Array.isArray(sensitivities) ||
    !sensitivities.every(isSensitivity)
  ) {
    throw new CoupletError("file", { what, why: "it holds no list of sensitivities", remedy });
  }
  if (file.model?.digest !== model.digest) {
    throw new CoupletError("codebook", {
      what,
      why: `they are of ${file.model?.name ?? "another model"}, and the model is ${model.name}`,
      remedy: "Measure this model, without --from",
    });
  }
  return { source, sensitivities };
}

function isSensitivity(one: Partial<Sensitivity> | null): one is Sensitivity {
  return Number.isSafeInteger(one?.layer) && (one?.side === "keys" || one?.side === "values") &&
    typeof one.scheme === "string" && Number.isFinite(one.loss);
}
