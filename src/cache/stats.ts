/** What a cache holds, counted. */
import type { CacheStats } from "./cache.ts";
import {
  centroidBytes,
  type LayerBytes,
  tokenBytes,
  tokenChannels,
  totalBytes,
} from "../plan/sizes.ts";
import type { LayerBuffers, LayerCodebooks } from "./layer_buffers.ts";
import type { NumberCounts } from "./number_counters.ts";
import type { CachePlan } from "../plan/plan.ts";
import { bySide } from "../model/by_side.ts";
import type { Sequences } from "./sequences.ts";
import type { SharedBuffers } from "./shared_buffers.ts";

/** Bytes, sequences and pages of a cache. */
export function cacheStats(
  { options }: CachePlan,
  buffers: readonly LayerBuffers[],
  layerCodebooks: readonly LayerCodebooks[],
  { pages, rope, steps, partials, counters, scores, table }: SharedBuffers,
  sequences: Sequences,
  numbers: NumberCounts,
): CacheStats {
  const layers = buffers.map(({ parts, sinkLogits }, layer): LayerBytes => {
    const sum = (name: "keyRecords" | "valueRecords" | "exact" | "parameters") =>
      parts.reduce((total, part) => total + part[name].size, 0);
    const exact = sum("exact") / 2;
    const sides = bySide((side) => ({
      codes: sum(side === "keys" ? "keyRecords" : "valueRecords"),
      exact,
      codebooks: centroidBytes(options, options.layers[layer]!, side) +
        (layerCodebooks[layer]![side]?.scale?.byteLength ?? 0),
    }));
    return { ...sides, tables: sum("parameters") + sinkLogits.size };
  });
  const bytes = totalBytes(
    layers,
    pages.size + steps.size + (rope?.size ?? 0) + counters.size,
    partials.size + (scores?.size ?? 0) + (table?.size ?? 0),
  );
  const pools = sequences.pools.map((pool, i) => ({
    slidingWindow: options.pageTables[i]!.slidingWindow,
    ...pool.stats,
  }));
  const over = (name: "total" | "free" | "shared" | "retained") =>
    pools.reduce((sum, pool) => sum + pool[name], 0);
  const { tokens } = sequences;
  return {
    bytes,
    layers,
    slack: bytes.codes - heldBytes(options, sequences),
    effectiveBits: (8 * (bytes.total - bytes.scratch)) / (tokens * tokenChannels(options)),
    sequences: sequences.count,
    tokens,
    ...numbers,
    pages: {
      total: over("total"),
      free: over("free"),
      shared: over("shared"),
      retained: over("retained"),
    },
    pools,
  };
}

/** Bytes of the codes of tokens that sequences hold. */
function heldBytes(
  { layers, shape, pageTables }: CachePlan["options"],
  sequences: Sequences,
): number {
  const held = pageTables.map((_, table) => sequences.codedInPool(table));
  return layers.reduce((sum, { keys, values, keyValueHeads, pageTable }) => {
    const perToken = tokenBytes(keys, shape.headDim) + tokenBytes(values, shape.headDim);
    return sum + held[pageTable]! * keyValueHeads * perToken;
  }, 0);
}
