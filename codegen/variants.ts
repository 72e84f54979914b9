/**
 * THE TABLE. Every generated kernel derives from a row here: file, name, manifest, tests and
 * selection. Adding a size is one row in `sizes`; a fused pair of schemes is one row in `pairs`.
 */
import type {
  AnchoredRow,
  KmeansRow,
  LadderRow,
  MropeRow,
  PairRow,
  SizeRow,
} from "./kernels/table.ts";

/**
 * 64: Llama-3.2-1B, Qwen2.5-0.5B, SmolLM2; 80: Phi-2, StableLM; 96: Phi-3-mini; 128: Llama-3.1-8B,
 * Qwen3, Mistral; 256: Gemma. The global layers of Gemma 4 have 512, keys of MiMo V2 192.
 */
const headDims: readonly number[] = [64, 80, 96, 128, 256];

/** Those that have a Hadamard rotation. */
const rotatedHeadDims: readonly number[] = headDims.filter((headDim) =>
  Number.isInteger(Math.log2(headDim))
);

/**
 * That of the model the ablations are measured on. For others, a program generates its own kernels.
 */
const ablationHeadDims: readonly number[] = [64];

/** Schemes at the head dimensions that models have, and the baselines where they are measured. */
export const sizes: readonly SizeRow[] = [
  { schemes: ["f16"], headDims, reason: "uncompressed: the baseline of every figure" },
  { schemes: ["c2b8"], headDims, reason: "4 bits: CQ-2c8b of the paper, next to lossless" },
  { schemes: ["c4b8"], headDims, reason: "2 bits: CQ-4c8b of the paper" },
  { schemes: ["c8b10"], headDims, reason: "1.25 bits: CQ-8c10b of the paper" },
  { schemes: ["c8b8"], headDims, reason: "1 bit: CQ-8c8b of the paper" },
  { schemes: ["c16b12"], headDims, reason: "0.75 bits: CQ-16c12b of the paper's appendix" },
  {
    schemes: ["c16b8"],
    headDims,
    reason: "0.5 bits: for the sides of a mixed policy whose errors cost least (docs/policies.md)",
  },
  {
    schemes: ["c4b10", "c2b10"],
    headDims,
    reason: "2.5 and 5 bits: for those whose errors cost most",
  },
  {
    schemes: ["c1b1", "c2b2", "c4b4"],
    headDims: ablationHeadDims,
    reason: "1 bit with less coupling: the ablation that shows what coupling gains",
  },
  {
    schemes: ["c1b2", "c2b4"],
    headDims: ablationHeadDims,
    reason: "2 bits with less coupling: the ablation that shows what coupling gains",
  },
  {
    schemes: ["f16", "c4b8"],
    headDims: [512],
    reason: "the global layers of Gemma 4",
  },
  {
    schemes: ["f16", "c4b8", "c8b8"],
    headDims: [192],
    reason: "keys of MiMo V2, and of DeepSeek's heads, whose values have 128 channels",
  },
  {
    schemes: ["u8b8", "u4b8"],
    headDims: rotatedHeadDims,
    reason: "1.38 and 2.38 bits without calibration, after NSNQuant",
  },
  {
    schemes: ["t1b1", "t1b2", "t1b3", "t1b4"],
    headDims: [64],
    reason: "1 to 4 bits of TurboQuant: the baseline beside u8b8 and u4b8",
  },
  {
    schemes: ["kc2", "kt2", "kc4", "kt4"],
    headDims: [64, 128],
    reason: "2 and 4 bits of KIVI, by channel and by token: the baseline of other work",
  },
  {
    schemes: ["kh2"],
    headDims: [64, 128],
    reason: "2 bits of Kitty's values, whose scale a whole head shares",
  },
  {
    schemes: ["kc2p8", "kc2p4"],
    headDims: [64, 128],
    reason: "Kitty's keys: 2 bits, and 4 for the channels of largest range, an eighth or a fourth",
  },
  {
    schemes: ["kc1p2", "kc1p4"],
    headDims: [64, 128],
    reason: "VidKV's keys: 1 bit, and 2 for the channels of largest range, half or a fourth",
  },
  {
    schemes: ["zc3"],
    headDims: [64, 128],
    reason: "VidKV's values: three levels of each channel",
  },
  {
    schemes: ["q4", "q8"],
    headDims: [64, 96, 128],
    reason: "the levels of llama.cpp's q4_0 and q8_0: the baseline in use",
  },
  {
    schemes: ["v4b8", "v8b10", "v8b8"],
    headDims: [64, 128],
    reason: "2, 1.25 and 1 bits of VecInfer: one small codebook for all groups of a head",
  },
  {
    schemes: ["c1b4"],
    headDims: ablationHeadDims,
    reason: "4 bits without coupling: the ablation beside c2b8",
  },
  {
    schemes: ["n8b8", "n16b8x2", "n32b8x4", "n16b4x4"],
    headDims: [64, 128],
    reason: "1 bit of sums of centroids, with a mean for each page and a size for each token",
  },
  {
    schemes: ["n2b8", "n4b8", "n8b8x2", "n16b8x4", "n8b4x4"],
    headDims: [64, 128],
    reason: "2 bits of the same, and 4 for what costs most",
  },
  {
    schemes: ["sc1", "sc2", "sc4"],
    headDims: [64, 128],
    reason: "images and videos, whose tokens share the levels of a channel, after CalibQuant",
  },
];

