import { stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { readJson } from "./json.ts";

/**
 * The content of a `config.json`, to be read by `planOptions()`.
 *
 * @param path The file, or the folder that holds it.
 * @throws {CoupletError} `file` where there is none, or it is not JSON.
 */
export async function readConfigFile(path: string): Promise<unknown> {
  const found = await stat(path).catch(() => undefined);
  const file = found?.isDirectory() ? join(path, "config.json") : path;
  const remedy = "Give a Hugging Face config.json, or the folder that holds it";
  return await readJson(file, { what: file, remedy }, z.unknown());
}
