import { type CacheOptions, type Capacity, requiredLimits } from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { modelCacheOptions, type ModelConfig } from "../engine/mod.ts";
import type { DemoOptions } from "./arguments.ts";
import { type SizedPair, sizedPair, UNCOMPRESSED } from "./scheme_pairs.ts";

/** Most sequences that run together. */
const BATCH = 8;

/** Most new tokens of a sequence in one step. Each is a slot of the exact tier, which the table counts. */
const CHUNK = 32;

/** Most logits of one step: 64 MiB. */
const STEP_LOGITS = 2 ** 24;

/** How the work is cut into steps. */
export interface StepSizes {
  /** Sequences that are evaluated together. */
  readonly batch: number;
  /** Tokens of each sequence that run together. */
  readonly chunk: number;
}

/** One scheme pair's two caches; one and the same where there are no tiers. */
export interface Setup {
  readonly pair: SizedPair;
  /** Every token coded. */
  readonly codesAlone: CacheOptions;
  /** With the exact window and sinks. */
  readonly withTiers: CacheOptions;
  /** The one of the two whose memory and time the table gives: with tiers, but for f16, which gains nothing by them. */
  readonly resident: CacheOptions;
}

/** Steps for the number of contexts to evaluate, small enough for the vocabulary. */
export function stepSizes(
  contexts: number,
  { vocabularySize }: ModelConfig,
): StepSizes {
  const batch = Math.min(contexts, BATCH);
  const chunk = Math.floor(STEP_LOGITS / (batch * vocabularySize));
  return {
    batch,
    chunk: Math.max(1, Math.min(CHUNK, chunk)),
  };
}

/** Room for some sequences of one context each. */
function capacity(sequences: number, context: number, chunk: number): Capacity {
  return {
    sequences,
    tokens: sequences * context,
    sequenceTokens: context,
    stepTokens: sequences * chunk,
    appendTokens: chunk,
  };
}

/**
 * The caches to compare, as the planner wants them.
 *
 * @throws {CoupletError} whatever the planner finds wrong, before there is a device.
 */
export function planSetups(
  config: ModelConfig,
  { pairs, context, window, sinks }: DemoOptions,
  { batch, chunk }: StepSizes,
): readonly Setup[] {
  const shared = {
    ...modelCacheOptions(config),
    capacity: capacity(batch, context, chunk),
  };
  return pairs.map((pair) => {
    const policy = { keys: pair.keys, values: pair.values };
    const codesAlone = { ...shared, policy, tiers: { sinks: 0, window: 0 } };
    const withTiers = window + sinks === 0
      ? codesAlone
      : { ...shared, policy, tiers: { sinks, window } };
    const resident = pair.id === UNCOMPRESSED.id ? codesAlone : withTiers;
    return { pair: sizedPair(pair, config.headDim), codesAlone, withTiers, resident };
  });
}

/** The limits a device needs for all of the caches. */
export function deviceLimits(caches: readonly CacheOptions[]): Record<string, number> {
  const limits = caches.map((options) => requiredLimits({ ...options, kernels: manifest }));
  return {
    maxStorageBufferBindingSize: Math.max(
      ...limits.map((limits) => limits.maxStorageBufferBindingSize),
    ),
    maxBufferSize: Math.max(...limits.map((limits) => limits.maxBufferSize)),
  };
}
