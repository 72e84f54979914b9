import {
  BASE_LIMITS,
  type CacheBytes,
  type CacheOptions,
  layerHeads,
  planCache,
} from "@couplet/kv";
import type { Memory } from "./report.ts";

/** Token counts that memory is extrapolated to, for one sequence. */
const LONGER_TOKENS = [4096, 32768];

/** Bytes that stay in use between steps: everything but scratch. */
export function residentBytes({ total, scratch }: CacheBytes): number {
  return total - scratch;
}

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
  const heads = Array.from({ length: shape.layers }, (_, layer) => layerHeads(shape, layer));
  const channels = 2 * heads.reduce((sum, count) => sum + count) * shape.headDim;
  return {
    tokens: capacity.tokens,
    sequences: capacity.sequences,
    bytes,
    effectiveBits: (8 * bytes) / (capacity.tokens * channels),
    timesSmaller: uncompressedBytes / bytes,
  };
}

/**
 * Memory of the same cache for one long sequence, by the planner's formulas: nothing is allocated, and no
 * device's limits apply.
 */
export function extrapolateMemory(
  options: CacheOptions,
  uncompressed: CacheOptions,
): readonly Memory[] {
  return LONGER_TOKENS.map((tokens) => {
    const { appendTokens } = options.capacity;
    const capacity = {
      sequences: 1,
      tokens,
      sequenceTokens: tokens,
      stepTokens: appendTokens,
      appendTokens,
    };
    const limits = {
      ...BASE_LIMITS,
      maxStorageBufferBindingSize: Infinity,
      maxBufferSize: Infinity,
    };
    const bytes = (options: CacheOptions) =>
      residentBytes(planCache({ ...options, capacity, limits }).bytes);
    return describeMemory({ ...options, capacity }, bytes(options), bytes(uncompressed));
  });
}
