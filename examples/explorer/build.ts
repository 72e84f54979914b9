/** Builds the page: bundles it, and writes what it loads on demand, template text and where each kernel's lines come from. */
import { expandTable } from "../../codegen/rows/expand.ts";
import { readTemplates } from "../../codegen/render/templates.ts";
import { TABLE } from "../../codegen/package_table.ts";
import { ROOT } from "../../tools/project.ts";
import { bundlePrograms, initialPaths, replaceFolder } from "../pages/bundle.ts";
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
  const { files, metafile } = await bundlePrograms(PAGE, ENTRIES, output);
  for (const name of ["index.html", "base.css", "style.css", "icon.svg"]) {
    files.set(`${output}/${name}`, await Deno.readFile(`${PAGE}${name}`));
  }
  const templates = Object.fromEntries(readTemplates(TEMPLATES));
  files.set(`${output}/templates.json`, JSON.stringify(templates));
  const tracer = createTracer();
  const rows = new Map(
    expandTable(TABLE).map((row) => [row.name, row]),
  );
  for (const { info } of kernels) {
    const row = rows.get(info.name)!;
    const { wgsl } = await info.load();
    files.set(`${output}/traces/${row.name}.json`, JSON.stringify(tracer.trace(row, wgsl)));
  }

  await replaceFolder(output, files);
  const size = (path: string) => files.get(path)!.length;
  return {
    kernels: kernels.length,
    initialBytes: [
      ...initialPaths(metafile, "main.js"),
      ...["index.html", "base.css", "style.css"].map((name) => `${output}/${name}`),
    ].reduce((sum, path) => sum + size(path), 0),
    bytes: [...files.keys()].reduce((sum, path) => sum + size(path), 0),
  };
}
