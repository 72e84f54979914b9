import {
  type CacheOptions,
  type ResolvedOptions,
  resolveOptions,
  stepEntries,
} from "./cache_options.ts";
import {
  type CacheBytes,
  centroidBytes,
  exactBytes,
  partialBytes,
  poolBytes,
  residentBytes,
  scoreBytes,
  stepRows,
  tableBytes,
} from "./cache_sizes.ts";
import { CoupletError } from "./errors.ts";
import { manifest } from "../generated/manifest.ts";
import type { KernelInfo } from "./kernel.ts";
import { type KeyVariant, parseKernelName } from "./kernel_name.ts";
import { parseScheme, type SchemeId } from "./scheme.ts";
import { type KernelLimits, matchingKernels, requireKernel } from "./select_kernel.ts";

/** The limits a plan checks. */
export type PlanLimits =
  & KernelLimits
  & Pick<
    GPUSupportedLimits,
    "maxStorageBufferBindingSize" | "maxBufferSize" | "maxComputeWorkgroupsPerDimension"
  >;

/** What {@linkcode planCache} needs besides the cache's options. */
export interface PlanOptions extends CacheOptions {
  /** The device's limits; WebGPU's defaults where absent. */
  readonly limits?: PlanLimits;
  /** Kernels to choose from, such as the manifest and rows of your own; the manifest where absent. */
  readonly kernels?: readonly KernelInfo[];
}

/** WebGPU's default limits, which every device offers. */
export const BASE_LIMITS: PlanLimits = {
  maxComputeWorkgroupStorageSize: 16384,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeInvocationsPerWorkgroup: 256,
  maxStorageBufferBindingSize: 134217728,
  maxBufferSize: 268435456,
  maxComputeWorkgroupsPerDimension: 65535,
};

/** The kernels one way of attending takes, in order of dispatch. */
export interface AttentionKernels {
  /** Keys and values in one kernel, or undefined where `score` and `mix` share the work. */
  readonly attend?: KernelInfo;
  /** Fills the lookup table, where the score kernel reads one from a buffer. */
  readonly table?: KernelInfo;
  /** Scores the keys. */
  readonly score?: KernelInfo;
  /** Mixes the values. */
  readonly mix?: KernelInfo;
  /** Query rows a workgroup serves. */
  readonly rows: number;
  /** Estimated multiply-adds per query row and token, and why the choice fell so. */
  readonly reason: string;
}

/** One layer's kernels. */
export interface LayerPlan {
  /** Scheme of the keys. */
  readonly keys: SchemeId;
  /** Scheme of the values. */
  readonly values: SchemeId;
  /** Stores new tokens in the exact tier. */
  readonly store: KernelInfo;
  /** Encodes keys that leave the exact tier. */
  readonly encodeKeys: KernelInfo;
  /** Encodes values that leave the exact tier. */
  readonly encodeValues: KernelInfo;
  /** Decodes keys' records, for hosts that want vectors. */
  readonly decodeKeys: KernelInfo;
  /** Decodes values' records. */
  readonly decodeValues: KernelInfo;
  /** Attention of one new token a sequence. */
  readonly decode: AttentionKernels;
  /** Attention of several new tokens a sequence: prefill, speculative verification. */
  readonly prefill: AttentionKernels;
  /** Merges splits. */
  readonly combine: KernelInfo;
  /** Copies pages and exact tiers of forked sequences. */
  readonly copy: KernelInfo;
}

/** Everything decided before a device exists: kernels, buffer sizes, bytes. */
export interface CachePlan {
  /** The options, with their defaults filled in. */
  readonly options: ResolvedOptions;
  /** Kernels by layer. */
  readonly layers: readonly LayerPlan[];
  /** Bytes the cache will allocate. */
  readonly bytes: CacheBytes;
  /** Bytes of scratch buffers: partial results, scores, q.centroid tables. */
  readonly scratch: { readonly partials: number; readonly scores: number; readonly tables: number };
  /**
   * Bits per channel of everything resident (codes, exact tiers, codebooks, tables) when the pool is full:
   * `8 * bytes / (2 * tokens * layers * keyValueHeads * headDim)`.
   */
  readonly effectiveBits: number;
  /** Bits per channel of the codes alone, mean over layers and sides. */
  readonly nominalBits: number;
  /** The plan in words: per layer the schemes, kernels, bytes and why each was chosen. */
  describe(): string;
}

