/**
 * npm packages that the command line and the generator import, bundled: who installs the library for
 * an app gets no dependency, and who runs it by `npx` has all at once.
 *
 * @module
 */
import { build, type Plugin } from "esbuild";
import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import config from "../deno.json" with { type: "json" };
import { ROOT, runDeno } from "./project.ts";

/** Where Deno installs them, relative to the checkout. */
const PROJECT = ".cache/bundled_packages";

/** Name to the names that are imported, `default` among them. */
export type ImportedPackages = ReadonlyMap<string, ReadonlySet<string>>;

/** Files of bundled packages. */
export interface BundledPackages {
  /** Name of a package to its module. */
  readonly modules: ReadonlyMap<string, string>;
  /** The licences of all that is bundled. */
  readonly licences: string;
}

/** The name of a package's file. */
export function bundledFile(name: string): string {
  return `${name.replace("/", "_")}.js`;
}

/** Bundles packages of `imports` of `deno.json`, each into a module for Node. */
export async function bundlePackages(packages: ImportedPackages): Promise<BundledPackages> {
  await install([...packages.keys()]);
  const { outputFiles, metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [...packages.keys()].map((name) => ({ in: `${ENTRY}${name}`, out: name })),
    outdir: "unused",
    bundle: true,
    minify: true,
    format: "esm",
    platform: "node",
    mainFields: ["module", "main"],
    target: "node20",
    // Some packages require modules of Node's own.
    banner: {
      js:
        'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);',
    },
    legalComments: "none",
    metafile: true,
    write: false,
    logLevel: "warning",
    plugins: [entries(packages)],
  });
  const names = [...packages.keys()];
  return {
    modules: new Map(outputFiles.map(({ text }, i) => [names[i]!, text])),
    licences: await licences(Object.keys(metafile.inputs)),
  };
}

/** Installs packages in the versions of the lock file. */
async function install(names: readonly string[]): Promise<void> {
  const all: Readonly<Record<string, string>> = config.imports;
  const imports = Object.fromEntries(names.map((name) => [name, all[name]]));
  await mkdir(`${ROOT}${PROJECT}`, { recursive: true });
  await writeFile(
    `${ROOT}${PROJECT}/deno.json`,
    JSON.stringify({ imports, nodeModulesDir: "auto" }),
  );
  await copyFile(`${ROOT}deno.lock`, `${ROOT}${PROJECT}/deno.lock`);
  await runDeno(["install", "--quiet", "--config", `${ROOT}${PROJECT}/deno.json`]);
}

/** What names of entries begin with. */
const ENTRY = "bundled:";

/** An esbuild plugin whose entries export what is imported of each package. */
function entries(packages: ImportedPackages): Plugin {
  const filter = new RegExp(`^${ENTRY}`);
  return {
    name: "entries",
    setup(build) {
      build.onResolve({ filter }, ({ path }) => ({
        path: path.slice(ENTRY.length),
        namespace: "entries",
      }));
      build.onLoad({ filter: /.*/, namespace: "entries" }, ({ path }) => ({
        contents: `export { ${[...packages.get(path)!].join(", ")} } from ${JSON.stringify(path)};`,
        resolveDir: `${ROOT}${PROJECT}`,
      }));
    },
  };
}

/** The licences of the packages whose files are bundled. */
async function licences(paths: readonly string[]): Promise<string> {
  const folders = new Set(
    paths.flatMap((path) => /^.*node_modules\/(@[^/]+\/)?[^/]+(?=\/)/.exec(path)?.[0] ?? []),
  );
  const texts = await Promise.all(
    [...folders].sort().map(async (folder) => {
      const { name, version, license } = JSON.parse(
        await readFile(`${ROOT}${folder}/package.json`, "utf8"),
      );
      const file = (await readdir(`${ROOT}${folder}`)).find((one) => /^licen[cs]e/i.test(one));
      if (file === undefined) throw new Error(`${name} ${version} has no file of its licence`);
      const text = await readFile(`${ROOT}${folder}/${file}`, "utf8");
      return [`${name} ${version} (${license})`, text.trim()] as const;
    }),
  );
  return [...new Map(texts)].map(([title, text]) => `${title}\n\n${text}\n`)
    .join(`\n${"-".repeat(80)}\n\n`);
}
