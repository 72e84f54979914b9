/**
 * `deno task bundle`: bundles the library and its kernel sets for browsers into `dist/`, each kernel a
 * chunk that loads when a plan has chosen it, and prints the sizes.
 *
 * @module
 */
import { build, type Metafile, stop } from "esbuild";
import { mkdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { gzipSync } from "node:zlib";
import config from "../deno.json" with { type: "json" };
import { ROOT } from "./project.ts";

const OUTPUT = "dist";

interface Size {
  readonly raw: number;
  readonly gzipped: number;
}

const { metafile, outputFiles } = await build({
  absWorkingDir: ROOT,
  entryPoints: Object.entries(config.exports)
    .filter(([entry]) => entry === "." || /^\.\/kernels(\/|$)/.test(entry))
    .map(([entry, module]) => ({ in: module, out: entry === "." ? "mod" : entry.slice(2) })),
  outdir: OUTPUT,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  sourcemap: true,
  metafile: true,
  // Written below, after a build that succeeded.
  write: false,
  chunkNames: "chunks/[name]-[hash]",
  logLevel: "warning",
});
await stop();

// Chunks are named by their content: those of earlier builds would pile up.
await rm(`${ROOT}${OUTPUT}`, { recursive: true, force: true });
for (const { path, contents } of outputFiles) {
  await mkdir(dirname(path), { recursive: true });
  await Deno.writeFile(path, contents);
}

const runtime = staticFiles(metafile, `${OUTPUT}/mod.js`);
const kernels = Object.entries(metafile.outputs)
  .filter(([, output]) => output.entryPoint?.endsWith(".wgsl.ts"))
  .map(([path, output]) => ({ name: output.entryPoint!, ...size([path]) }))
  .sort((a, b) => b.gzipped - a.gzipped);

console.log(`runtime: ${describe(size(runtime))}, in ${runtime.length} files`);
const [largest] = kernels;
if (largest !== undefined) {
  console.log(`largest of ${kernels.length} kernels: ${describe(largest)}, ${largest.name}`);
}

/** The files that load together with one file: it and what it imports, except on demand. */
function staticFiles(metafile: Metafile, entry: string): string[] {
  const seen = new Set([entry]);
  for (const path of seen) {
    for (const imported of metafile.outputs[path]!.imports) {
      if (imported.kind === "import-statement") seen.add(imported.path);
    }
  }
  return [...seen];
}

function size(paths: readonly string[]): Size {
  const contents = paths.map((path) => Deno.readFileSync(`${ROOT}${path}`));
  return {
    raw: contents.reduce((sum, bytes) => sum + bytes.length, 0),
    gzipped: contents.reduce((sum, bytes) => sum + gzipSync(bytes, { level: 9 }).length, 0),
  };
}

function describe({ raw, gzipped }: Size): string {
  return `${(raw / 1024).toFixed(1)} KiB, ${(gzipped / 1024).toFixed(1)} KiB gzipped`;
}
