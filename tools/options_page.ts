/**
 * `docs/options.md`: every option of the library, what it may be and what it means. What it may be
 * comes from the fields that the library checks options against, what it means from the interfaces.
 * Run it to write the page.
 *
 * @module
 */
import { Project, type Symbol as TypeSymbol, type Type } from "ts-morph";
import { USER_FIELDS } from "../codegen/rows/user_table.ts";
import { markdownTable } from "../codegen/write/markdown_table.ts";
import { INIT_FIELDS } from "../src/cache/cache.ts";
import { calibrationFields } from "../src/calibrate/calibrate_options.ts";
import { queryFields } from "../src/calibrate/query_energy.ts";
import type { AnyRule } from "../src/base/check_options.ts";
import { choiceFields } from "../src/policy/choose_policy.ts";
import { EXPECTED_FIELDS } from "../src/codebooks/file.ts";
import { ORIGIN_FIELDS } from "../src/calibrate/sample_origin.ts";
import { DRIFT_FIELDS } from "../src/calibrate/drift.ts";
import { FEATURE_FIELDS } from "../src/plan/requirements.ts";
import { PLAN_FIELDS } from "../src/plan/plan.ts";
import { referenceFields } from "../src/plan/reference_options.ts";
import { READING_FIELDS } from "../src/models/plan_options.ts";
import { SNAPSHOT_FIELDS } from "../src/snapshots/snapshot.ts";
import { HTTP_FIELDS } from "../src/snapshots/stores/http_options.ts";
import { VALKEY_FIELDS } from "../src/snapshots/stores/valkey_options.ts";
import { tuneFields } from "../src/tuning/tune.ts";
import { ROOT } from "./project.ts";

/** The page. */
export const OPTIONS_PAGE: URL = new URL("../docs/options.md", import.meta.url);

/** Options of one function. */
interface Section {
  readonly title: string;
  readonly text: string;
  /** The interface, and the file it stands in. */
  readonly name: string;
  readonly file: string;
  readonly fields: unknown;
  /** Options that are listed in the section of `planCache()`. */
  readonly planned?: true;
}

const SECTIONS: readonly Section[] = [
  {
    title: "planCache(), requiredLimits()",
    text: "Options of a cache, and of its plan.",
    name: "PlanOptions",
    file: "src/plan/plan.ts",
    fields: PLAN_FIELDS,
  },
  {
    title: "requiredFeatures()",
    text: "The use of the device.",
    name: "FeatureOptions",
    file: "src/plan/requirements.ts",
    fields: FEATURE_FIELDS,
  },
  {
    title: "createCache()",
    text: "A plan, and what the cache needs besides.",
    name: "CacheInit",
    file: "src/cache/cache.ts",
    fields: INIT_FIELDS,
  },
  {
    title: "tune()",
    text: "Those of `planCache()` without `tuning`, and",
    name: "TuneOptions",
    file: "src/tuning/tune.ts",
    fields: tuneFields(),
    planned: true,
  },
  {
    title: "decodeCodebooks()",
    text: "What the file's codebooks must be for.",
    name: "ExpectedCodebooks",
    file: "src/codebooks/file.ts",
    fields: EXPECTED_FIELDS,
  },
  {
    title: "snapshotSequence()",
    text: "What the file holds besides the tokens.",
    name: "SnapshotOptions",
    file: "src/snapshots/snapshot.ts",
    fields: SNAPSHOT_FIELDS,
  },
  {
    title: "httpStore()",
    text: "How a server is spoken to ([snapshots.md](snapshots.md#http)).",
    name: "HttpStoreOptions",
    file: "src/snapshots/stores/http_options.ts",
    fields: HTTP_FIELDS,
  },
  {
    title: "valkeyStore()",
    text: "Where entries lie, and how long ([snapshots.md](snapshots.md#valkey-and-redis)).",
    name: "ValkeyStoreOptions",
    file: "src/snapshots/stores/valkey_options.ts",
    fields: VALKEY_FIELDS,
  },
  {
    title: "calibrate()",
    text: "Samples, and what to learn from them.",
    name: "CalibrationOptions",
    file: "src/calibrate/calibrate_options.ts",
    fields: calibrationFields(),
  },
  {
    title: "writeSamples()",
    text: "Where the samples come from, for who reads the file.",
    name: "SampleOrigin",
    file: "src/calibrate/sample_origin.ts",
    fields: ORIGIN_FIELDS,
  },
  {
    title: "queryScale()",
    text: "One layer's queries, and the shape of its heads.",
    name: "QueryEnergyOptions",
    file: "src/calibrate/query_energy.ts",
    fields: queryFields(),
  },
  {
    title: "choosePolicy()",
    text:
      "The losses of schemes, and a budget. `shape`, `keys` and `tiers` are those of `planCache()`.",
    name: "ChoosePolicyOptions",
    file: "src/policy/choose_policy.ts",
    fields: choiceFields(),
    planned: true,
  },
  {
    title: "checkDrift()",
    text: "How live vectors are compared.",
    name: "DriftOptions",
    file: "src/calibrate/drift.ts",
    fields: DRIFT_FIELDS,
  },
  {
    title: "createReferenceCache()",
    text: "Those of `planCache()`, without kernels and most sizes, and",
    name: "ReferenceCacheOptions",
    file: "src/plan/reference_options.ts",
    fields: referenceFields(),
    planned: true,
  },
  {
    title: "planOptions()",
    text: "How a model's `config.json` is read ([models.md](models.md)).",
    name: "ReadingOptions",
    file: "src/models/plan_options.ts",
    fields: READING_FIELDS,
  },
  {
    title: "generateKernels()",
    text: "The kernels to generate.",
    name: "UserRows",
    file: "codegen/rows/user_table.ts",
    fields: USER_FIELDS,
  },
];

