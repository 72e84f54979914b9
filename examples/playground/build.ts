/** Builds the page: bundles it, and puts the model and the codebooks beside it. */
import { CoupletError } from "@couplet/kv";
import { wgslPlugin } from "../../tools/wgsl_plugin.ts";
import { ROOT } from "../../tools/project.ts";
import { FIXTURE_MODEL } from "../command_line.ts";
import { loadModel } from "../engine/mod.ts";
import { bundlePrograms, type Files, initialPaths, replaceFolder } from "../pages/bundle.ts";
import { learnCodebooks, type Learning } from "./codebooks.ts";
import type { Site, SiteFile } from "./page/session/site.ts";

const PAGE = `${ROOT}examples/playground/page/`;
const EXPLORER_PAGE = `${ROOT}examples/explorer/page/`;

/** The page's programs, by the names they are loaded by. */
const ENTRIES: Readonly<Record<string, string>> = {
  main: `${PAGE}main.tsx`,
  worker: `${PAGE}worker.ts`,
};

/** What was written. */
export interface PlaygroundBuild {
  /** Bytes of markup, style and scripts that show the page. */
  readonly pageBytes: number;
  /** Bytes of the model, which loads next. */
  readonly modelBytes: number;
  /** Bytes of all files. */
  readonly bytes: number;
}

/**
 * Builds the playground into a folder, whose content it replaces.
 *
 * @param output Path of the folder.
 * @throws {CoupletError} `file` where the folder holds anything else; as `learnCodebooks` and `loadModel` do.
 */
export async function buildPlayground(
  output: string,
  learning: Learning,
): Promise<PlaygroundBuild> {
  await checkReplaceable(output);
  const checkpoint = await loadModel(FIXTURE_MODEL);
  const learned = await learnCodebooks(checkpoint, learning);
  const { files, metafile } = await bundlePrograms(PAGE, ENTRIES, output, [wgslPlugin]);
  const still: readonly string[] = [
    `${PAGE}index.html`,
    `${EXPLORER_PAGE}base.css`,
    `${PAGE}style.css`,
    `${EXPLORER_PAGE}icon.svg`,
  ];
  for (const path of still) {
    files.set(`${output}/${path.split("/").at(-1)}`, await Deno.readFile(path));
  }
  const modelFiles: Record<string, SiteFile> = {};
  for (const name of ["config.json", "tokenizer.json", "model.safetensors"]) {
    const bytes = await Deno.readFile(`${FIXTURE_MODEL}/${name}`);
    modelFiles[name] = add(files, output, `model/${name}`, bytes);
  }
  const codebooks: Record<string, SiteFile> = {};
  for (const [scheme, bytes] of learned.files) {
    codebooks[scheme] = add(files, output, `codebooks/${scheme}.safetensors`, bytes);
  }
  const site: Site = {
    model: { name: checkpoint.fingerprint.name, files: modelFiles },
    codebooks,
    learned: { source: learned.source, tokens: learned.tokens },
  };
  files.set(`${output}/site.json`, JSON.stringify(site));
  await replaceFolder(output, files);
  const size = (path: string) => files.get(path)!.length;
  return {
    pageBytes: [
      ...initialPaths(metafile, "main.js"),
      ...["index.html", "base.css", "style.css"].map((name) => `${output}/${name}`),
    ].reduce((sum, path) => sum + size(path), 0),
    modelBytes: Object.values(modelFiles).reduce((sum, { bytes }) => sum + bytes, 0),
    bytes: [...files.keys()].reduce((sum, path) => sum + size(path), 0),
  };
}

function add(files: Files, output: string, path: string, content: Uint8Array): SiteFile {
  files.set(`${output}/${path}`, content);
  return { path, bytes: content.length };
}

/** Checks that a folder is new or empty, or was built before. */
async function checkReplaceable(output: string): Promise<void> {
  let why = "it holds other files, which would be replaced";
  try {
    const names = (await Array.fromAsync(Deno.readDir(output))).map(({ name }) => name);
    if (names.length === 0 || names.includes("site.json")) return;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    why = error instanceof Error ? error.message : String(error);
  }
  throw new CoupletError("file", {
    what: `Cannot build into ${output}`,
    why,
    remedy: "Name a folder that is new or empty",
  });
}
