import {
  CACHE_FIELDS,
  type CacheOptions,
  checkPlanOptions,
  type ResolvedLayer,
  type ResolvedOptions,
  resolveOptions,
  stepEntries,
  WHAT,
} from "./cache_options.ts";
import {
  type CacheBytes,
  type LayerBytes,
  layerBytes,
  partialBytes,
  scoreBytes,
  type ScratchBytes,
  sharedTableBytes,
  type StepSize,
  tableBytes,
  tokenChannels,
  totalBytes,
} from "./cache_sizes.ts";
import { type AttentionKernels, candidateNames, chooseAttention } from "./choose_attention.ts";
import type { KeySpace } from "./codebook.ts";
import { checkOptions, type Fields, FUNCTION, having, kind, oneOf } from "./check_options.ts";
import type { KernelInfo } from "./kernel.ts";
import {
  checkBuffer,
  checkWorkgroups,
  divideHeads,
  type HeadRange,
  wholeBuffers,
} from "./plan_buffers.ts";
import { PAGE_TOKENS } from "./kernel_constants.ts";
import { FEATURE_NAMES, type KernelFamily, kernelFeatures } from "./kernel_name.ts";
import { BASE_LIMITS, type PlanLimits } from "./plan_limits.ts";
import { kernelPrecision, type Precision } from "./precision.ts";
import { recordBits } from "./record_layout.ts";
import { parseScheme, type SchemeId, SIDES } from "./scheme.ts";
import { kernelParts, type KernelQuery, KERNELS, requireKernel } from "./select_kernel.ts";
import { parameterSets } from "./split_kinds.ts";
import {
  type AttentionWay,
  checkTuning,
  findTuned,
  layerKind,
  type TuningRecord,
} from "./tuning.ts";

/** What {@linkcode planCache} needs besides the cache's options. */
export interface PlanOptions extends CacheOptions {
  /** The device's limits; WebGPU's defaults where absent. */
  readonly limits?: PlanLimits;
  /**
   * The device's features; none where absent. Kernels that use one (`subgroups`, or `shader-f16` for products of queries
   * and keys in f16) are there only where it is listed; those in f16 only with `precision: "f16"`, and are taken only where
   * `tuning` found them faster.
   */
  readonly features?: Pick<ReadonlySet<string>, "has">;
  /**
   * What products of queries and keys may be taken in; `f32` where absent. With `f16`, kernels that round them are there as
   * well: they are faster, and cost digits where scores are large.
   */
  readonly precision?: Precision;
  /**
   * Kernels to choose from: those of one or more sets (`@couplet/kv/kernels/c8b8_d128`), of all
   * (`@couplet/kv/kernels`), or of your own. Of several with one name the first counts.
   */
  readonly kernels: readonly KernelInfo[];
  /**
   * What {@linkcode tune} measured on the device: attention then takes the fastest kernels, cut into as many workgroups
   * as were the fastest, and no estimate counts.
   */
  readonly tuning?: TuningRecord;
}

/** What a plan's options may be. */
export const PLAN_FIELDS: Fields<PlanOptions> = {
  ...CACHE_FIELDS,
  "limits?": kind(
    "a device's limits",
    (value) =>
      Object.keys(BASE_LIMITS).every((name) => {
        const limit = Object(value)[name];
        return typeof limit === "number" && limit > 0;
      }),
  ),
  // A name that has another form than WebGPU's is misspelt, such as `shader_f16`.
  "features?": kind("a device's features", (value) => {
    const { has, keys } = Object(value);
    return FUNCTION[1](has) && ![...keys?.call(value) ?? []].some((name) => /[^a-z\d-]/.test(name));
  }),
  "precision?": oneOf("f32", "f16"),
  kernels: KERNELS,
  "tuning?": having("what tune() gives"),
};

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
  /** Gives exact tokens back to hosts that want vectors. */
  readonly load: KernelInfo;
  /** Encodes keys that leave the exact tier. */
  readonly encodeKeys: KernelInfo;
  /** Encodes values that leave the exact tier. */
  readonly encodeValues: KernelInfo;
  /** Decodes keys' records, for the same. */
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
  /** Puts the pages and the exact tier of a restored sequence in place. */
  readonly restore: KernelInfo;
}

