/** What kernels do, in words. */
import type {
  KernelFamily,
  KernelFeature,
  KernelNameParts,
  KeyVariant,
} from "../../src/kernels/name.ts";

const FAMILIES: Readonly<Record<KernelFamily, (schemes: readonly string[]) => string>> = {
  store: () => "Puts new keys and values into the exact tier, as f16",
  encode: ([scheme]) => `Encodes tokens that leave the exact tier into records of ${scheme}`,
  decode: ([scheme]) => `Decodes records of ${scheme} into a host's tensor`,
  load: () => "Takes exact tokens out of their tier, into a host's tensor",
  table: ([scheme]) => `Computes the products of queries with all centroids of ${scheme}`,
  score: ([scheme]) => `Scores queries against keys in ${scheme} and in the exact tier`,
  mix: ([scheme]) => `Takes the softmax of scores and mixes values in ${scheme} and the exact tier`,
  attend: ([keys, values]) =>
    `Attends to keys in ${keys} and values in ${values}, and to the exact tier: scores, softmax and mix in one kernel`,
  combine: () => "Merges the partial results of splits by log-sum-exp, and a learned sink",
  copy: () => "Copies pages and exact tiers of forked sequences",
  restore: () => "Puts the pages and the exact tier of a restored sequence in place",
  page_table: () => "Writes entries of page tables",
  fit: ([scheme]) => `Fits the levels of ${scheme} to the channels of a span`,
  remap: () => "Narrows the range of each row's scores over a span",
  kmeans_assign: () => "Calibration: finds each sample's nearest centroid",
  kmeans_update: () => "Calibration: sums the samples of each centroid",
  kmeans_search: () => "Calibration: finds the sums of centroids that are nearest to each sample",
};

/** How each variant reads coded keys. */
export const VARIANT_TEXTS: Readonly<Record<KeyVariant, string>> = {
  rope: "keys came before the rotary embedding, which it applies",
  anchored:
    "keys came before the rotary embedding, and were coded with the part of it that is slow; it applies the rest",
  mrope:
    "keys came before the rotary embedding, whose sections it turns by three positions of a token",
  plain: "keys were coded as they are scored",
  lut: "keys were coded as they are scored; it reads a table of q.centroid in workgroup memory",
  table: "keys were coded as they are scored; it reads a table of q.centroid from a buffer",
  table16:
    "keys were coded as they are scored; it reads a table of q.centroid in f16 from a buffer",
};

/** What each feature is used for. */
export const FEATURE_TEXTS: Readonly<Record<KernelFeature, string>> = {
  f16: "products of queries and keys are in f16",
  subgroups: "invocations exchange sums by subgroups",
  int16:
    "weights, and queries whose keys are gathered as they are scored, are integers of two bytes",
  int8: "weights, and queries whose keys are gathered as they are scored, are integers of a byte",
  staged: "a workgroup mixes a quarter of the channels, with their centroids in workgroup memory",
};

/** What kernels of a family do, whatever their schemes. */
export function familyText(family: KernelFamily): string {
  return FAMILIES[family](["one scheme", "another"]);
}

/** One sentence on what a kernel does. */
export function kernelText({ family, schemes, variant, feature }: KernelNameParts): string {
  // A kernel that fills a table of q.centroid reads none.
  const how = variant === undefined || family === "table" ? [] : [VARIANT_TEXTS[variant]];
  const using = feature === undefined ? [] : [FEATURE_TEXTS[feature]];
  return `${[FAMILIES[family](schemes), ...how, ...using].join("; ")}.`;
}
