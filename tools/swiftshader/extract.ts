/**
 * Unpacks SwiftShader, a Vulkan driver that runs on the CPU, into a folder.
 *
 * Run by `../adapters.ts` in a process of its own with the `deno.json` beside this file, a small
 * project apart from the main one: its package is 67 MB and must not be part of every install.
 * The lock file beside it pins the bytes.
 *
 * Usage: `deno run -A --frozen --config deno.json extract.ts FOLDER`
 *
 * @module
 */
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
// Imported only to be installed: Deno fetches the packages that the module graph names.
import "@sparticuz/chromium";
import { extract } from "tar";

const FILES: readonly string[] = [
  "libvk_swiftshader.so",
  "libvulkan.so.1",
  "vk_swiftshader_icd.json",
];

const [folder] = Deno.args;
if (folder === undefined) throw new Error("Usage: extract.ts FOLDER");

// A unique neighbour is filled first and renamed at the end: whoever sees the folder sees all of it.
const unfinished = `${folder}.${crypto.randomUUID()}`;
await Deno.mkdir(unfinished, { recursive: true });
try {
  const archive = new URL("../bin/swiftshader.tar.br", import.meta.resolve("@sparticuz/chromium"));
  await pipeline(
    createReadStream(archive),
    createBrotliDecompress(),
    extract({
      cwd: unfinished,
      strict: true,
      filter: (path: string): boolean => FILES.includes(path.replace(/^\.\//, "")),
    }),
  );
  for (const file of FILES) await Deno.stat(`${unfinished}/${file}`);
  await Deno.rename(unfinished, folder);
} catch (error) {
  await Deno.remove(unfinished, { recursive: true });
  // Another process may have finished the same folder in the meantime; then all is well.
  const finished = await Deno.stat(folder).then(() => true, () => false);
  if (!finished) throw error;
}