/** Everything decided before a device exists: kernels, buffer sizes, bytes. */
export interface CachePlan {
  /** The options, with their defaults filled in. */
  readonly options: ResolvedOptions;
  /** Kernels by layer. */
  readonly layers: readonly LayerPlan[];
  /** Writes entries of page tables, of all layers. */
  readonly pageTable: KernelInfo;
  /** Bytes the cache will allocate. */
  readonly bytes: CacheBytes;
  /** Bytes of the largest buffer, each of which is bound whole. */
  readonly largestBinding: number;
  /** Bytes of scratch buffers: partial results, scores, q.centroid tables. */
  readonly scratch: ScratchBytes;
  /**
   * Bits per channel of everything resident (codes, exact tiers, codebooks, tables) when the pool is full:
   * `8 * bytes / (tokens * channels)`, with `channels` the sum of `2 * keyValueHeads * headDim` over layers.
   */
  readonly effectiveBits: number;
  /** Features of the device that the chosen kernels use. */
  readonly features: readonly GPUFeatureName[];
  /** What the chosen kernels take products of queries and keys in: `f16` where one of them does. */
  readonly precision: Precision;
  /** Bits per channel of the codes and what records hold beside them, mean over layers and sides. */
  readonly nominalBits: number;
  /** The record that attention was chosen by; absent where it was chosen by estimates. */
  readonly tuning?: TuningRecord;
  /** The plan in words: per layer the schemes, kernels, bytes and why each was chosen. */
  describe(): string;
}

/**
 * Resolves schemes, kernels and bytes for a model and a device, before anything is allocated.
 *
 * @throws {CoupletError} `shape` and `scheme` where options are unknown, out of range, or contradict each other; `kernel` where no
 * kernel covers a layer; `limits` where the device cannot hold what was asked for; `tuning` where the record is of
 * another version or shape, or its choice cannot be used.
 */
export function planCache(options: PlanOptions): CachePlan {
  checkPlanOptions(PLAN_FIELDS, options);
  const resolved = resolveOptions(options);
  const limits = options.limits ?? BASE_LIMITS;
  const { tuning } = options;
  if (tuning !== undefined) checkTuning(tuning, resolved);
  const { precision = "f32" } = options;
  const kernels = usableKernels(options.kernels, options.features, precision);
  const rounding = new Set(
    precision === "f16" ? [] : options.kernels
      .filter((kernel) => kernelPrecision(kernelParts(kernel)) === "f16")
      .map(({ name }) => name),
  );
  const kernelPlans = new Map<string, LayerKernels>();
  let largestBinding = 0;
  const layers = resolved.layers.map((layer, index): LayerPlan => {
    const id = Object.values(layerKind(layer)).join("/");
    let chosen = kernelPlans.get(id);
    if (chosen === undefined) {
      chosen = planLayer(resolved, kernels, limits, layer, tuning, rounding);
      kernelPlans.set(id, chosen);
    }
    const { parts, largest } = divideHeads(resolved, layer, index, limits);
    largestBinding = Math.max(largestBinding, largest);
    return { ...chosen, parts, bytes: layerBytes(resolved, layer, parts.length) };
  });

  const attentions = layers.flatMap(({ decode, prefill }) => [decode, prefill]);
  const tables = layers.flatMap(({ decode, prefill }, index) => {
    const bytes = (step: StepSize) => tableBytes(resolved, resolved.layers[index]!, step);
    return [
      decode.table ? bytes(decodeStep(resolved)) : 0,
      prefill.table ? bytes(largestStep(resolved)) : 0,
    ];
  });
  const scratch = {
    partials: partialBytes(resolved, attentions.map(({ splits }) => splits)),
    scores: attentions.some(({ score }) => score) ? scoreBytes(resolved) : 0,
    tables: Math.max(...tables),
  };
  const buffers = wholeBuffers(resolved, scratch);
  for (const buffer of buffers) checkBuffer(buffer, limits);
  checkWorkgroups(resolved, limits);

  const bytes = totalBytes(
    layers.map((layer) => layer.bytes),
    sharedTableBytes(resolved, parameterSets(layers)),
    scratch.partials + scratch.scores + scratch.tables,
  );
  const sides = resolved.layers.flatMap(({ keys, values }) => [keys, values]);
  const attending = attentions.flatMap(({ attend, score }) => kernelParts((attend ?? score)!));
  const planned = attending.some((parts) => kernelPrecision(parts) === "f16") ? "f16" : "f32";
  return {
    options: resolved,
    layers,
    pageTable: requireKernel(kernels, { family: "page_table", schemes: [] }, limits),
    bytes,
    scratch,
    ...(tuning === undefined ? {} : { tuning }),
    largestBinding: Math.max(largestBinding, ...buffers.map((buffer) => buffer.bytes)),
    effectiveBits: (8 * (bytes.total - bytes.scratch)) /
      (resolved.capacity.tokens * tokenChannels(resolved)),
    features: [...new Set(attending.flatMap(kernelFeatures))],
    precision: planned,
    nominalBits: sides.reduce((sum, id) => {
      const { headDim } = resolved.shape;
      return sum + recordBits(parseScheme(id).layout(headDim), headDim);
    }, 0) / sides.length,
    describe: () => describePlan(resolved, layers, bytes, planned),
  };
}

