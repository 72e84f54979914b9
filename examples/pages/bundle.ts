/** Bundles the pages of the examples into folders of static files. */
import { build, type Metafile, type Plugin } from "esbuild";
import { mkdir, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import config from "../../deno.json" with { type: "json" };
import { ROOT, runDeno } from "../../tools/project.ts";
import { withStaticImports } from "../../tools/static_imports.ts";

/** Contents by path. */
export type Files = Map<string, string | Uint8Array>;

/** A page's programs, bundled. */
export interface Bundle {
  /** By path in the output folder; nothing is written yet. */
  readonly files: Files;
  readonly metafile: Metafile;
}

/** The library's own entries, which programs import by name. */
const alias = Object.fromEntries(
  Object.entries(config.imports)
    .filter(([, path]) => path.startsWith("./"))
    .map(([name, path]) => [name, `${ROOT}${path.slice(2)}`]),
);

/**
 * Bundles a page's programs.
 *
 * @param page The page's folder, a project with packages of its own.
 * @param entries The programs, by the names they are loaded by.
 * @param output Path of the folder that they will lie in.
 */
export async function bundlePrograms(
  page: string,
  entries: Readonly<Record<string, string>>,
  output: string,
  plugins: readonly Plugin[] = [],
): Promise<Bundle> {
  // The page's own packages; esbuild finds them in the folder that this fills.
  await runDeno(["cache", "--frozen", "--config", `${page}deno.json`, ...Object.values(entries)]);
  const { metafile, outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: { ...entries },
    outdir: output,
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    minify: true,
    metafile: true,
    jsx: "automatic",
    jsxImportSource: "preact",
    // One copy, for files of another page's folder, too.
    alias: { ...alias, preact: `${page}node_modules/preact` },
    plugins: [...plugins],
    // Files outside the page's folder find its packages, too.
    nodePaths: [`${page}node_modules`],
    chunkNames: "chunks/[name]-[hash]",
    // Written when everything has succeeded.
    write: false,
    logLevel: "warning",
  });
  return { files: new Map(outputFiles.map(({ path, contents }) => [path, contents])), metafile };
}

/** Writes files into a folder, whose content they replace. */
export async function replaceFolder(output: string, files: Files): Promise<void> {
  await rm(output, { recursive: true, force: true });
  for (const [path, content] of files) {
    await mkdir(dirname(path), { recursive: true });
    await Deno.writeFile(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
  }
}

/** The paths that load together with an entry: it and what it imports, except on demand. */
export function initialPaths(metafile: Metafile, entry: string): string[] {
  const entries = Object.keys(metafile.outputs).filter((path) => path.endsWith(`/${entry}`));
  return withStaticImports(metafile, entries).map((path) => resolve(ROOT, path));
}