/** Multiply-adds per query row and token, for one way of reading keys. */
function keyCost(variant: KeyVariant, scheme: SchemeId, options: ResolvedOptions): number {
  const { headDim } = options.shape;
  const { channels, centroids } = parseScheme(scheme);
  if (variant === "rope") return headDim * 2;
  if (variant === "plain") return headDim;
  // A table costs one multiply-add per centroid and channel, shared by the tokens it serves: a
  // workgroup's own by one split's tokens, a buffer's by the whole sequence's.
  const served = variant === "lut" ? 256 : options.capacity.sequenceTokens;
  return headDim / channels + (headDim * centroids) / served;
}

/** A score that goes through memory is written once and read once. */
const SCORE_TRAFFIC = 8;

/** Share of the device's largest binding that tables of q.centroid may take. */
const TABLE_SHARE = 1 / 16;

function attentionKernels(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  keys: SchemeId,
  values: SchemeId,
  rows: { readonly step: number; readonly entry: number },
): AttentionKernels {
  const { headDim } = options.shape;
  const variants: KeyVariant[] = options.keys.space === "pre-rope"
    ? ["rope"]
    : ["plain", "lut", "table"];
  const candidates: { cost: number; kernels: Omit<AttentionKernels, "rows" | "reason"> }[] = [];
  const fused = { family: "attend", schemes: [keys, values], headDim, variants } as const;
  for (const attend of matchingKernels(kernels, fused, limits)) {
    const { variant } = parseKernelName(attend.name);
    candidates.push({ cost: keyCost(variant!, keys, options), kernels: { attend } });
  }
  const scored = { family: "score", schemes: [keys], headDim, variants } as const;
  const mixes = { family: "mix", schemes: [values], headDim } as const;
  for (const score of matchingKernels(kernels, scored, limits)) {
    const variant = parseKernelName(score.name).variant!;
    const [mix] = matchingKernels(kernels, mixes, limits);
    if (mix === undefined) break;
    const cost = keyCost(variant, keys, options) + SCORE_TRAFFIC;
    if (variant !== "table") {
      candidates.push({ cost, kernels: { score, mix } });
      continue;
    }
    const bytes = tableBytes(options, keys, rows.step);
    if (bytes > limits.maxStorageBufferBindingSize * TABLE_SHARE) continue;
    const query = { family: "table", schemes: [keys], headDim } as const;
    for (const table of matchingKernels(kernels, query, limits)) {
      candidates.push({ cost, kernels: { table, score, mix } });
    }
  }
  if (candidates.length === 0) {
    // Throws for the one that is missing.
    requireKernel(kernels, scored, limits);
    requireKernel(kernels, mixes, limits);
  }
  const best = candidates.reduce((a, b) => (b.cost < a.cost ? b : a));
  const most = (best.kernels.attend ?? best.kernels.score)!.rows!;
  return {
    ...best.kernels,
    rows: Math.min(most, 2 ** Math.ceil(Math.log2(rows.entry))),
    reason: `${
      best.cost.toFixed(1)
    } multiply-adds per query row and token, least of ${candidates.length}`,
  };
}

/**
 * Resolves schemes, kernels and bytes for a model and a device, before anything is allocated.
 *
 * @throws {CoupletError} `shape` and `scheme` where the options contradict themselves; `kernel` where no
 * kernel covers a layer; `limits` where the device cannot hold what was asked for.
 */
