/** Builds the page: bundles it, and writes what it loads on demand, template text and where each kernel's lines come from. */
import { build, type Metafile } from "esbuild";
import { mkdir, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { expandTable } from "../../codegen/rows/expand.ts";
import { readTemplates } from "../../codegen/render/templates.ts";
import { anchored, kmeans, ladder, pairs, sizes } from "../../codegen/variants.ts";
import { ROOT, runDeno } from "../../tools/project.ts";
import { kernels } from "./page/kernels.ts";
import { createTracer } from "./trace/trace_templates.ts";

const PAGE = `${ROOT}examples/explorer/page/`;
const TEMPLATES = new URL("../../templates/", import.meta.url);

/** The page's programs, by the names they are loaded by. */
const ENTRIES: Readonly<Record<string, string>> = {
  main: `${PAGE}main.tsx`,
  run_worker: `${PAGE}run_worker.ts`,
};

/** What was written. */
export interface ExplorerBuild {
  /** Kernels with a trace. */
  readonly kernels: number;
  /** Bytes the page loads before anything is chosen: markup, style and scripts. */
  readonly initialBytes: number;
  /** Bytes of all files. */
  readonly bytes: number;
}

/**
 * Builds the explorer into a folder, whose content it replaces.
 *
 * @param output Path of the folder.
 * @throws {CoupletError} `file` where templates and kernels do not fit together.
 */
export async function buildExplorer(output: string): Promise<ExplorerBuild> {
  // The page's own packages; esbuild finds them in the folder that this fills.
  await runDeno([
    "cache",
    "--frozen",
    "--config",
    `${PAGE}deno.json`,
    ...Object.values(ENTRIES),
  ]);
  const files = new Map<string, string | Uint8Array>();
  const { metafile, outputFiles } = await build({
    absWorkingDir: ROOT,
    entryPoints: ENTRIES,
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
    // Files outside the page's folder find its packages, too.
    nodePaths: [`${PAGE}node_modules`],
    chunkNames: "chunks/[name]-[hash]",
    // Written below, when everything has succeeded.
    write: false,
    logLevel: "warning",
  });
  for (const { path, contents } of outputFiles) files.set(path, contents);
  for (const name of ["index.html", "style.css", "icon.svg"]) {
    files.set(`${output}/${name}`, await Deno.readFile(`${PAGE}${name}`));
  }
  const templates = Object.fromEntries(readTemplates(TEMPLATES));
  files.set(`${output}/templates.json`, JSON.stringify(templates));
  const tracer = createTracer();
  const rows = new Map(
    expandTable({ sizes, pairs, anchored, ladder, kmeans }).map((row) => [row.name, row]),
  );
  for (const { info } of kernels) {
    const row = rows.get(info.name)!;
    const { wgsl } = await info.load();
    files.set(`${output}/traces/${row.name}.json`, JSON.stringify(tracer.trace(row, wgsl)));
  }

  await rm(output, { recursive: true, force: true });
  for (const [path, content] of files) {
    await mkdir(dirname(path), { recursive: true });
    await Deno.writeFile(
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    );
  }
  const size = (path: string) => files.get(path)!.length;
  return {
    kernels: kernels.length,
    initialBytes: [
      ...staticFiles(metafile, "main.js"),
      ...["index.html", "style.css"].map((name) => `${output}/${name}`),
    ].reduce((sum, path) => sum + size(path), 0),
    bytes: [...files.keys()].reduce((sum, path) => sum + size(path), 0),
  };
}

/** The files that load together with an entry: it and what it imports, except on demand. */
function staticFiles({ outputs }: Metafile, entry: string): string[] {
  const seen = new Set(Object.keys(outputs).filter((path) => path.endsWith(`/${entry}`)));
  for (const path of seen) {
    for (const imported of outputs[path]!.imports) {
      if (imported.kind === "import-statement") seen.add(imported.path);
    }
  }
  return [...seen].map((path) => resolve(ROOT, path));
}
