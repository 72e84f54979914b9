/**
 * `deno task bundle`: bundles the library and its kernel sets for browsers into `dist/`, each kernel a
 * chunk that loads when a plan has chosen it, and holds their sizes against budgets. The exit code is 1
 * where one is exceeded.
 *
 * @module
 */
import { build, type BuildOptions, stop } from "esbuild";
import { mkdir, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { gzipSync } from "node:zlib";
import config from "../deno.json" with { type: "json" };
import { BUDGETS, describeSize, judge, type Size } from "./budgets.ts";
import { ROOT } from "./project.ts";
import { withStaticImports } from "./static_imports.ts";
import { wgslPlugin } from "./wgsl_plugin.ts";

const OUTPUT = "dist/browser";

/** What an engine takes of the library: the rest of it is calibration, reference, choice of policies, stores. */
const ENGINE = "createCache, decodeCodebooks, planCache, requiredFeatures, requiredLimits";

/** The same for an engine that stores sequences and restores them. */
const ENGINE_WITH_SNAPSHOTS = `${ENGINE}, restoreSequence, snapshotSequence`;

const BROWSER = {
  absWorkingDir: ROOT,
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  metafile: true,
  write: false,
  logLevel: "warning",
} as const satisfies BuildOptions;

const { metafile, outputFiles } = await build({
  ...BROWSER,
  entryPoints: Object.entries(config.exports)
    .filter(([entry]) => entry === "." || /^\.\/kernels(\/|$)/.test(entry))
    .map(([entry, module]) => ({ in: module, out: entry === "." ? "mod" : entry.slice(2) })),
  outdir: OUTPUT,
  splitting: true,
  sourcemap: true,
  chunkNames: "chunks/[name]-[hash]",
  plugins: [wgslPlugin],
});
const runtimes = [
  judge("engine", await sizeOfExports(ENGINE), BUDGETS.engine),
  judge(
    "engine with snapshots",
    await sizeOfExports(ENGINE_WITH_SNAPSHOTS),
    BUDGETS.engineWithSnapshots,
  ),
];
await stop();

// Chunks are named by their content: those of earlier builds would pile up.
await rm(`${ROOT}${OUTPUT}`, { recursive: true, force: true });
for (const { path, contents } of outputFiles) {
  await mkdir(dirname(path), { recursive: true });
  await Deno.writeFile(path, contents);
}

const sizes = new Map(outputFiles.map(({ path, contents }) => [path.slice(ROOT.length), contents]));
const kernels = Object.entries(metafile.outputs)
  .flatMap(([path, { entryPoint }]) =>
    entryPoint?.endsWith(".wgsl.ts")
      ? [{ name: basename(entryPoint, ".wgsl.ts"), size: sizeOf([sizes.get(path)!]) }]
      : []
  )
  .sort((a, b) => b.size.gzipped - a.size.gzipped)
  .map(({ name, size }) => judge(name, size, BUDGETS.kernel));
const [largest] = kernels;
if (largest === undefined) throw new Error("The bundle holds no kernel");
const all = withStaticImports(metafile, [`${OUTPUT}/mod.js`]).map((path) => sizes.get(path)!);

for (const { line } of runtimes) console.log(line);
console.log(`all of mod.ts, for comparison: ${describeSize(sizeOf(all))}`);
console.log(`largest of ${kernels.length} kernels: ${largest.line}`);
const missing = kernels.filter(({ meets }) => !meets).length;
if (missing > 0) console.log(`${missing} kernels miss their goal`);
Deno.exit([...runtimes, largest].every(({ passes }) => passes) ? 0 : 1);

/** Of what a program's bundle holds that imports these names, tree-shaken. */
async function sizeOfExports(names: string): Promise<Size> {
  const contents = `export { ${names} } from "./mod.ts";`;
  const { outputFiles } = await build({
    ...BROWSER,
    stdin: { contents, resolveDir: ROOT, loader: "ts" },
    outfile: "engine.js",
  });
  return sizeOf(outputFiles.map(({ contents }) => contents));
}

/** Each file is compressed by itself, as it is sent. */
function sizeOf(files: readonly Uint8Array[]): Size {
  return {
    raw: files.reduce((sum, bytes) => sum + bytes.length, 0),
    gzipped: files.reduce((sum, bytes) => sum + gzipSync(bytes, { level: 9 }).length, 0),
  };
}
