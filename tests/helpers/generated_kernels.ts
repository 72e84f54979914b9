/** Kernels that a test generates, taken as a program takes them. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type GeneratedFiles, writeFiles } from "../../codegen/generate.ts";
import type { KernelInfo } from "../../mod.ts";

/** Writes generated files into a folder of their own, and imports their manifest for `use`. */
export async function withGenerated(
  files: GeneratedFiles,
  use: (kernels: readonly KernelInfo[]) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    writeFiles(pathToFileURL(`${folder}/`), files);
    const { manifest }: { manifest: readonly KernelInfo[] } = await import(
      pathToFileURL(join(folder, "manifest.ts")).href
    );
    await use(manifest);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
