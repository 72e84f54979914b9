/** What of a bundle loads together. */
import type { Metafile } from "esbuild";

/** Paths of some outputs and of all that they import, except on demand. */
export function withStaticImports({ outputs }: Metafile, entries: Iterable<string>): string[] {
  const seen = new Set(entries);
  for (const path of seen) {
    for (const { kind, path: imported } of outputs[path]!.imports) {
      if (kind === "import-statement") seen.add(imported);
    }
  }
  return [...seen];
}
