/** Reads a model's `config.json` for a command. */
import {
  MODEL_TYPES,
  type ModelPlanOptions,
  planOptions,
  type ReadingOptions,
} from "../src/models/mod.ts";
import { CoupletError } from "../src/base/errors.ts";
import { readConfigFile } from "./config_file.ts";
import { nearestText } from "./nearest.ts";

/** `--as`, in words. */
export const AS: readonly [flags: string, description: string] = [
  "--as <model_type>",
  "read its config.json as one of this model_type, whose attention is the same",
];

/**
 * What a model's `config.json` means for a plan.
 *
 * @param path The file, or the folder that holds it.
 * @throws {CoupletError} `usage` where `--as` names no family; `file` and `shape` as
 * `planOptions()` does.
 */
export async function readModel(
  path: string,
  { as, ...options }: {
    readonly [name in keyof ReadingOptions]?: ReadingOptions[name] | undefined;
  },
): Promise<ModelPlanOptions> {
  const config = await readConfigFile(path);
  if (as !== undefined && !MODEL_TYPES.includes(as)) {
    throw new CoupletError("usage", {
      what: "Cannot read the config.json",
      why: `--as is "${as}", which is not among the families known${nearestText(as, MODEL_TYPES)}`,
      remedy: "Name one of docs/models.md",
    });
  }
  const { space, length } = options;
  return planOptions(config, {
    ...(as === undefined ? {} : { as }),
    ...(space === undefined ? {} : { space }),
    ...(length === undefined ? {} : { length }),
  });
}
