/** Compares a folder with what generation would write, by full content. */
import {
  type Dirent,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { checkOptions, kind } from "../../src/base/check_options.ts";
import { CoupletError } from "../../src/base/errors.ts";
import type { GeneratedFiles } from "./emit.ts";

/** How a folder differs from what generation would write, by path in the folder. */
export interface Difference {
  /** Files that are not there. */
  readonly missing: readonly string[];
  /** Files with other content. */
  readonly stale: readonly string[];
  /** Files of no row. */
  readonly orphaned: readonly string[];
}

/** The beginning of every generated file: module, page or `package.json`. */
const MARK = /^(\/\/ |<!-- |\{"\/\/": ")Generated /;

function filesIn(folder: URL, prefix = ""): string[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(new URL(prefix, folder), { withFileTypes: true });
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
  return entries.flatMap((entry) =>
    entry.isDirectory() ? filesIn(folder, `${prefix}${entry.name}/`) : [`${prefix}${entry.name}`]
  ).sort();
}

/** Reads `folder` and changes nothing. */
export function compareFiles(folder: URL, wanted: GeneratedFiles): Difference {
  const present = filesIn(folder);
  const has = new Set(present);
  return {
    missing: [...wanted.keys()].filter((name) => !has.has(name)),
    stale: [...wanted].filter(([name, text]) =>
      has.has(name) && readFileSync(new URL(name, folder), "utf8") !== text
    ).map(([name]) => name),
    orphaned: present.filter((name) => !wanted.has(name)),
  };
}

/** Writes files of `wanted` into `folder`, and the folders they lie in. */
export function writeTexts(folder: URL, names: readonly string[], wanted: GeneratedFiles): void {
  for (const name of names) {
    const file = new URL(name, folder);
    mkdirSync(new URL(".", file), { recursive: true });
    writeFileSync(file, wanted.get(name)!);
  }
}

/**
 * Makes `folder` hold exactly the wanted files, writing only what differs.
 *
 * @throws {CoupletError} `usage` where it holds files that were not generated, before anything is
 * written.
 */
export function writeFiles(folder: URL, wanted: GeneratedFiles): Difference {
  checkOptions("usage", "Cannot write generated files", {
    folder: kind(
      "the URL of a folder, with a slash at its end",
      (value) => value instanceof URL && value.protocol === "file:" && value.pathname.endsWith("/"),
    ),
    wanted: kind("what generateKernels() gives", (value) => value instanceof Map),
  }, { folder, wanted });
  const difference = compareFiles(folder, wanted);
  const foreign = [...difference.stale, ...difference.orphaned].filter((name) => {
    const file = new URL(name, folder);
    // What a link leads to is not the folder's own.
    return lstatSync(file).isSymbolicLink() || !MARK.test(readFileSync(file, "utf8"));
  });
  if (foreign.length > 0) {
    throw new CoupletError("usage", {
      what: `Cannot generate into ${folder.pathname}`,
      why: `it holds files that were not generated: ${foreign.slice(0, 4).join(", ")}`,
      remedy: "Give a folder that holds nothing else",
    });
  }
  writeTexts(folder, [...difference.missing, ...difference.stale], wanted);
  for (const name of difference.orphaned) rmSync(new URL(name, folder));
  return difference;
}