export function planCache(options: PlanOptions): CachePlan {
  const resolved = resolveOptions(options);
  const limits = options.limits ?? BASE_LIMITS;
  const kernels = options.kernels ?? manifest;
  const { headDim, keyValueHeads } = resolved.shape;
  const plans = new Map<string, LayerPlan>();
  const layers = resolved.layers.map(({ keys, values }) => {
    const id = `${keys}/${values}`;
    let layer = plans.get(id);
    if (layer === undefined) {
      layer = planLayer(resolved, kernels, limits, keys, values);
      plans.set(id, layer);
    }
    return layer;
  });

  const uses = (pick: (attention: AttentionKernels) => unknown) =>
    layers.some((layer) => pick(layer.decode) || pick(layer.prefill));
  const tables = Math.max(
    0,
    ...layers.flatMap((layer) => [
      layer.decode.table ? tableBytes(resolved, layer.keys, decodeRows(resolved)) : 0,
      layer.prefill.table ? tableBytes(resolved, layer.keys, stepRows(resolved)) : 0,
    ]),
  );
  const scratch = {
    partials: partialBytes(resolved),
    scores: uses((attention) => attention.score) ? scoreBytes(resolved) : 0,
    tables,
  };
  checkLimits(resolved, scratch, limits);

  const resident = residentBytes(resolved);
  const scratchBytes = scratch.partials + scratch.scores + scratch.tables;
  const kept = resident.codes + resident.exact + resident.codebooks + resident.tables;
  const channels = 2 * resolved.shape.layers * keyValueHeads * headDim;
  const bytes: CacheBytes = { ...resident, scratch: scratchBytes, total: kept + scratchBytes };
  const sides = resolved.layers.flatMap(({ keys, values }) => [keys, values]);
  return {
    options: resolved,
    layers,
    bytes,
    scratch,
    effectiveBits: (8 * kept) / (resolved.capacity.tokens * channels),
    nominalBits: sides.reduce((sum, id) => sum + parseScheme(id).bits, 0) / sides.length,
    describe: () => describePlan(resolved, layers, bytes),
  };
}

/** Query rows of a step in which every sequence adds one token. */
export function decodeRows(options: ResolvedOptions): number {
  return Math.min(stepEntries(options), options.capacity.stepTokens) * options.shape.queryHeads;
}

function planLayer(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  keys: SchemeId,
  values: SchemeId,
): LayerPlan {
  const { headDim, queryHeads, keyValueHeads } = options.shape;
  const one = (family: "encode" | "decode", scheme: SchemeId) =>
    requireKernel(kernels, { family, schemes: [scheme], headDim }, limits);
  const bare = (family: "store" | "combine") =>
    requireKernel(kernels, { family, schemes: [], headDim }, limits);
  const attention = (step: number, tokens: number) =>
    attentionKernels(options, kernels, limits, keys, values, {
      step,
      entry: tokens * (queryHeads / keyValueHeads),
    });
  return {
    keys,
    values,
    encodeKeys: one("encode", keys),
    encodeValues: one("encode", values),
    decodeKeys: one("decode", keys),
    decodeValues: one("decode", values),
    store: bare("store"),
    combine: bare("combine"),
    copy: requireKernel(kernels, { family: "copy", schemes: [] }, limits),
    decode: attention(decodeRows(options), 1),
    prefill: attention(stepRows(options), options.capacity.appendTokens),
  };
}

function checkLimits(
  options: ResolvedOptions,
  scratch: CachePlan["scratch"],
  limits: PlanLimits,
): void {
  const bound = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
  const { name, bytes, remedy } = largestBuffer(options, scratch);
  if (bytes > bound) {
    throw new CoupletError("limits", {
      what: "Cannot plan a cache of this size",
      why: `${name} takes ${bytes} bytes in one buffer and the device binds at most ${bound}`,
      remedy:
        `${remedy}, or request the device with maxStorageBufferBindingSize and maxBufferSize of at least ${bytes}`,
    });
  }
  const groups = limits.maxComputeWorkgroupsPerDimension;
  if (options.capacity.stepTokens * options.shape.keyValueHeads > groups) {
    throw new CoupletError("limits", {
      what: "Cannot plan a cache of this size",
      why:
        `steps of ${options.capacity.stepTokens} tokens need more than ${groups} workgroups in one dimension`,
      remedy: "Use smaller steps (capacity.stepTokens)",
    });
  }
}

