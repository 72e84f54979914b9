import {
  type CacheOptions,
  type CachePlan,
  type Capacity,
  layerShape,
  planCache,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { BOUNDLESS_LIMITS } from "../../src/plan/limits.ts";
import { residentBytes } from "../../src/plan/sizes.ts";
import type { Memory } from "./report.ts";

/** Token counts that memory is extrapolated to, for one sequence. */
const LONGER_TOKENS = [4096, 32768];

/**
 * A cache's memory as the table shows it.
 *
 * @param options What the cache holds.
 * @param bytes Its resident bytes.
 * @param uncompressedBytes Those of the uncompressed cache.
 */
export function describeMemory(
  { shape, capacity }: Pick<CacheOptions, "shape" | "capacity">,
  bytes: number,
  uncompressedBytes: number,
): Memory {
  const layers = Array.from({ length: shape.layers }, (_, layer) => layerShape(shape, layer));
  const channels = 2 *
    layers.reduce((sum, { keyValueHeads, headDim }) => sum + keyValueHeads * headDim, 0);
  return {
    tokens: capacity.tokens,
    sequences: capacity.sequences,
    bytes,
    effectiveBits: (8 * bytes) / (capacity.tokens * channels),
    timesSmaller: uncompressedBytes / bytes,
  };
}

/** Room for a number of sequences, all of whose tokens come by steps as large as these. */
export function residentCapacity(
  { capacity: { appendTokens } }: Pick<CacheOptions, "capacity">,
  sequences: number,
  sequenceTokens: number,
): Capacity {
  return {
    sequences,
    tokens: sequences * sequenceTokens,
    sequenceTokens,
    stepTokens: sequences * appendTokens,
    appendTokens,
  };
}

/**
 * The plan of the same cache for another number of sequences and tokens: nothing is allocated, and no
 * device's limits apply.
 *
 * @param sequenceTokens Tokens of each sequence.
 */
export function planResident(
  options: CacheOptions,
  sequences: number,
  sequenceTokens: number,
): CachePlan {
  return planCache({
    ...options,
    capacity: residentCapacity(options, sequences, sequenceTokens),
    limits: {
      ...BOUNDLESS_LIMITS,
      maxComputeWorkgroupsPerDimension: Infinity,
    },
    kernels: manifest,
  });
}

/** Memory of the same cache for one long sequence, by the planner's formulas. */
export function extrapolateMemory(
  options: CacheOptions,
  uncompressed: CacheOptions,
): readonly Memory[] {
  return LONGER_TOKENS.map((tokens) => {
    const plan = planResident(options, 1, tokens);
    return describeMemory(
      { shape: options.shape, capacity: plan.options.capacity },
      residentBytes(plan.bytes),
      residentBytes(planResident(uncompressed, 1, tokens).bytes),
    );
  });
}