/** Each kernel once, because sets have kernels in common, and only those that do with the given features, and have no less precision. */
export function usableKernels(
  kernels: readonly KernelInfo[],
  features: PlanOptions["features"],
  precision: Precision,
): KernelInfo[] {
  const names = new Set<string>();
  return kernels.filter((kernel) => {
    const parts = kernelParts(kernel);
    return names.size < names.add(kernel.name).size &&
      kernelFeatures(parts).every((feature) => features?.has(feature)) &&
      (precision === "f16" || kernelPrecision(parts) === "f32");
  });
}

/** A step in which every sequence adds one token. */
export function decodeStep(options: ResolvedOptions): StepSize {
  const entries = Math.min(stepEntries(options), options.capacity.stepTokens);
  return { tokens: entries, entries };
}

/** A step of as many tokens and entries as there may be. */
export function largestStep(options: ResolvedOptions): StepSize {
  return { tokens: options.capacity.stepTokens, entries: stepEntries(options) };
}

/** Whether a step may have several tokens of a sequence. */
export function hasPrefill({ capacity }: ResolvedOptions): boolean {
  return capacity.appendTokens > 1;
}

/** What a layer's plan says of kernels. */
type LayerKernels = Omit<LayerPlan, "parts" | "bytes">;

function planLayer(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  layer: ResolvedLayer,
  tuning: TuningRecord | undefined,
  rounding: ReadonlySet<string>,
): LayerKernels {
  const { keys, values } = layer;
  const { headDim } = options.shape;
  const { space } = options.keys;
  const find = (family: KernelFamily, query: Partial<KernelQuery>) =>
    requireKernel(kernels, { family, schemes: [], ...query }, limits);
  const one = (family: "encode" | "decode", scheme: SchemeId, space?: KeySpace) => {
    const rope = space === "pre-rope" && parseScheme(scheme).positional;
    return find(family, { schemes: [scheme], headDim, ...(rope && { variants: ["rope"] }) });
  };
  const attention = (way: AttentionWay, step: StepSize) => {
    const tuned = tuning === undefined ? undefined : findTuned(tuning, layer, way, rounding);
    return chooseAttention(options, kernels, limits, layer, step, tuned);
  };
  const others = {
    keys,
    values,
    encodeKeys: one("encode", keys, space),
    encodeValues: one("encode", values),
    decodeKeys: one("decode", keys, space),
    decodeValues: one("decode", values),
    store: find("store", { headDim }),
    load: find("load", { headDim }),
    combine: find("combine", { headDim }),
    copy: find("copy", {}),
    restore: find("restore", {}),
  };
  const decode = attention("decode", decodeStep(options));
  // Where no step has several tokens of a sequence, tuning measures none.
  const prefill = tuning !== undefined && !hasPrefill(options)
    ? decode
    : attention("prefill", largestStep(options));
  return { ...others, decode, prefill };
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
    limits: options?.limits ?? { ...BASE_LIMITS, ...boundless },
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
 * The features that a device must be requested with: none for a cache, since every scheme has kernels that fit WebGPU's
 * base. Those in {@linkcode OPTIONAL_FEATURES} make some kernels faster: request them where the adapter has them, and
 * plan with the device's `features`.
 *
 * @throws {CoupletError} `usage` for an option that it does not know.
 */
export function requiredFeatures(options: FeatureOptions = {}): readonly GPUFeatureName[] {
  checkOptions("usage", WHAT, FEATURE_FIELDS, options);
  return options.profile ? ["timestamp-query"] : [];
}

/** What {@linkcode requiredFeatures} may be told. */
export interface FeatureOptions {
  /** Whether the cache is to be profiled ({@linkcode createProfile}), which needs timestamps. Defaults to false. */
  readonly profile?: boolean;
}

/** What its options may be. */
export const FEATURE_FIELDS: Fields<FeatureOptions> = {
  "profile?": kind("true or false", (value) => typeof value === "boolean"),
};

/** Features that some kernels are faster with. */
export const OPTIONAL_FEATURES: readonly GPUFeatureName[] = /* @__PURE__ */ FEATURE_NAMES.flatMap((
  feature,
) => kernelFeatures({ feature }));

function describeAttention(name: string, attention: AttentionKernels): string {
  return `  ${name}: ${candidateNames(attention).join(" + ")}, tiles of ${
    attention.span * PAGE_TOKENS
  } tokens (${attention.reason})`;
}

function describePlan(
  { layers: options }: ResolvedOptions,
  layers: readonly LayerPlan[],
  bytes: CacheBytes,
  precision: Precision,
): string {
  const lines = layers.flatMap((layer, index) => {
    const { keyValueHeads, slidingWindow } = options[index]!;
    const sides = SIDES.map((side) => {
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
  return [
    ...lines,
    `precision: ${
      precision === "f32"
        ? "products in f32"
        : "products of queries and keys in f16, so that a score is off by up to 2^-11 of the largest"
    }`,
    `bytes: ${parts.join(", ")}`,
  ].join("\n");
}