/** Values by which rules that depend on the value show all they know. */
const EXAMPLES: Readonly<Record<string, unknown>> = {
  keys: { space: "pre-rope" },
  "policy.layers": { 0: {} },
  samples: [{}],
};

const HEAD = `# Options

Written by \`tools/options_page.ts\` from the fields that the library checks options against.

Every name and value is checked first, at every depth: unknown names are refused, and so are values
that their row does not allow. An option in _italics_ may be left out.
`;

/** The page, as `deno fmt` leaves it. */
export function optionsPage(): string {
  const project = new Project({
    compilerOptions: { strict: true, allowImportingTsExtensions: true },
  });
  const files = [...new Set(SECTIONS.map(({ file }) => file))];
  project.addSourceFilesAtPaths(files.map((file) => `${ROOT}${file}`));
  const planned = new Set(Object.keys(PLAN_FIELDS).map(plain));
  const sections = SECTIONS.map(({ title, text, name, file, fields, planned: shared }) => {
    const type = project.getSourceFileOrThrow(`${ROOT}${file}`).getInterfaceOrThrow(name).getType();
    const own = Object.fromEntries(
      Object.entries(fields as object).filter(([key]) => !(shared && planned.has(plain(key)))),
    );
    const rows = optionRows(own, type, "");
    return `## ${title}\n\n${text}\n\n${markdownTable(["option", "may be", "meaning"], rows)}`;
  });
  return [
    HEAD,
    ...sections,
  ].join("\n");
}

function optionRows(fields: AnyRule, type: Type, path: string): string[][] {
  return Object.entries(fields as Record<string, AnyRule>).flatMap(([key, rule]) => {
    const name = plain(key);
    const isIndex = /^\d+$/.test(name);
    const within = isIndex ? `${path}[n]` : path === "" ? name : `${path}.${name}`;
    const option = key === name ? `\`${within}\`` : `_\`${within}\`_`;
    const found = typeof rule === "function" ? rule(EXAMPLES[within]) : rule;
    const member = isIndex ? elementOf(type) : memberOf(type, name);
    if (Array.isArray(found)) return [[option, found[0], member.meaning]];
    const names = Object.keys(found).map(plain);
    const wanted = names[0] === "0"
      ? "one for each n"
      : names.map((one) => `\`${one}\``).join(", ");
    return [[option, wanted, member.meaning], ...optionRows(found, member.type, within)];
  });
}

function plain(key: string): string {
  return key.replace("?", "");
}

/** A property's type, and its documentation. */
interface Member {
  readonly type: Type;
  readonly meaning: string;
}

/** The types of a union, or the type itself. */
function typesOf(type: Type): Type[] {
  const present = type.getNonNullableType();
  return present.isUnion() ? present.getUnionTypes() : [present];
}

function memberOf(type: Type, name: string): Member {
  for (const one of typesOf(type)) {
    const property = one.getProperty(name);
    const declaration = property?.getDeclarations()[0];
    if (property === undefined || declaration === undefined) continue;
    return { type: property.getTypeAtLocation(declaration), meaning: documentation(property) };
  }
  throw new Error(`There is no property ${name} in ${type.getText()}`);
}

function elementOf(type: Type): Member {
  for (const one of typesOf(type)) {
    const element = one.getNumberIndexType();
    if (element !== undefined) return { type: element, meaning: "" };
  }
  throw new Error(`There is no element in ${type.getText()}`);
}

/** What a property's comment says first, in whole sentences on one line; links as code. */
function documentation(property: TypeSymbol): string {
  const [text = ""] = property.compilerSymbol.getDocumentationComment(undefined)
    .map((part) => part.text).join("").split("\n\n");
  return text.replaceAll(/\{@linkcode ([\w.]+)\s*\}/g, "`$1`").replaceAll(/\s+/g, " ")
    .replace(/[^.]*[^.)]$/, "").replaceAll("|", "\\|").trim();
}

if (import.meta.main) Deno.writeTextFileSync(OPTIONS_PAGE, optionsPage());