/** A buffer that must fit one binding. */
interface BoundBuffer {
  /** What it holds, for people. */
  readonly name: string;
  /** Its size. */
  readonly bytes: number;
  /** What makes it smaller. */
  readonly remedy: string;
}

/** The largest buffer of a cache. */
export function largestBuffer(
  options: ResolvedOptions,
  scratch: CachePlan["scratch"],
): BoundBuffer {
  const fewer = "Hold fewer tokens (capacity.tokens)";
  const smaller = "Use smaller steps (capacity.stepTokens)";
  const buffers: BoundBuffer[] = [
    {
      name: "the exact tier of a layer",
      bytes: exactBytes(options),
      remedy: "Use a smaller window or fewer sequences",
    },
    { name: "the partial results of a step", bytes: scratch.partials, remedy: smaller },
    { name: "the scores of a step", bytes: scratch.scores, remedy: smaller },
    { name: "the q.centroid tables of a step", bytes: scratch.tables, remedy: smaller },
    ...options.layers.flatMap(({ keys, values }, layer) => [
      { name: `the keys of layer ${layer}`, bytes: poolBytes(options, keys), remedy: fewer },
      { name: `the values of layer ${layer}`, bytes: poolBytes(options, values), remedy: fewer },
      {
        name: `the codebooks of layer ${layer}`,
        bytes: centroidBytes(options, keys) + centroidBytes(options, values),
        remedy: "Choose schemes with fewer centroids",
      },
    ]),
  ];
  return buffers.reduce((a, b) => (b.bytes > a.bytes ? b : a));
}

/** The limits to request a device with, where they exceed WebGPU's defaults. */
export interface RequiredLimits {
  /** Largest storage buffer binding. */
  readonly maxStorageBufferBindingSize: number;
  /** Largest buffer. */
  readonly maxBufferSize: number;
}

/**
 * The limits a device needs for a cache, before the device exists. No optional feature is needed.
 *
 * @throws {CoupletError} as {@linkcode planCache} does, limits on buffer sizes aside.
 */
export function requiredLimits(options: PlanOptions): RequiredLimits {
  const boundless = { maxStorageBufferBindingSize: Infinity, maxBufferSize: Infinity };
  const plan = planCache({
    ...options,
    limits: { ...BASE_LIMITS, ...options.limits, ...boundless },
  });
  const { bytes } = largestBuffer(plan.options, plan.scratch);
  return {
    maxStorageBufferBindingSize: Math.max(BASE_LIMITS.maxStorageBufferBindingSize, bytes),
    maxBufferSize: Math.max(BASE_LIMITS.maxBufferSize, bytes),
  };
}

function describeAttention(name: string, attention: AttentionKernels): string {
  const names = [attention.attend, attention.table, attention.score, attention.mix]
    .flatMap((kernel) => (kernel === undefined ? [] : [kernel.name]));
  return `  ${name}: ${
    names.join(" + ")
  }, ${attention.rows} rows a workgroup (${attention.reason})`;
}

function describePlan(
  options: ResolvedOptions,
  layers: readonly LayerPlan[],
  bytes: CacheBytes,
): string {
  const lines = layers.flatMap((layer, index) => [
    `layer ${index}: keys ${layer.keys}, values ${layer.values}, ` +
    `${poolBytes(options, layer.keys) + poolBytes(options, layer.values)} bytes of codes, ` +
    `${exactBytes(options)} exact, ` +
    `${centroidBytes(options, layer.keys) + centroidBytes(options, layer.values)} of codebooks`,
    `  append: ${layer.store.name} + ${layer.encodeKeys.name} + ${layer.encodeValues.name}`,
    describeAttention("decode", layer.decode),
    describeAttention("prefill", layer.prefill),
    `  merge: ${layer.combine.name}`,
  ]);
  const parts = Object.entries(bytes).map(([kind, count]) => `${kind} ${count}`);
  return [...lines, `bytes: ${parts.join(", ")}`].join("\n");
}
