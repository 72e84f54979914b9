import { checkOptions, listOf, oneOf, TEXT, whole } from "./check_options.ts";
import { describeValue } from "./describe_value.ts";
import { raise } from "./errors.ts";
import type { SchemeId } from "./scheme.ts";

/** What a kernel does; the first token of its name. */
export type KernelFamily =
  | "store"
  | "load"
  | "encode"
  | "decode"
  | "table"
  | "score"
  | "mix"
  | "attend"
  | "combine"
  | "copy"
  | "restore"
  | "page_table"
  | "kmeans_assign"
  | "kmeans_update";

/** The parts a family's name carries, besides the family itself. */
export interface NameGrammar {
  /** How many schemes: two are the keys' and the values'. */
  readonly schemes: 0 | 1 | 2;
  /** The letter before the size, or none where kernels of the family have no size. */
  readonly size: "d" | "c" | "";
  /** Whether the name says how coded keys are read. */
  readonly variant: "always" | "sometimes" | "never";
}

/** The grammar of each family's names. */
export const NAME_GRAMMARS: Readonly<Record<KernelFamily, NameGrammar>> = {
  store: { schemes: 0, size: "d", variant: "never" },
  load: { schemes: 0, size: "d", variant: "never" },
  encode: { schemes: 1, size: "d", variant: "sometimes" },
  decode: { schemes: 1, size: "d", variant: "sometimes" },
  table: { schemes: 1, size: "d", variant: "sometimes" },
  score: { schemes: 1, size: "d", variant: "always" },
  mix: { schemes: 1, size: "d", variant: "never" },
  attend: { schemes: 2, size: "d", variant: "always" },
  combine: { schemes: 0, size: "d", variant: "never" },
  copy: { schemes: 0, size: "", variant: "never" },
  restore: { schemes: 0, size: "", variant: "never" },
  page_table: { schemes: 0, size: "", variant: "never" },
  kmeans_assign: { schemes: 0, size: "c", variant: "never" },
  kmeans_update: { schemes: 0, size: "c", variant: "never" },
};

/**
 * How a score or attend kernel reads coded keys.
 *
 * - `rope`: keys came before the rotary embedding; gather, then rotate by position. Kernels that encode and decode have
 *   this variant where keys are rotated before they are coded
 * - `plain`: keys were coded as they are scored; gather
 * - `lut`: as `plain`, by a lookup table of q.centroid in workgroup memory
 * - `table`: as `lut`, with the table in a storage buffer that a `table` kernel fills
 * - `table16`: as `table`, with entries in f16, counted from the middle of the centroids' grids
 */
export type KeyVariant = "rope" | "plain" | "lut" | "table" | "table16";

const VARIANTS: readonly KeyVariant[] = ["rope", "plain", "lut", "table", "table16"];

/**
 * An optional feature of a device that a kernel uses, the last token of its name: `f16`, products of queries and keys in
 * f16 (`shader-f16`), or `subgroups`.
 */
export type KernelFeature = "f16" | "subgroups";

const FEATURES: Readonly<Record<KernelFeature, GPUFeatureName>> = {
  f16: "shader-f16",
  subgroups: "subgroups" as GPUFeatureName,
};

/** All optional features that kernels use. */
export const FEATURE_NAMES: readonly KernelFeature[] = Object.keys(FEATURES) as KernelFeature[];

/** The features of a device that a kernel of this name needs. */
export function kernelFeatures(
  { feature }: Pick<KernelNameParts, "feature">,
): readonly GPUFeatureName[] {
  return feature === undefined ? [] : [FEATURES[feature]];
}

/** What a kernel's name says. Which parts are present depends on the family. */
export interface KernelNameParts {
  /** What the kernel does. */
  readonly family: KernelFamily;
  /** The schemes of its records: keys before values where there are two. */
  readonly schemes: readonly SchemeId[];
  /** Channels per head, or channels per group for the k-means kernels; absent where any size will do. */
  readonly size?: number;
  /** How coded keys are read, for the families that read them. */
  readonly variant?: KeyVariant;
  /** The optional feature it uses, if any. */
  readonly feature?: KernelFeature;
}

/** `<family>[_<scheme>[_<scheme>]][_(d<headDim>|c<channels>)][_<variant>][_<feature>]`, such as `attend_c8b8_c4b8_d128_rope`. */
export function formatKernelName(parts: KernelNameParts): string {
  checkOptions("kernel", "Cannot format a kernel's name", {
    family: oneOf(...Object.keys(NAME_GRAMMARS)),
    schemes: listOf(TEXT),
    "size?": whole(1),
    "variant?": oneOf(...VARIANTS),
    "feature?": oneOf(...FEATURE_NAMES),
  }, parts);
  const { size } = NAME_GRAMMARS[parts.family];
  return [
    parts.family,
    ...parts.schemes,
    ...(parts.size === undefined ? [] : [`${size}${parts.size}`]),
    ...(parts.variant === undefined ? [] : [parts.variant]),
    ...(parts.feature === undefined ? [] : [parts.feature]),
  ].join("_");
}

/**
 * The inverse of {@linkcode formatKernelName}.
 *
 * @throws {CoupletError} `kernel` where the name does not follow the grammar.
 */
export function parseKernelName(name: string): KernelNameParts {
  const families = Object.keys(NAME_GRAMMARS) as KernelFamily[];
  const parts = TEXT[1](name) && families.flatMap((family) => parseParts(family, name))[0];
  return parts || raise(
    "kernel",
    `Cannot parse the kernel name ${describeValue(name)}`,
    "names of kernels have another form (docs/kernel_names.md)",
    "Use a name from the manifest",
  );
}

/** What a name says if it is one of the family's, whose names no other family has. */
function parseParts(family: KernelFamily, name: string): KernelNameParts[] {
  const grammar = NAME_GRAMMARS[family];
  const part = (name: string, words: readonly string[]) => `(?:_(?<${name}>${words.join("|")}))`;
  const optional = grammar.variant === "always" ? "" : "?";
  const found = new RegExp(
    `^${family}${"_([^_]+)".repeat(grammar.schemes)}` +
      (grammar.size && part("size", [`${grammar.size}[1-9]\\d*`])) +
      (grammar.variant === "never" ? "" : part("variant", VARIANTS) + optional) +
      (family === "attend" ? `${part("feature", FEATURE_NAMES)}?` : "") + "$",
  ).exec(name);
  if (found === null) return [];
  const { size, variant, feature } = found.groups ?? {};
  return [{
    family,
    schemes: found.slice(1, 1 + grammar.schemes),
    ...(size && { size: Number(size.slice(1)) }),
    ...(variant && { variant: variant as KeyVariant }),
    ...(feature && { feature: feature as KernelFeature }),
  }];
}
