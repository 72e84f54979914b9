import { join } from "node:path";
import { isFile, readBytes } from "../../cli/files.ts";
import { modelFile, weightFiles } from "../../cli/model_folder.ts";
import { type Checkpoint, readCheckpoint, readConfig } from "./checkpoint.ts";
import type { ModelConfig } from "./config.ts";

/**
 * Reads the `config.json` of a Hugging Face folder alone, for what can be refused before its weights are read.
 *
 * @throws {CoupletError} `file` or `shape` where it is missing, damaged or of another family.
 */
export async function loadConfig(folder: string): Promise<ModelConfig> {
  return readConfig(await readFileOf(folder, "config.json"));
}

/**
 * Loads a Hugging Face folder: `config.json`, `tokenizer.json`, and `model.safetensors` or
 * `model.safetensors.index.json` with its shards.
 *
 * @throws {CoupletError} `file` or `shape` where anything is missing, damaged or of another family.
 */
export async function loadModel(folder: string): Promise<Checkpoint> {
  return await readCheckpoint({
    name: folder.replaceAll("\\", "/").replace(/\/+$/, "").split("/").at(-1) ?? folder,
    weightFiles: () => weightFiles(folder),
    has: (file) => isFile(join(folder, file)),
    read: (file) => readFileOf(folder, file),
  });
}

function readFileOf(folder: string, file: string): Promise<Uint8Array<ArrayBuffer>> {
  return readBytes(join(folder, file), modelFile(folder, file));
}
