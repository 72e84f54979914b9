import {
  type CacheInit,
  type CachePlan,
  CoupletError,
  type KeyOptions,
  type KeySpace,
  type ModelShape,
} from "@couplet/kv";
import { planOptions, type RopeByLayer } from "@couplet/kv/models";
import type { Checkpoint } from "./checkpoint.ts";
import type { ModelConfig } from "./config.ts";
import { weightValues } from "./weight.ts";

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
  readonly keys: KeyOptions | RopeByLayer;
  readonly scale: number | readonly number[];
  readonly softcap?: number;
}

/**
 * What `planCache` has to know of a model.
 *
 * @throws {CoupletError} `file` where its keys cannot be coded in that space.
 */
export function modelCacheOptions(
  { json, keyValueHeads }: ModelConfig,
  keySpace: KeySpace = "pre-rope",
): ModelCacheOptions {
  const { shape, keys, scale, softcap } = planOptions(json, { space: keySpace });
  return {
    shape: { ...shape, keyValueHeads },
    keys,
    scale,
    ...(softcap === 0 ? {} : { softcap }),
  };
}

/** How the keys of one layer reach a cache that is planned with these. */
export function layerKeys({ keys }: Pick<ModelCacheOptions, "keys">, layer: number): KeyOptions {
  if (keys.space !== "pre-rope" || !("length" in keys.rope)) return keys as KeyOptions;
  const rope = keys.rope[layer]!;
  return rope === null ? { space: "as-scored" } : { space: keys.space, rope };
}

/** What `createCache` has to know of a model. */
export function modelCacheInit(
  { config, weights, fingerprint }: Pick<Checkpoint, "config" | "weights" | "fingerprint">,
): Required<Pick<CacheInit, "model">> & Pick<CacheInit, "sinkLogits"> {
  const model = fingerprint;
  if (!config.learnedSinks) return { model };
  const logits = weights.layers.flatMap(({ sinkLogits }) => [...weightValues(sinkLogits!)]);
  return { model, sinkLogits: Float32Array.from(logits) };
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
  { options: { shape, keys, layers, softcap, capacity, dtype } }: Pick<CachePlan, "options">,
  config: ModelConfig,
): PlannedEngineOptions {
  const { layers: count, queryHeads, keyValueHeads, headDim } = config;
  if (shape.layers !== count) {
    throw unfit(`it was planned for layers ${shape.layers} and the model has ${count}`);
  }
  const { scale, softcap: bound = 0 } = modelCacheOptions(config, keys.space);
  layers.forEach((planned, layer) => {
    const needed = {
      queryHeads,
      keyValueHeads,
      headDim,
      slidingWindow: config.attention[layer]!.slidingWindow,
      scale: typeof scale === "number" ? scale : scale[layer]!,
    };
    for (const [name, value] of Object.entries(needed)) {
      const found = planned[name as keyof typeof needed];
      if (found === value) continue;
      throw unfit(
        `it was planned for ${name} ${found} in layer ${layer} and the model has ${value}`,
      );
    }
  });
  if (softcap !== bound) {
    throw unfit(`it was planned for softcap ${softcap} and the model has ${bound}`);
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
