/**
 * What JSR gets: the files that `publish` of `deno.json` names, with kernels' WGSL minified. Whole, the kernels would be three
 * quarters of the package, and most of a kernel is what others have as well; templates give them back.
 *
 * @module
 */
import { copyFile, mkdir, rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import config from "../deno.json" with { type: "json" };
import { KERNEL_MODULE, minifiedKernel } from "./minified_kernel.ts";
import { ROOT } from "./project.ts";
import { publishedPage } from "./publication.ts";

/** The configuration, which is made for the folder. */
const CONFIG = "deno.json";

/**
 * Writes the package's files into a folder, which is emptied first.
 *
 * @param folder Relative to the checkout.
 * @returns The bytes of all files.
 */
export async function writeJsrPackage(folder: string): Promise<number> {
  await rm(`${ROOT}${folder}`, { recursive: true, force: true });
  const paths = publishedFiles().filter((path) => path !== CONFIG);
  for (const path of paths) {
    const copy = `${ROOT}${folder}/${path}`;
    await mkdir(dirname(copy), { recursive: true });
    if (KERNEL_MODULE.test(path)) await Deno.writeTextFile(copy, await kernelModule(path));
    else if (path.endsWith(".md")) await Deno.writeTextFile(copy, page(path, paths));
    else await copyFile(ROOT + path, copy);
  }
  await Deno.writeTextFile(`${ROOT}${folder}/${CONFIG}`, jsrConfig(namedImports(paths)));
  return [CONFIG, ...paths].reduce(
    (sum, path) => sum + Deno.statSync(`${ROOT}${folder}/${path}`).size,
    0,
  );
}

/** The paths of all files that are published, in order. */
export function publishedFiles(): string[] {
  return config.publish.include.flatMap((part) => part.endsWith("/") ? filesIn(part) : [part])
    .sort();
}

function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(ROOT + folder)].flatMap(({ name, isDirectory }) =>
    isDirectory ? filesIn(`${folder}${name}/`) : [folder + name]
  );
}

function page(path: string, published: readonly string[]): string {
  return publishedPage(path, Deno.readTextFileSync(ROOT + path), published);
}

/** The module of a kernel, minified, which says where it can be read. */
async function kernelModule(path: string): Promise<string> {
  const name = basename(path).replace(KERNEL_MODULE, "");
  return `// Minified. Whole and with comments, \`couplet kernels show ${name} --wgsl\` prints it, and the repository\n` +
    `// has it in ${path}.\n\n` +
    `/** WGSL of \`${name}\`. */\n` +
    `export const wgsl: string = ${JSON.stringify(await minifiedKernel(ROOT + path))};\n`;
}

/** What `deno.json` resolves of the names that modules write in quotes: imports, and directives that name types. */
function namedImports(paths: readonly string[]): Record<string, string> {
  const modules = paths.filter((path) => path.endsWith(".ts") && !KERNEL_MODULE.test(path))
    .map((path) => Deno.readTextFileSync(ROOT + path));
  return Object.fromEntries(
    Object.entries(config.imports).filter(([name]) =>
      modules.some((text) => text.includes(`"${name}"`))
    ),
  );
}

/** What `deno publish` reads in the folder: nothing of tasks, tests and other projects. */
function jsrConfig(imports: Readonly<Record<string, string>>): string {
  const { name, version, license, exports, unstable, compilerOptions } = config;
  return `${
    JSON.stringify(
      {
        name,
        version,
        license,
        exports,
        imports,
        unstable,
        compilerOptions,
        lock: false,
        // The folder lies where git ignores what it holds.
        publish: { exclude: ["!./"] },
      },
      null,
      2,
    )
  }\n`;
}
