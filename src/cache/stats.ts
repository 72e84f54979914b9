/** What a cache holds, counted. */
import { isOwn } from "../plan/options.ts";
import type { CacheStats } from "./cache.ts";
import {
  centroidBytes,
  type LayerBytes,
  residentBytes,
  tokenBytes,
  tokenChannels,
  totalBytes,
} from "../plan/sizes.ts";
import type { LayerCodebooks } from "./layer_buffers.ts";
import type { NumberCounts } from "./number_counters.ts";
import type { CachePlan } from "../plan/plan.ts";
import { skipBound } from "../plan/skip.ts";
import { bySide } from "../model/by_side.ts";
import { sideDim } from "../model/side.ts";
import type { Sequences } from "./sequences.ts";
import type { CacheBuffers } from "./shared_buffers.ts";
import type { SpanStats } from "./cache_stats.ts";

const NOTHING = { codes: 0, exact: 0, codebooks: 0 };

/** Bytes, sequences and pages of a cache. */
export function cacheStats(
  { options }: CachePlan,
  buffers: CacheBuffers,
  layerCodebooks: readonly LayerCodebooks[],
  sequences: Sequences,
  spans: readonly SpanStats[],
  numbers: NumberCounts,
): CacheStats {
  const { pages, ropes, steps, partials, counters, scores, table, spanExact } = buffers.shared;
  const layers = buffers.layers.map(({ parts, sinkLogits }, layer): LayerBytes => {
    const own = options.layers[layer]!;
    const sum = (name: "keyRecords" | "valueRecords" | "exact" | "parameters") =>
      parts.reduce((total, part) => total + part[name].size, 0);
    const tables = sum("parameters") + sinkLogits.size;
    // What it shares counts where it is stored.
    if (!isOwn(own, layer)) return { ...bySide(() => NOTHING), tables };
    const exact = sum("exact") / (own.headDim + own.valueHeadDim);
    const sides = bySide((side) => ({
      codes: sum(side === "keys" ? "keyRecords" : "valueRecords"),
      exact: exact * sideDim(own, side),
      codebooks: centroidBytes(options, own, side) +
        (layerCodebooks[layer]![side]?.scale?.byteLength ?? 0),
    }));
    return { ...sides, tables };
  });
  const bytes = totalBytes(
    layers,
    [pages, steps, counters, ...ropes].reduce((sum, { size }) => sum + size, 0),
    buffers.spans.flatMap(({ all }) => all).reduce((sum, { size }) => sum + size, 0),
    [partials, scores, table, spanExact].reduce((sum, buffer) => sum + (buffer?.size ?? 0), 0),
  );
  const spanTokens = spans.reduce((sum, { tokens }) => sum + tokens, 0);
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
    effectiveBits: (8 * residentBytes(bytes)) /
      ((tokens + spanTokens) * tokenChannels(options)),
    sequences: sequences.count,
    tokens,
    spans,
    ...numbers,
    skipBound: skipBound(options),
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
  { layers, pageTables }: CachePlan["options"],
  sequences: Sequences,
): number {
  const held = pageTables.map((_, table) => sequences.codedInPool(table));
  return layers.filter(isOwn).reduce((sum, layer) => {
    const { pageTable, keyValueHeads } = layer;
    return sum + held[pageTable]! * keyValueHeads * tokenBytes(layer);
  }, 0);
}
