import { join } from "node:path";
import { isFile, readBytes } from "../../cli/files.ts";
import { modelFile, weightFiles } from "../../cli/model_folder.ts";
import { type Checkpoint, readCheckpoint } from "./checkpoint.ts";

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
    read: (file) => readBytes(join(folder, file), modelFile(folder, file)),
  });
}
