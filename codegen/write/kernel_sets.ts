/**
 * Divides kernels into sets that are imported together, and writes the sets' modules and the
 * manifest.
 */
import type { SchemeId } from "../../src/schemes/scheme.ts";
import { CoupletError } from "../../src/base/errors.ts";
import { type KernelNameParts, parseKernelName } from "../../src/kernels/name.ts";
import { kernelSetEntry, kernelSetName } from "../../src/kernels/set.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";
import { kmeansExample, planExample } from "./entry_examples.ts";
import { kernelInfo } from "./kernel_info.ts";
import { annotation, listFiles, modulePath, type ModuleStyle, OF_PACKAGE } from "./module_style.ts";
import type { KernelRow } from "../kernels/kernel_row.ts";

/** Kernels that are imported together. */
export interface KernelSet {
  /** As {@linkcode kernelSetName} returns it. */
  readonly name: string;
  /** What the set is for, for its module's documentation. */
  readonly title: string;
  /** Sets whose kernels it holds besides its own. */
  readonly includes: readonly string[];
  /** Its own kernels, sorted by name. Each kernel belongs to one set. */
  readonly rows: readonly KernelRow[];
  /** Whether programs import it. The others are parts of those. */
  readonly isEntry: boolean;
  /** A program that imports it as an entry of this package. */
  readonly example?: string;
}

/** The folder of a set and its own kernels: its schemes, at all head dimensions. */
export function setFolder(name: string): string {
  return name.replace(/_d\d+$/, "");
}

/** The path of a set's module, without what its language adds. */
function setStem(name: string): string {
  return `${setFolder(name)}/${name}`;
}

/** The path of a set's module of this package. */
export function setPath(name: string): string {
  return modulePath(setStem(name), OF_PACKAGE);
}

/** Describes the set of a kernel, without its kernels. */
function describeSet(parts: KernelNameParts): Omit<KernelSet, "name" | "rows"> {
  const { family, size } = parts;
  const schemes = [...new Set(parts.schemes)];
  const at = size === undefined ? "" : ` at head dimension ${size}`;
  if (kernelSetName(parts) === "kmeans") {
    return {
      title: "Kernels that learn codebooks",
      includes: [],
      isEntry: true,
      example: kmeansExample(),
    };
  }
  const part = (...schemes: SchemeId[]) => kernelSetName({ ...parts, family, schemes });
  const [keys, values] = schemes;
  if (keys === undefined) {
    return {
      title: `Kernels that every cache${at} needs`,
      includes: size === undefined ? [] : [kernelSetName({ family, schemes: [] })],
      isEntry: false,
    };
  }
  if (values === undefined) {
    return {
      title: parseScheme(keys).forSpans
        ? `Kernels of spans with keys and values in ${keys}${at}`
        : `Kernels of a cache with keys and values in ${keys}${at}`,
      includes: [part()],
      isEntry: true,
      ...exampleOf(parts, keys, keys),
    };
  }
  return {
    title: `Kernels of a cache with keys in ${keys} and values in ${values}${at}`,
    includes: [part(keys), part(values)],
    isEntry: true,
    ...exampleOf(parts, keys, values),
  };
}

function exampleOf(
  parts: KernelNameParts,
  keys: string,
  values: string,
): Required<Pick<KernelSet, "example">> {
  const entry = kernelSetEntry(kernelSetName(parts));
  return {
    example: planExample({ entry, exported: "kernels", keys, values, headDim: parts.size! }),
  };
}

/**
 * The sets of `rows`, sorted by name.
 *
 * @throws {CoupletError} `usage` where a set includes one that has no rows.
 */