/**
 * Pairs that attend in one kernel; every other pair of sized schemes goes through score and mix.
 */
export const pairs: readonly PairRow[] = [
  { keys: "f16", values: "f16", headDims, reason: "flash-decode on f16: the baseline of speed" },
  ...(["c2b8", "c4b8", "c8b10", "c8b8"] as const).map((scheme) => ({
    keys: scheme,
    values: scheme,
    headDims,
    reason: "a rate of the paper, the same for keys and values",
  })),
  ...(["u8b8", "u4b8"] as const).map((scheme) => ({
    keys: scheme,
    values: scheme,
    headDims: rotatedHeadDims,
    reason: "a rate without calibration, the same for keys and values",
  })),
  ...([2, 4] as const).map((bits) => ({
    keys: `kc${bits}` as const,
    values: `kt${bits}` as const,
    headDims: [64, 128],
    reason: "KIVI: keys by channel, values by token",
  })),
  {
    keys: "kc2p8",
    values: "kh2",
    headDims: [64, 128],
    reason: "Kitty: keys by channel, of which an eighth has 4 bits, and values by token",
  },
  {
    keys: "kc1p2",
    values: "zc3",
    headDims: [64, 128],
    reason: "VidKV: keys of 1 and 2 bits, and values of three levels",
  },
  ...(["q4", "q8"] as const).map((scheme) => ({
    keys: scheme,
    values: scheme,
    headDims: [64, 96, 128],
    reason: "a cache type of llama.cpp",
  })),
  ...(["v4b8", "v8b10", "v8b8"] as const).map((scheme) => ({
    keys: scheme,
    values: scheme,
    headDims: [64, 128],
    reason: "a rate of VecInfer, the same for keys and values",
  })),
  ...([
    "n2b8",
    "n4b8",
    "n8b4x4",
    "n8b8",
    "n8b8x2",
    "n16b4x4",
    "n16b8x2",
    "n16b8x4",
    "n32b8x4",
  ] as const).map((scheme) => ({
    keys: scheme,
    values: scheme,
    headDims: [64, 128],
    reason: "a rate of normalised, additive codes, the same for keys and values",
  })),
  ...([["n8b8x2", "n16b8x2"], ["n16b8x4", "n32b8x4"]] as const).map(([keys, values]) => ({
    keys,
    values,
    headDims: [64, 128],
    reason: "1.5 bits of them: keys get twice the values' bits",
  })),
  ...(["sc1", "sc2", "sc4"] as const).map((scheme) => ({
    keys: scheme,
    values: scheme,
    headDims: [64, 128],
    reason: "CalibQuant: a span of an image or a video",
  })),
  {
    keys: "c4b8",
    values: "c8b8",
    headDims,
    reason: "1.5 bits: keys, whose errors pass through the softmax, get twice the values' bits",
  },
];

/** Keys with anchors, of the schemes that most caches have, for the head dimensions of most models. */
export const anchored: readonly AnchoredRow[] = [
  {
    schemes: ["c2b8", "c4b8", "c8b8", "c16b8"],
    headDims: [64, 128],
    reason: "keys before their rotary embedding, whose slow channels need no rotation of a key",
  },
  {
    schemes: ["n16b8x2", "n8b8x2"],
    headDims: [64, 128],
    reason: "the same of sums of centroids, at 1 and 2 bits",
  },
];

/** Keys that turn by three positions of a token, for the vision-language models that have them. */
export const mrope: readonly MropeRow[] = [
  {
    schemes: ["f16", "c4b8", "c8b8"],
    headDims: [64, 128],
    reason: "Qwen2-VL, Qwen2.5-VL, Qwen3-VL: keys before a rotary embedding with sections",
  },
];

/** What not all chips do well, for the head dimensions of most models. */
export const ladder: readonly LadderRow[] = [
  {
    feature: "subgroups",
    // With tables of q.centroid few products remain, and one of the two kinds shows what is gained.
    variants: ["rope", "plain", "table16"],
    schemes: ["f16", "c4b8", "c8b8"],
    headDims: [64, 128],
    reason: "the largest score of a tile by subgroups: a barrier less in each",
  },
  {
    feature: "f16",
    variants: ["rope", "plain"],
    schemes: ["f16", "c4b8", "c8b8"],
    headDims: [64, 128],
    reason: "products of queries and keys in f16, which many GPUs take twice as fast",
  },
  {
    feature: "staged",
    variants: [],
    schemes: ["c2b8", "c4b8", "c8b8"],
    headDims: [64, 128],
    reason: "centroids of a quarter of the channels in workgroup memory, for large cards",
  },
  ...([["int16", "table"], ["int8", "table16"]] as const).map(([feature, table]) => ({
    feature,
    // Tables of q.centroid are of the same precision.
    variants: ["rope", "anchored", "plain", table] as const,
    schemes: ["c4b8", "c8b8", "n16b8x2"] as const,
    headDims: [64, 128],
    reason: "products of integers, four in an instruction, which most GPUs have",
  })),
  ...(["int16", "int8"] as const).map((feature) => ({
    feature,
    variants: ["plain"] as const,
    schemes: ["sc2", "sc4"] as const,
    headDims: [64, 128],
    reason: "the same of images and videos",
  })),
];

/** Calibration on the user's own device. */
export const kmeans: readonly KmeansRow[] = [1, 2, 4, 8, 16, 32].map((channels) => ({
  channels,
  reason: "every width of group that a coupled or additive scheme can have, whatever its bits",
}));
