import {
  type CacheOptions,
  type ResolvedLayer,
  type ResolvedOptions,
  resolveOptions,
  stepEntries,
} from "./cache_options.ts";
import {
  type CacheBytes,
  centroidBytes,
  exactBytes,
  type LayerBytes,
  layerBytes,
  partialBytes,
  poolBytes,
  scoreBytes,
  sharedTableBytes,
  stepRows,
  tableBytes,
  tokenChannels,
  totalBytes,
} from "./cache_sizes.ts";
import type { KeySpace } from "./codebook.ts";
import { CoupletError } from "./errors.ts";
import { manifest } from "../generated/manifest.ts";
import type { KernelInfo } from "./kernel.ts";
import { type KeyVariant, parseKernelName } from "./kernel_name.ts";
import { recordBits } from "./record_layout.ts";
import { parseScheme, type SchemeId } from "./scheme.ts";
import {
  type KernelLimits,
  type KernelQuery,
  matchingKernels,
  requireKernel,
} from "./select_kernel.ts";

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

/** Some of a layer's KV heads, which follow one another. */
export interface HeadRange {
  /** The first. */
  readonly first: number;
  /** How many there are. */
  readonly count: number;
}

/** One layer's kernels and memory. */
export interface LayerPlan {
  /** The KV heads of each buffer of records: one range, or several where one binding cannot hold them all. */
  readonly parts: readonly HeadRange[];
  /** Bytes, by side and kind. */
  readonly bytes: LayerBytes;
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
  /** Bytes of the largest buffer, each of which is bound whole. */
  readonly largestBinding: number;
  /** Bytes of scratch buffers: partial results, scores, q.centroid tables. */
  readonly scratch: { readonly partials: number; readonly scores: number; readonly tables: number };
  /**
   * Bits per channel of everything resident (codes, exact tiers, codebooks, tables) when the pool is full:
   * `8 * bytes / (tokens * channels)`, with `channels` the sum of `2 * keyValueHeads * headDim` over layers.
   */
  readonly effectiveBits: number;
  /** Bits per channel of the codes and what records hold beside them, mean over layers and sides. */
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
  const kernelPlans = new Map<string, LayerKernels>();
  const layers = resolved.layers.map((layer, index): LayerPlan => {
    const id = `${layer.keys}/${layer.values}/${layer.keyValueHeads}`;
    let chosen = kernelPlans.get(id);
    if (chosen === undefined) {
      chosen = planLayer(resolved, kernels, limits, layer);
      kernelPlans.set(id, chosen);
    }
    const parts = headRanges(layer.keyValueHeads, partBuffers(resolved, layer, index), limits);
    return { ...chosen, parts, bytes: layerBytes(resolved, layer, parts.length) };
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
  const buffers = wholeBuffers(resolved, scratch);
  for (const buffer of buffers) checkBuffer(buffer, limits);
  checkWorkgroups(resolved, limits);

  const bytes = totalBytes(
    layers.map((layer) => layer.bytes),
    sharedTableBytes(resolved),
    scratch.partials + scratch.scores + scratch.tables,
  );
  const sides = resolved.layers.flatMap(({ keys, values }) => [keys, values]);
  return {
    options: resolved,
    layers,
    bytes,
    scratch,
    largestBinding: Math.max(
      ...buffers.map((buffer) => buffer.bytes),
      ...layers.flatMap(({ parts }, index) => {
        const heads = Math.max(...parts.map(({ count }) => count));
        return partBuffers(resolved, resolved.layers[index]!, index)
          .map(({ bytesPerHead }) => bytesPerHead * heads);
      }),
    ),
    effectiveBits: (8 * (bytes.total - bytes.scratch)) /
      (resolved.capacity.tokens * tokenChannels(resolved)),
    nominalBits: sides.reduce((sum, id) => {
      const { headDim } = resolved.shape;
      return sum + recordBits(parseScheme(id).layout(headDim), headDim);
    }, 0) / sides.length,
    describe: () => describePlan(resolved, layers, bytes),
  };
}

/** Query rows of a step in which every sequence adds one token. */
export function decodeRows(options: ResolvedOptions): number {
  return Math.min(stepEntries(options), options.capacity.stepTokens) * options.shape.queryHeads;
}

/** What a layer's plan says of kernels. */
type LayerKernels = Omit<LayerPlan, "parts" | "bytes">;

function planLayer(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  { keys, values, keyValueHeads }: ResolvedLayer,
): LayerKernels {
  const { headDim, queryHeads } = options.shape;
  const { space } = options.keys;
  const one = (family: "encode" | "decode", scheme: SchemeId, space?: KeySpace) => {
    const rope = space === "pre-rope" && parseScheme(scheme).rotated;
    const variants: Pick<KernelQuery, "variants"> = rope ? { variants: ["rope"] } : {};
    return requireKernel(kernels, { family, schemes: [scheme], headDim, ...variants }, limits);
  };
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
    encodeKeys: one("encode", keys, space),
    encodeValues: one("encode", values),
    decodeKeys: one("decode", keys, space),
    decodeValues: one("decode", values),
    store: bare("store"),
    combine: bare("combine"),
    copy: requireKernel(kernels, { family: "copy", schemes: [] }, limits),
    decode: attention(decodeRows(options), 1),
    prefill: attention(stepRows(options), options.capacity.appendTokens),
  };
}

function checkWorkgroups({ capacity, layers }: ResolvedOptions, limits: PlanLimits): void {
  const groups = limits.maxComputeWorkgroupsPerDimension;
  const heads = Math.max(...layers.map((layer) => layer.keyValueHeads));
  if (capacity.stepTokens * heads > groups) {
    throw new CoupletError("limits", {
      what: "Cannot plan a cache of this size",
      why:
        `steps of ${capacity.stepTokens} tokens need more than ${groups} workgroups in one dimension`,
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

/** A buffer that may be divided by KV heads. */
interface PartBuffer extends Omit<BoundBuffer, "bytes"> {
  /** Bytes of one head. */
  readonly bytesPerHead: number;
}

function bindingBytes(limits: PlanLimits): number {
  return Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
}

function checkBuffer({ name, bytes, remedy }: BoundBuffer, limits: PlanLimits): void {
  const bound = bindingBytes(limits);
  if (bytes <= bound) return;
  throw new CoupletError("limits", {
    what: "Cannot plan a cache of this size",
    why: `${name} takes ${bytes} bytes in one buffer and the device binds at most ${bound}`,
    remedy:
      `${remedy}, or request the device with maxStorageBufferBindingSize and maxBufferSize of at least ${bytes}`,
  });
}

/** The buffers of one layer that hold all tokens of all sequences. */
function partBuffers(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  index: number,
): readonly PartBuffer[] {
  const fewer = "Hold fewer tokens (capacity.tokens)";
  return [
    {
      name: `one head's exact tier of layer ${index}`,
      bytesPerHead: exactBytes(options, 1),
      remedy: "Use a smaller window, smaller steps (capacity.appendTokens) or fewer sequences",
    },
    {
      name: `one head's keys of layer ${index}`,
      bytesPerHead: poolBytes(options, layer, layer.keys, 1),
      remedy: fewer,
    },
    {
      name: `one head's values of layer ${index}`,
      bytesPerHead: poolBytes(options, layer, layer.values, 1),
      remedy: fewer,
    },
  ];
}

/** Divides a layer's KV heads into as few ranges as bindings allow, of nearly equal size. */
function headRanges(
  heads: number,
  buffers: readonly PartBuffer[],
  limits: PlanLimits,
): readonly HeadRange[] {
  for (const { bytesPerHead, ...buffer } of buffers) {
    checkBuffer({ ...buffer, bytes: bytesPerHead }, limits);
  }
  const perHead = Math.max(...buffers.map(({ bytesPerHead }) => bytesPerHead));
  const most = Math.floor(bindingBytes(limits) / perHead);
  const parts = Math.ceil(heads / Math.min(most, heads));
  return Array.from({ length: parts }, (_, part) => {
    const first = Math.floor((part * heads) / parts);
    return { first, count: Math.floor(((part + 1) * heads) / parts) - first };
  });
}

/** The buffers that are bound whole. */
function wholeBuffers(options: ResolvedOptions, scratch: CachePlan["scratch"]): BoundBuffer[] {
  const smaller = "Use smaller steps (capacity.stepTokens)";
  return [
    { name: "the partial results of a step", bytes: scratch.partials, remedy: smaller },
    { name: "the scores of a step", bytes: scratch.scores, remedy: smaller },
    { name: "the q.centroid tables of a step", bytes: scratch.tables, remedy: smaller },
    ...options.layers.map((layer, index) => ({
      name: `the codebooks of layer ${index}`,
      bytes: centroidBytes(options, layer, "keys") + centroidBytes(options, layer, "values"),
      remedy: "Choose schemes with fewer centroids",
    })),
  ];
}

/** The limits to request a device with, where they exceed WebGPU's defaults. */
export interface RequiredLimits {
  /** Largest storage buffer binding. */
  readonly maxStorageBufferBindingSize: number;
  /** Largest buffer. */
  readonly maxBufferSize: number;
}

/**
 * The limits to request of an adapter for a cache, before there is a device. Give the adapter's own as `limits`: a
 * layer that exceeds its largest binding is then divided by KV heads, at the price of a dispatch for each part.
 * Without them the adapter is taken to have none, and every layer gets one binding.
 *
 * @throws {CoupletError} as {@linkcode planCache} does.
 */
export function requiredLimits(options: PlanOptions): RequiredLimits {
  const boundless = { maxStorageBufferBindingSize: Infinity, maxBufferSize: Infinity };
  const { largestBinding } = planCache({
    ...options,
    limits: options.limits ?? { ...BASE_LIMITS, ...boundless },
  });
  return {
    maxStorageBufferBindingSize: Math.max(
      BASE_LIMITS.maxStorageBufferBindingSize,
      largestBinding,
    ),
    maxBufferSize: Math.max(BASE_LIMITS.maxBufferSize, largestBinding),
  };
}

/**
 * The features to request of an adapter for a cache: none, since every kernel in the manifest fits WebGPU's base.
 *
 * @param profile Whether the cache is to be profiled ({@linkcode createProfile}), which needs timestamps.
 */
export function requiredFeatures(
  { profile = false }: { readonly profile?: boolean } = {},
): readonly GPUFeatureName[] {
  return profile ? ["timestamp-query"] : [];
}

function describeAttention(name: string, attention: AttentionKernels): string {
  const names = [attention.attend, attention.table, attention.score, attention.mix]
    .flatMap((kernel) => (kernel === undefined ? [] : [kernel.name]));
  return `  ${name}: ${
    names.join(" + ")
  }, ${attention.rows} rows a workgroup (${attention.reason})`;
}

function describePlan(
  { layers: options }: ResolvedOptions,
  layers: readonly LayerPlan[],
  bytes: CacheBytes,
): string {
  const lines = layers.flatMap((layer, index) => {
    const { keyValueHeads, slidingWindow } = options[index]!;
    const sides = (["keys", "values"] as const).map((side) => {
      const { codes, exact, codebooks } = layer.bytes[side];
      return `  ${side} ${
        layer[side]
      }: ${codes} bytes of codes, ${exact} exact, ${codebooks} of codebooks`;
    });
    return [
      `layer ${index}: ${keyValueHeads} KV heads` +
      (slidingWindow > 0 ? `, the last ${slidingWindow} tokens` : "") +
      (layer.parts.length > 1 ? `, in ${layer.parts.length} buffers each` : ""),
      ...sides,
      `  append: ${layer.store.name} + ${layer.encodeKeys.name} + ${layer.encodeValues.name}`,
      describeAttention("decode", layer.decode),
      describeAttention("prefill", layer.prefill),
      `  merge: ${layer.combine.name}`,
    ];
  });
  const parts = Object.entries(bytes).map(([kind, count]) => `${kind} ${count}`);
  return [...lines, `bytes: ${parts.join(", ")}`].join("\n");
}
