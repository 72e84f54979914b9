/**
 * The npm package, from the sources that JSR gets: every module as JavaScript, with its declarations beside it. Modules are
 * not bundled, so that a bundler takes what a program uses; kernels' WGSL is minified.
 *
 * @module
 */
import { build, type Plugin, stop } from "esbuild";
import { mkdir, rm } from "node:fs/promises";
import { dirname, posix } from "node:path";
import { Project, ts } from "ts-morph";
import config from "../deno.json" with { type: "json" };
import { ROOT } from "./project.ts";
import { wgslPlugin } from "./wgsl_plugin.ts";

/** Entries that run in Deno alone: they read and write files of generated TypeScript. */
const DENO_ONLY: ReadonlySet<string> = new Set(["./cli", "./generate"]);

/** Files that lie in the package as they are. */
const COPIED: readonly string[] = ["LICENSE", "README.md"];

/** Entry to module, as `exports` of `deno.json` has them. */
function npmEntries(): [entry: string, module: string][] {
  return Object.entries(config.exports)
    .filter(([entry]) => !DENO_ONLY.has(entry))
    .map(([entry, module]) => [entry, module.slice("./".length)]);
}

/** What npm reads of the package. */
export function npmManifest(): Record<string, unknown> {
  return {
    name: config.name,
    version: config.version,
    description:
      "KV-cache compression for WebGPU: language models' caches in 1 to 4 bits a channel",
    keywords: ["webgpu", "wgsl", "kv-cache", "quantization", "llm", "inference", "compression"],
    license: config.license,
    type: "module",
    sideEffects: false,
    engines: { node: ">=20" },
    exports: Object.fromEntries(
      npmEntries().map(([entry, module]) => [entry, {
        types: `./${module.replace(/\.ts$/, ".d.ts")}`,
        default: `./${module.replace(/\.ts$/, ".js")}`,
      }]),
    ),
  };
}

/**
 * Writes the package's files into a folder, which is emptied first.
 *
 * @param folder Relative to the checkout.
 * @throws {Error} where a module does not compile.
 */
export async function writeNpmPackage(folder: string): Promise<void> {
  await rm(`${ROOT}${folder}`, { recursive: true, force: true });
  const modules = reachedModules(npmEntries().map(([, module]) => module));
  await build({
    absWorkingDir: ROOT,
    entryPoints: modules,
    outbase: ".",
    outdir: folder,
    bundle: true,
    format: "esm",
    platform: "neutral",
    target: "es2022",
    logLevel: "warning",
    plugins: [apart, wgslPlugin],
  });
  await stop();
  for (const [path, text] of declarations(modules)) {
    // Nobody imports those but rows, which say what they give.
    if (!path.endsWith(".wgsl.d.ts")) await write(`${folder}/${path}`, text);
  }
  for (const path of COPIED) await write(`${folder}/${path}`, await Deno.readTextFile(ROOT + path));
  await write(`${folder}/package.json`, `${JSON.stringify(npmManifest(), null, 2)}\n`);
}

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(ROOT + path), { recursive: true });
  await Deno.writeTextFile(ROOT + path, text);
}

/** An esbuild plugin that leaves each module a file of its own. */
const apart: Plugin = {
  name: "apart",
  setup(build) {
    build.onResolve(
      { filter: /.*/ },
      ({ path, kind }) =>
        kind === "entry-point" ? undefined : { path: inJavaScript(path), external: true },
    );
  },
};

function inJavaScript(specifier: string): string {
  return specifier.startsWith(".") ? specifier.replace(/\.ts$/, ".js") : specifier;
}

/** The paths of everything that modules reach, types and what loads on demand included. */
function reachedModules(entries: readonly string[]): string[] {
  const paths = new Set(entries);
  for (const path of paths) {
    const text = Deno.readTextFileSync(ROOT + path);
    for (const { fileName } of ts.preProcessFile(text, true, true).importedFiles) {
      if (fileName.startsWith(".")) paths.add(posix.join(posix.dirname(path), fileName));
    }
  }
  return [...paths];
}

/** Path to text of the declarations of modules. Types are checked elsewhere, by `deno check`. */
function declarations(paths: readonly string[]): Map<string, string> {
  const project = new Project({
    compilerOptions: {
      allowImportingTsExtensions: true,
      declaration: true,
      emitDeclarationOnly: true,
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
      noCheck: true,
      target: ts.ScriptTarget.ES2022,
    },
  });
  project.addSourceFilesAtPaths(paths.map((path) => ROOT + path));
  const files = project.emitToMemory({ emitOnlyDtsFiles: true }).getFiles();
  return new Map(
    files.map(({ filePath, text }) => [filePath.slice(ROOT.length), withJavaScriptImports(text)]),
  );
}

function withJavaScriptImports(declarations: string): string {
  let text = declarations;
  for (const { fileName, pos } of ts.preProcessFile(text, true, true).importedFiles.toReversed()) {
    const at = text.indexOf(fileName, pos);
    text = text.slice(0, at) + inJavaScript(fileName) + text.slice(at + fileName.length);
  }
  return text;
}
