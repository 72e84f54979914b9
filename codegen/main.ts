/**
 * `deno task generate`: writes `generated/`, checks it, or generates a user's own rows into a
 * folder.
 */
import { Command, CommanderError } from "commander";
import picomatch from "picomatch";
import { readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { compareFiles, type Difference, writeFiles, writeTexts } from "./write/compare.ts";
import { emitFiles, emitKernels, type GeneratedFiles } from "./write/emit.ts";
import { expandTable } from "./rows/expand.ts";
import type { Table } from "./kernels/table.ts";
import { CoupletError } from "../src/base/errors.ts";
import { generatedPage } from "./write/generated_page.ts";
import { kernelNamesPage } from "./write/kernel_names_page.ts";
import type { KernelRow } from "./kernels/kernel_row.ts";
import { kernelSets } from "./write/kernel_sets.ts";
import { OF_PACKAGE, ofUser } from "./write/module_style.ts";
import { withKernelEntries } from "./write/package_entries.ts";
import { TABLE } from "./package_table.ts";
import { createRenderer } from "./render/render.ts";
import { readTemplates, templatesFile } from "./render/templates.ts";
import { userTable } from "./rows/user_table.ts";

const TEMPLATES = new URL("../templates/", import.meta.url);
const GENERATED = new URL("../generated/", import.meta.url);
const CONFIG = new URL("../deno.json", import.meta.url);
const KERNEL_NAMES = new URL("../docs/kernel_names.md", import.meta.url);

interface GenerateOptions {
  readonly check?: true;
  readonly only?: string;
  readonly scheme: string[];
  readonly pair: string[];
  readonly headDim: number[];
  readonly out?: string;
}

function collect<T>(parse: (text: string) => T): (text: string, previous: T[]) => T[] {
  return (text, previous) => [...previous, parse(text)];
}

function describe(difference: Difference): string[] {
  return (["missing", "stale", "orphaned"] as const).flatMap((kind) =>
    difference[kind].map((name) => `${kind}: ${name}`)
  );
}

/** A file outside `generated/` that is derived from the package's own rows. */
interface DerivedFile {
  readonly name: string;
  readonly file: URL;
  readonly text: string;
}

function derivedFiles(rows: readonly KernelRow[], table: Table): DerivedFile[] {
  return [
    {
      name: "exports of deno.json",
      file: CONFIG,
      text: withKernelEntries(readFileSync(CONFIG, "utf8"), kernelSets(rows)),
    },
    { name: "docs/kernel_names.md", file: KERNEL_NAMES, text: kernelNamesPage(rows, table) },
  ];
}

function check(folder: URL, files: GeneratedFiles, derived: readonly DerivedFile[]): number {
  const lines = [
    ...describe(compareFiles(folder, files)),
    ...derived.filter(({ file, text }) => text !== readFileSync(file, "utf8"))
      .map(({ name }) => `stale: ${name}`),
  ];
  if (lines.length === 0) {
    console.log(`${files.size} generated files are what the templates and rows give`);
    return 0;
  }
  console.error(lines.join("\n"));
  console.error("Run `deno task generate` and commit the result");
  return 1;
}

/** Runs the command line. Returns the exit code. */
export function generate(args: readonly string[]): number {
  const program = new Command("generate")
    .description(
      "Render templates/ into kernels, one for each row of codegen/variants.ts, and what tells of them.",
    )
    .option("--check", "compare with what is there; write nothing")
    .option("--only <glob>", "only the kernels whose name matches")
    .option("--scheme <id>", "a scheme of your own rows (repeatable)", collect(String), [])
    .option("--pair <keys/values>", "a fused pair of your own (repeatable)", collect(String), [])
    .option("--head-dim <n>", "a head dimension of your own rows (repeatable)", collect(Number), [])
    .option("--out <folder>", "where your own rows go, with a manifest to register")
    .addHelpText(
      "after",
      "\nExamples:\n  deno task generate --only 'attend_c8b8_*'\n" +
        "  deno task generate --pair c4b6/c8b6 --head-dim 48 --out ./my_kernels",
    )
    .exitOverride();
  try {
    program.parse([...args], { from: "user" });
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode;
    throw error;
  }
  const options = program.opts<GenerateOptions>();
  const own = options.scheme.length + options.pair.length + options.headDim.length > 0;
  if (own !== (options.out !== undefined)) {
    throw new CoupletError("usage", {
      what: "Cannot generate rows of your own",
      why: own ? "no folder was given" : "no scheme and head dimension were given",
      remedy: "Give --scheme or --pair, --head-dim and --out together",
    });
  }
  const templates = readTemplates(TEMPLATES);
  const renderer = createRenderer(templates);
  const { scheme: schemes, pair, headDim: headDims } = options;
  const all = expandTable(
    own ? userTable({ schemes, pairs: pair, headDims }) : TABLE,
  );
  const matches = options.only === undefined ? () => true : picomatch(options.only);
  const rows = all.filter((row) => matches(row.name));
  if (rows.length === 0) {
    throw new CoupletError("kernel", {
      what: "Nothing to generate",
      why: options.only === undefined
        ? "no row was described"
        : `no kernel's name matches "${options.only}"`,
      remedy: "Use names such as 'attend_c8b8_*', or describe rows with --scheme and --head-dim",
    });
  }

  const folder = options.out === undefined ? GENERATED : pathToFileURL(`${resolve(options.out)}/`);
  const style = own ? ofUser() : OF_PACKAGE;
  if (options.only !== undefined) {
    // A part of the rows makes no whole sets, so the other files are not checked.
    const files = emitKernels(rows, renderer, style);
    const { missing, stale } = compareFiles(folder, files);
    if (options.check) {
      const different = [...missing, ...stale];
      if (different.length > 0) console.error(different.join("\n"));
      return different.length === 0 ? 0 : 1;
    }
    writeTexts(folder, [...missing, ...stale], files);
    console.log(`Wrote ${missing.length + stale.length} of ${files.size} kernels`);
    return 0;
  }
  const files = new Map(emitFiles(rows, renderer, style));
  if (!own) {
    files.set("templates.ts", templatesFile(templates));
    files.set("README.md", generatedPage(kernelSets(rows)));
    const unused = renderer.unusedTemplates();
    if (unused.length > 0) {
      throw new CoupletError("usage", {
        what: "Cannot generate",
        why: `no row uses ${unused.join(", ")}`,
        remedy: "Delete the template, or add the row that needs it",
      });
    }
  }
  const derived = own ? [] : derivedFiles(rows, TABLE);
  if (options.check) return check(folder, files, derived);
  for (const { file, text } of derived) writeFileSync(file, text);
  const { missing, stale, orphaned } = writeFiles(folder, files);
  console.log(
    `${files.size} files: ${missing.length} new, ${stale.length} changed, ${orphaned.length} removed`,
  );
  return 0;
}

if (import.meta.main) {
  try {
    const args = process.argv.slice(2);
    process.exit(generate(args[0] === "generate" ? args.slice(1) : args));
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}