export function kernelSets(rows: readonly KernelRow[]): KernelSet[] {
  const sets = new Map<string, KernelSet & { readonly rows: KernelRow[] }>();
  for (const row of rows) {
    const parts = parseKernelName(row.name);
    const name = kernelSetName(parts);
    const set = sets.get(name) ?? { name, ...describeSet(parts), rows: [] };
    set.rows.push(row);
    sets.set(name, set);
  }
  for (const { name, includes } of sets.values()) {
    const missing = includes.filter((included) => !sets.has(included));
    if (missing.length > 0) {
      throw new CoupletError("usage", {
        what: `Cannot generate the kernel set ${name}`,
        why: `it holds the kernels of ${missing.join(" and ")}, which no row gives`,
        remedy: "Give both schemes of a pair a row of sizes at the pair's head dimensions",
      });
    }
  }
  return [...sets.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function entryText(row: KernelRow, text: string, style: ModuleStyle): string {
  const { name, bindings, overrides, span, workgroupBytes, reason } = kernelInfo(row, text);
  const list = (names: readonly string[]) =>
    `[${names.map((name) => JSON.stringify(name)).join(", ")}]`;
  const fields = {
    name: JSON.stringify(name),
    bindings: list(bindings),
    overrides: list(overrides),
    ...(span === undefined ? {} : { span }),
    workgroupBytes,
    reason: JSON.stringify(reason),
    load: `() => import("./${modulePath(`${name}.wgsl`, style)}")`,
  };
  const lines = Object.entries(fields).map(([name, value]) => `    ${name}: ${value},\n`);
  return `  {\n${lines.join("")}  },\n`;
}

/** The first line of a module: where it comes from, and what to change in its place. */
function header(style: ModuleStyle): string {
  return isPackage(style)
    ? "// Generated by `deno task generate`. Do not edit: change the table in codegen/variants.ts.\n"
    : "// Generated by @couplet/kv/generate. Do not edit: generate it again.\n";
}

/** @param folder The folder of the module that imports it; none for that of all sets. */
function importSet(name: string, style: ModuleStyle, folder?: string): string {
  const path = folder === undefined
    ? `./${setStem(name)}`
    : folder === setFolder(name)
    ? `./${name}`
    : `../${setStem(name)}`;
  return `import { kernels as ${name} } from "${modulePath(path, style)}";\n`;
}

const MANIFEST_EXAMPLE = planExample({
  entry: "@couplet/kv/kernels",
  exported: "manifest",
  keys: "c4b8",
  values: "c8b8",
  headDim: 128,
});

/** Whether modules are this package's own, with the entries that examples import. */
export function isPackage({ types }: ModuleStyle): boolean {
  return types.startsWith(".");
}

/** A module's documentation. */
function moduleDoc(title: string, example: string | undefined): string {
  const block = example === undefined ? [] : ["", "```ts", ...example.split("\n"), "```"];
  const lines = [`${title}.`, ...block, "", "@module"];
  return `/**\n${lines.map((line) => ` * ${line}`.trimEnd() + "\n").join("")} */\n`;
}

/**
 * The files of one set.
 *
 * @param texts WGSL by kernel name.
 */
export function kernelSetFiles(
  { name, title, includes, rows, example }: KernelSet,
  texts: ReadonlyMap<string, string>,
  style: ModuleStyle,
): [path: string, text: string][] {
  return listFiles({
    path: setStem(name),
    head: header(style) + moduleDoc(title, isPackage(style) ? example : undefined),
    imports: includes.map((included) => importSet(included, style, setFolder(name))).join(""),
    types: style.types.startsWith(".") ? `../${style.types}` : style.types,
    doc: `${title}. Each loads its WGSL when it is asked for.`,
    name: "kernels",
    value: `[\n${includes.map((included) => `  ...${included},\n`).join("")}${
      rows.map((row) => entryText(row, texts.get(row.name)!, style)).join("")
    }]`,
  }, style);
}

/** The files of all sets together. */
export function manifestFiles(
  sets: readonly KernelSet[],
  style: ModuleStyle,
): [path: string, text: string][] {
  const names = sets.filter(({ isEntry }) => isEntry).map(({ name }) => name);
  return listFiles({
    path: "manifest",
    head: header(style) +
      moduleDoc("Every generated kernel", isPackage(style) ? MANIFEST_EXAMPLE : undefined),
    imports: names.map((name) => importSet(name, style)).join(""),
    types: style.types,
    before: `const sets${annotation("readonly (readonly KernelInfo[])[]", style)} = [\n${
      names.map((name) => `  ${name},\n`).join("")
    }];\n\n`,
    doc: "Every generated kernel once, sorted by name. Each loads its WGSL when it is asked for.",
    name: "manifest",
    value: "[...new Set(sets.flat())]\n  .sort((a, b) => (a.name < b.name ? -1 : 1))",
  }, style);
}
