import {
  type CachePlan,
  CoupletError,
  type KeyOptions,
  type KeySpace,
  type ModelShape,
} from "@couplet/kv";
import type { LlamaConfig } from "./config.ts";

/**
 * What the engine needs of a KV cache: the whole of its attention. The library's cache is one; a test
 * may put another in its place.
 */
export interface AttentionCache<Sequence, Step> {
  /** A new, empty sequence. */
  createSequence(): Sequence;
  /** Gives a sequence's memory back. */
  freeSequence(sequence: Sequence): void;
  /** Tokens in a sequence. */
  length(sequence: Sequence): number;
  /** Makes room for `tokens` more tokens in every entry's sequence; buffers hold them in this order. */
  beginStep(entries: readonly { readonly sequence: Sequence; readonly tokens: number }[]): Step;
  /** Takes one layer's new keys and values, `[tokens][keyValueHeads][headDim]` f32. */
  encodeAppend(
    target: GPUComputePassEncoder,
    step: Step,
    layer: number,
    inputs: { readonly keys: GPUBufferBinding; readonly values: GPUBufferBinding },
  ): void;
  /** Attention of one layer's new queries, `[tokens][queryHeads][headDim]` f32 to the same. */
  encodeAttend(
    target: GPUComputePassEncoder,
    step: Step,
    layer: number,
    buffers: { readonly queries: GPUBufferBinding; readonly output: GPUBufferBinding },
  ): void;
}

/** The part of `planCache`'s options that follows from the model. */
export interface ModelCacheOptions {
  readonly shape: ModelShape & { readonly keyValueHeads: number };
  readonly keys: KeyOptions;
}

/** What `planCache` has to know of a model. */
export function modelCacheOptions(
  config: LlamaConfig,
  keySpace: KeySpace = "pre-rope",
): ModelCacheOptions {
  const { layers, queryHeads, keyValueHeads, headDim } = config;
  return {
    shape: { layers, queryHeads, keyValueHeads, headDim },
    keys: keySpace === "as-scored" ? { space: keySpace } : {
      space: keySpace,
      rope: {
        layout: "half",
        theta: config.ropeTheta,
        ...(config.ropeScaled ? { inverseFrequencies: config.inverseFrequencies } : {}),
      },
    },
  };
}

/** The part of the engine's options that follows from the cache's plan. */
export interface PlannedEngineOptions {
  readonly keySpace: KeySpace;
  readonly maxTokens: number;
  readonly appendTokens: number;
}

/**
 * What the engine has to know of its cache.
 *
 * @throws {CoupletError} `shape` where the cache was planned for another model or for other buffers than
 * the engine's (f32, contiguous).
 */
export function plannedEngineOptions(
  { options: { shape, keys, capacity, dtype } }: Pick<CachePlan, "options">,
  config: LlamaConfig,
): PlannedEngineOptions {
  for (const [name, length] of Object.entries(modelCacheOptions(config).shape)) {
    const planned = shape[name as keyof ModelShape];
    if (planned !== length) {
      throw unfit(`it was planned for ${name} ${planned} and the model has ${length}`);
    }
  }
  if (dtype !== "f32") throw unfit(`it was planned for ${dtype} buffers`);
  return {
    keySpace: keys.space,
    maxTokens: capacity.stepTokens,
    appendTokens: capacity.appendTokens,
  };
}

function unfit(why: string): CoupletError {
  return new CoupletError("shape", {
    what: "The cache does not fit the engine",
    why,
    remedy: "Plan it with modelCacheOptions(checkpoint.config)",
  });
}
