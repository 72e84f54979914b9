/**
 * The npm package, from the sources that JSR gets: every module as JavaScript, those of entries with their declarations.
 * Modules are not bundled, so that a bundler takes what a program uses; kernels' WGSL is minified.
 *
 * @module
 */
import { build, type Plugin, stop } from "esbuild";
import { mkdir, rm } from "node:fs/promises";
import { dirname, posix } from "node:path";
import { Project, ts } from "ts-morph";
import { SUMMARIES } from "../cli/summaries.ts";
import config from "../deno.json" with { type: "json" };
import { bundledFile, bundlePackages, type ImportedPackages } from "./bundled_packages.ts";
import { ROOT } from "./project.ts";
import { PUBLICATION, publishedPage } from "./publication.ts";
import { wgslPlugin } from "./wgsl_plugin.ts";

/** The command line, which npm has as a program and not as an entry. */
const COMMAND_LINE = "./cli";

/** The program. */
const PROGRAM = "cli/bin.js";

/** Where packages are that the command line and the generator import. */
const BUNDLED = "cli/bundled";

/** Files that lie in the package as they are. */
const COPIED: readonly string[] = ["LICENSE"];

/** Pages whose links lead into the repository. */
const PAGES: readonly string[] = ["README.md", "CHANGELOG.md"];

/** Entry to module, as `exports` of `deno.json` has them. */
function npmEntries(): [entry: string, module: string][] {
  return Object.entries(config.exports)
    .filter(([entry]) => entry !== COMMAND_LINE)
    .map(([entry, module]) => [entry, module.slice("./".length)]);
}

/** The modules of the command line, of which each command loads its own. */
const COMMANDS: readonly string[] = [
  config.exports[COMMAND_LINE].slice("./".length),
  ...Object.keys(SUMMARIES).map((name) => `cli/${name.replace(" ", "_")}.ts`),
];

/** What npm reads of the package. */
export function npmManifest(): Record<string, unknown> {
  return {
    name: config.name,
    version: config.version,
    ...PUBLICATION,
    license: config.license,
    type: "module",
    sideEffects: false,
    engines: { node: ">=20" },
    bin: { couplet: PROGRAM },
    // Commands that compute on a device load it.
    peerDependencies: { webgpu: ">=0.3" },
    peerDependenciesMeta: { webgpu: { optional: true } },
    publishConfig: { access: "public" },
    exports: Object.fromEntries(
      npmEntries().map(([entry, module]) => [entry, {
        types: `./${declarationPath(module)}`,
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
  const entries = npmEntries().map(([, module]) => module);
  const modules = reachedModules([...entries, ...COMMANDS]);
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
  const bundled = await bundlePackages(importedPackages(modules));
  await stop();
  for (const [name, text] of bundled.modules) {
    await write(`${folder}/${BUNDLED}/${bundledFile(name)}`, text);
  }
  await write(`${folder}/${BUNDLED}/LICENSES.txt`, bundled.licences);
  await write(
    `${folder}/${PROGRAM}`,
    '#!/usr/bin/env node\nimport { main } from "./main.js";\n\nawait main();\n',
  );
  for (const [path, text] of declarations(entries)) await write(`${folder}/${path}`, text);
  for (const path of COPIED) await write(`${folder}/${path}`, await Deno.readTextFile(ROOT + path));
  for (const path of PAGES) {
    const page = publishedPage(path, await Deno.readTextFile(ROOT + path), PAGES);
    await write(`${folder}/${path}`, page);
  }
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
      ({ path, kind, importer }) =>
        kind === "entry-point"
          ? undefined
          : { path: isPackage(path) ? pathTo(path, importer) : inJavaScript(path), external: true },
    );
  },
};

/** Whether a specifier names a package. */
function isPackage(specifier: string): boolean {
  return !/^(\.|node:)/.test(specifier);
}

/** The specifier of a bundled package. */
function pathTo(name: string, importer: string): string {
  const path = posix.relative(dirname(importer.slice(ROOT.length)), BUNDLED);
  return `${path.startsWith(".") ? path : `./${path}`}/${bundledFile(name)}`;
}

function inJavaScript(specifier: string): string {
  return specifier.startsWith(".") ? specifier.replace(/\.ts$/, ".js") : specifier;
}

/** What modules import of packages, but for types. */
function importedPackages(paths: readonly string[]): ImportedPackages {
  const packages = new Map<string, Set<string>>();
  const files = new Project().addSourceFilesAtPaths(paths.map((path) => ROOT + path));
  for (const declaration of files.flatMap((file) => file.getImportDeclarations())) {
    const name = declaration.getModuleSpecifierValue();
    if (!isPackage(name) || declaration.isTypeOnly()) continue;
    const names = [
      ...(declaration.getDefaultImport() === undefined ? [] : ["default"]),
      ...declaration.getNamedImports().filter((one) => !one.isTypeOnly())
        .map((one) => one.getName()),
    ];
    packages.set(name, new Set([...packages.get(name) ?? [], ...names]));
  }
  return packages;
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

/**
 * Path to text of the declarations that those of entries reach: others may name types of packages.
 * Types are checked elsewhere, by `deno check`.
 */
function declarations(entries: readonly string[]): Map<string, string> {
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
  project.addSourceFilesAtPaths(reachedModules(entries).map((path) => ROOT + path));
  const files = project.emitToMemory({ emitOnlyDtsFiles: true }).getFiles();
  const all = new Map(files.map(({ filePath, text }) => [filePath.slice(ROOT.length), text]));
  const reached = new Map(entries.map((entry) => [declarationPath(entry), ""]));
  for (const path of reached.keys()) {
    const text = all.get(path)!;
    reached.set(path, withJavaScriptImports(text));
    for (const { fileName } of ts.preProcessFile(text, true, true).importedFiles) {
      const imported = declarationPath(posix.join(posix.dirname(path), fileName));
      if (fileName.startsWith(".") && !reached.has(imported)) reached.set(imported, "");
    }
  }
  return reached;
}

function declarationPath(module: string): string {
  return module.replace(/\.ts$/, ".d.ts");
}

function withJavaScriptImports(declarations: string): string {
  let text = declarations;
  for (const { fileName, pos } of ts.preProcessFile(text, true, true).importedFiles.toReversed()) {
    const at = text.indexOf(fileName, pos);
    text = text.slice(0, at) + inJavaScript(fileName) + text.slice(at + fileName.length);
  }
  return text;
}
