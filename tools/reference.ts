/**
 * `deno task reference`: writes the API reference, a folder of pages with a search, into `dist/reference/`. Any static
 * server serves it, and so does the file system.
 *
 * @module
 */
import config from "../deno.json" with { type: "json" };
import { mkdir, rm } from "node:fs/promises";
import { runDeno } from "./project.ts";

const FOLDER = "dist/reference";

/** Modules of entries that programs import, without the command line, and the many sets of kernels, which are alike. */
function documentedModules(): string[] {
  return Object.entries(config.exports)
    .filter(([entry]) => entry !== "./cli" && !entry.startsWith("./kernels/"))
    .map(([, module]) => module);
}

/**
 * Writes the pages into a folder, which is emptied first.
 *
 * @param folder Relative to the checkout.
 */
export async function writeReference(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await runDeno(["doc", "--html", "--name=Couplet", `--output=${folder}`, ...documentedModules()]);
}

if (import.meta.main) {
  await writeReference(FOLDER);
  console.log(`Open ${FOLDER}/index.html`);
}
