import { checkOptions, listOf, oneOf, TEXT, whole } from "../base/check_options.ts";
import { describeValue } from "../base/describe_value.ts";
import { raise } from "../base/raise.ts";
import type { SchemeId } from "../schemes/scheme.ts";

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
  | "fit"
  | "remap"
  | "kmeans_assign"
  | "kmeans_update"
  | "kmeans_search";

/**
 * The parts that follow the family in a name, by letter: `s` a scheme (of two, the keys' and the
 * values'), `d` the channels of a head, `c` the channels of a group, `v` how coded keys are read,
 * `f` an optional feature. `v` and `f` may be absent, `V` must be present.
 */
export const NAME_GRAMMARS: Readonly<Record<KernelFamily, string>> = {
  store: "d",
  load: "d",
  encode: "sdv",
  decode: "sdv",
  table: "sdv",
  score: "sdV",
  mix: "sdf",
  attend: "ssdVf",
  combine: "d",
  copy: "",
  restore: "",
  page_table: "",
  fit: "sd",
  remap: "",
  kmeans_assign: "c",
  kmeans_update: "c",
  kmeans_search: "c",
};

/**
 * How a score or attend kernel reads coded keys.
 *
 * - `rope`: keys were coded before the rotary embedding; gather, then apply it. Kernels that encode
 *   and decode have this variant where keys are coded with their rotary embedding
 * - `anchored`: as `rope`, but keys were coded with what they turn from their anchors: slow channels
 *   are scored with a query that is turned once for several keys. Kernels that encode and decode
 *   such keys have this variant, too
 * - `mrope`: as `rope`, where sections of channels turn by three positions of a token
 * - `plain`: keys were coded as they are scored; gather
 * - `lut`: as `plain`, by a lookup table of q.centroid in workgroup memory
 * - `table`: as `lut`, with the table of q.centroid in a storage buffer that a `table` kernel fills
 * - `table16`: as `table`, with entries in f16, counted from the middle of the centroids' grids
 */
export type KeyVariant = "rope" | "anchored" | "mrope" | "plain" | "lut" | "table" | "table16";

const VARIANTS: readonly KeyVariant[] = [
  "rope",
  "anchored",
  "mrope",
  "plain",
  "lut",
  "table",
  "table16",
];

/**
 * What a kernel uses that not all chips do well, the last token of its name: an optional feature of
 * the device, integers, or workgroup memory.
 *
 * - `f16`: products of queries and keys in f16 (`shader-f16`)
 * - `subgroups`: exchange among the lanes of a subgroup (`subgroups`)
 * - `int16`: products of weights and values, and of queries and keys that are gathered as they are
 *   scored, in integers: levels are bytes, and weights and queries two bytes. It needs no feature of
 *   the device; a chip without an instruction for four products of bytes takes long
 * - `int8`: the same, with a byte for weights and for queries
 * - `staged`: a workgroup mixes a quarter of a head's channels, with their centroids in workgroup
 *   memory. Each quarter takes the softmax anew, which pays where centroids do not fit the nearest
 *   cache
 */
export type KernelFeature = "f16" | "subgroups" | "int16" | "int8" | "staged";

const FEATURES: Readonly<Record<KernelFeature, GPUFeatureName | undefined>> = {
  f16: "shader-f16",
  subgroups: "subgroups" as GPUFeatureName,
  int16: undefined,
  int8: undefined,
  staged: undefined,
};

/** All that kernels may use. */
export const FEATURE_NAMES: readonly KernelFeature[] = Object.keys(FEATURES) as KernelFeature[];

/** The features of a device that a kernel needs, by its name. */
export function kernelFeatures(
  { feature }: Pick<KernelNameParts, "feature">,
): readonly GPUFeatureName[] {
  const name = feature && FEATURES[feature];
  return name === undefined ? [] : [name];
}

/** The parts of a kernel's name. Which are present depends on the family. */
export interface KernelNameParts {
  /** What the kernel does. */
  readonly family: KernelFamily;
  /** The schemes of its records: keys before values where there are two. */
  readonly schemes: readonly SchemeId[];
  /**
   * Channels per head, or channels per group for the k-means kernels; absent where the kernel
   * serves any size.
   */
  readonly size?: number;
  /** How coded keys are read, for the families that read them. */
  readonly variant?: KeyVariant;
  /** What it uses that not all chips do well, if anything. */
  readonly feature?: KernelFeature;
}

const VARIANT = `_(?<variant>${VARIANTS.join("|")})`;

/** Patterns for the letters of {@linkcode NAME_GRAMMARS}. */
const PARTS: Readonly<Record<string, string>> = {
  s: "_([^_]+)",
  d: "_d(?<size>[1-9]\\d*)",
  c: "_c(?<size>[1-9]\\d*)",
  v: `(?:${VARIANT})?`,
  V: VARIANT,
  f: `(?:_(?<feature>${FEATURE_NAMES.join("|")}))?`,
};

/**
 * `<family>[_<scheme>[_<scheme>]][_(d<headDim>|c<channels>)][_<variant>][_<feature>]`, such as
 * `attend_c8b8_c4b8_d128_rope`.
 */
export function formatKernelName(parts: KernelNameParts): string {
  checkOptions("kernel", "Cannot format a kernel's name", {
    family: oneOf(...Object.keys(NAME_GRAMMARS)),
    schemes: listOf(TEXT),
    "size?": whole(1),
    "variant?": oneOf(...VARIANTS),
    "feature?": oneOf(...FEATURE_NAMES),
  }, parts);
  const size = NAME_GRAMMARS[parts.family].replace(/[^cd]/g, "");
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
  for (const family of TEXT[1](name) ? Object.keys(NAME_GRAMMARS) as KernelFamily[] : []) {
    if (!name.startsWith(family)) continue;
    const letters = [...NAME_GRAMMARS[family]];
    const found = new RegExp(`^${[family, ...letters.map((letter) => PARTS[letter])].join("")}$`)
      .exec(name);
    if (found === null) continue;
    const { size, variant, feature } = found.groups ?? {};
    return {
      family,
      schemes: found.slice(1).filter((_, i) => letters[i] === "s") as SchemeId[],
      ...(size && { size: Number(size) }),
      ...(variant && { variant: variant as KeyVariant }),
      ...(feature && { feature: feature as KernelFeature }),
    };
  }
  raise(
    "kernel",
    `Cannot parse the kernel name ${describeValue(name)}`,
    "names of kernels have another form (docs/kernel_names.md)",
    "Use a name from the manifest",
  );
}
