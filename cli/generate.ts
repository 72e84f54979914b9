import { type Command, Option } from "commander";
import { readdir, stat } from "node:fs/promises";
import { isAbsolute, join, normalize, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { generateKernels, type Language, writeFiles } from "../codegen/generate.ts";
import { LANGUAGES } from "../codegen/write/module_style.ts";
import { CoupletError } from "../src/base/errors.ts";
import { parseScheme } from "../src/schemes/parse_scheme.ts";
import { integerFrom, usageError } from "./arguments.ts";
import { type Answer, type Answering, collect, createCommand } from "./command.ts";
import { schemeArgument } from "./schemes.ts";

interface GenerateOptions {
  readonly scheme: readonly string[];
  readonly pair: readonly string[];
  readonly headDim: readonly number[];
  readonly language: Language;
  readonly out: string;
}

const WHAT = "Cannot generate kernels";

/** `couplet generate`. */
export function command(answering: Answering): Command {
  return createCommand("generate", {
    details: "The folder is theirs alone: where it holds anything else, nothing is written.",
    examples: [
      "generate --pair c4b6/c8b8 --head-dim 48 --out ./my_kernels",
      "generate --scheme c2b6 --scheme c4b6 --head-dim 64 --head-dim 128 --out ./my_kernels",
    ],
  })
    .option("--scheme <id>", "a scheme of keys or values (repeatable)", collect(schemeArgument), [])
    .option(
      "--pair <keys/values>",
      "a pair that attends in one kernel (repeatable)",
      collect(String),
      [],
    )
    .requiredOption("--head-dim <n>", "channels per head (repeatable)", collect(integerFrom(1)), [])
    .requiredOption("--out <folder>", "where they go")
    .addOption(
      new Option("--language <name>", "the language of the modules")
        .choices(LANGUAGES)
        .default(process.versions.deno === undefined ? "javascript" : "typescript"),
    )
    .action(answering(writeKernels));
}

async function writeKernels(options: GenerateOptions): Promise<Answer> {
  const { scheme, pair, headDim, language, out } = options;
  if (scheme.length + pair.length === 0) {
    throw usageError(WHAT, "neither --scheme nor --pair is given");
  }
  if (headDim.length === 0) throw usageError(WHAT, "--head-dim is not given");
  for (const id of pair.flatMap((one) => one.split("/"))) schemeArgument(id);
  await checkFolder(out);
  const folder = pathToFileURL(`${resolve(out)}/`);
  const files = generateKernels({ schemes: scheme, pairs: pair, headDims: headDim, language });
  const { missing, stale, orphaned } = writeFiles(folder, files);
  const names = [...files.keys()].flatMap((path) => /([^/]+)\.wgsl\.[jt]s$/.exec(path)?.[1] ?? []);
  return {
    data: { out, kernels: names, written: [...missing, ...stale], removed: orphaned },
    text: [
      ...names,
      `${names.length} kernels in ${out}: ${missing.length} files new, ${stale.length} changed, ${orphaned.length} removed`,
      "",
      "Use them:",
      `  import { manifest } from "${specifier(out, language)}";`,
      "  planCache({ ..., kernels: manifest });",
    ].join("\n"),
  };
}

/** The specifier by which a module in the current folder imports the manifest. */
export function specifier(out: string, language: Language): string {
  const manifest = join(out, language === "javascript" ? "manifest.js" : "manifest.ts");
  if (isAbsolute(out)) return pathToFileURL(manifest).href;
  const parts = normalize(manifest).split(/[\\/]/).map(encodeURIComponent);
  return parts[0] === ".." ? parts.join("/") : `./${parts.join("/")}`;
}

/**
 * Names of generated modules, including kernels of earlier versions. Modules of other generators
 * may begin with the same line.
 */
const MODULE = /^((manifest(\.d)?|[a-z0-9_]+\.wgsl)\.(ts|js)|package\.json)$/;

/** The modules in folders: kernels and their sets. */
const SET_MODULE = /^[a-z0-9_]+(\.wgsl|\.d)?\.(ts|js)$/;

/**
 * Whether a folder of generated modules may have the name: schemes, what all of them share, or the
 * sets of earlier versions.
 */
function isKernelFolder(name: string): boolean {
  return ["common", "sets"].includes(name) || name.split("_").every(isScheme);
}

function isScheme(id: string): boolean {
  try {
    parseScheme(id);
    return true;
  } catch {
    return false;
  }
}

/**
 * Checks, before anything is read, that a folder holds only what was generated: no links, pipes or
 * other folders.
 */
async function checkFolder(out: string): Promise<void> {
  const present = await stat(out).catch(() => undefined);
  if (present === undefined) return;
  if (!present.isDirectory()) {
    throw new CoupletError("file", {
      what: WHAT,
      why: `${out} is no folder`,
      remedy: "Give a folder of its own, which need not exist",
    });
  }
  const foreign: string[] = [];
  for (const entry of await readdir(out, { withFileTypes: true })) {
    if (entry.isDirectory() && isKernelFolder(entry.name)) {
      for (const own of await readdir(join(out, entry.name), { withFileTypes: true })) {
        if (!(own.isFile() && SET_MODULE.test(own.name))) foreign.push(`${entry.name}/${own.name}`);
      }
    } else if (!(entry.isFile() && MODULE.test(entry.name))) foreign.push(entry.name);
  }
  if (foreign.length > 0) {
    throw new CoupletError("usage", {
      what: `Cannot generate into ${out}`,
      why: `it holds what was not generated: ${foreign.sort().slice(0, 4).join(", ")}`,
      remedy: "Give a folder that holds nothing else",
    });
  }
}
