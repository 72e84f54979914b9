/** What attention kernels of all schemes share. */
import {
  BLOCK_ROWS,
  EXACT_SPAN,
  NEAR_TOKENS,
  PAGE_TOKENS,
  STEP_ENTRIES,
  WORKGROUP_SIZE,
} from "../../src/kernels/constants.ts";
import type { KernelFeature, KeyVariant } from "../../src/kernels/name.ts";
import type { Context } from "./kernel_row.ts";

/** Channels of a key that a lane scores at once: two chunks, and the words of a c8 centroid. */
export const KEY_CHANNELS = 8;

/** Channels of a value that a lane mixes at once: four chunks. */
export const VALUE_CHANNELS = 16;

/** Most channels of a head that lanes of a workgroup share in fours of chunks, for four query rows. */
export const NARROW_CHANNELS = (VALUE_CHANNELS * WORKGROUP_SIZE) / BLOCK_ROWS;

/** How a lane holds what it sums: as the columns of a matrix, or twice as many chunks. */
function laneContext(headDim: number): Context {
  const wide = headDim > NARROW_CHANNELS;
  return {
    sharedChunks: "CHUNKS",
    laneChunks: (wide ? 2 : 1) * VALUE_CHANNELS / 4,
    laneColumns: wide ? ": columns of two matrices" : ": columns of a matrix",
  };
}

/** The ways to mix that heads of more channels can have, and the partial of each that mixes a value. */
export const WIDENED: Readonly<Record<string, string>> = {
  mix_plain: "mix_values",
  mix_grid: "mix_levels",
};

/** How a lane mixes values, and sums what it mixed. */
export function sumsContext(headDim: number, mix: Context): Context {
  const narrow = WIDENED[`${mix["mixPartial"]}`];
  const wide = headDim > NARROW_CHANNELS;
  const way = wide ? "_wide" : "";
  return {
    firstChunk: "0u",
    laneSums: wide ? "array<vec4<f32>, LANE_CHUNKS>" : "mat4x4<f32>",
    sumChunksPartial: `sum_chunks${way}`,
    ...(narrow && { mixValuesPartial: wide ? "mix_values_wide" : narrow }),
  };
}

/** Sizes of a workgroup's work. */
export function attentionContext(headDim: number, span: number): Context {
  return {
    headDim,
    ...laneContext(headDim),
    rows: BLOCK_ROWS,
    workgroupSize: WORKGROUP_SIZE,
    span,
    exactSpan: EXACT_SPAN,
    nearTokens: NEAR_TOKENS,
    pageTokens: PAGE_TOKENS,
    stepEntries: STEP_ENTRIES,
  };
}

/** The queries of a block, as functions that return a chunk of all its rows. */
export const QUERIES = { name: "query_rows", tile: "query_tile" };

/** The partials that depend on a kernel's optional feature. */
export function featureContext(feature: KernelFeature | undefined): Context {
  const subgroups = feature === "subgroups";
  return {
    enablePartial: `enable_${feature === "f16" || subgroups ? feature : "none"}`,
    chunkPartial: feature === "f16" ? "chunk_f16" : "chunk_f32",
    queryPartial: feature === "f16" ? "query_scaled" : "query",
    scalePartial: feature === "f16" ? "scale_rows" : "scale_none",
    ...topContext(subgroups),
    builtinsPartial: subgroups ? "builtins_subgroups" : "builtins_none",
    beginPartial: subgroups ? "begin_subgroups" : "begin_none",
  };
}

/** How the lanes of a workgroup find their largest score. */
export function topContext(subgroups: boolean): Context {
  const way = subgroups ? "subgroups" : "lanes";
  return { topsPartial: `tops_${way}`, topPartial: `top_${way}` };
}

/**
 * The pages of a tile, one by one. Compilers do not unroll such a large loop, and would keep what
 * it indexes in memory.
 */
export function pages(
  span: string,
  most: number,
  place = (index: number) => `key_at[${index}]`,
): Context {
  return {
    span,
    pages: Array.from({ length: most }, (_, index) => ({ index, place: place(index) })),
  };
}

/** Exact keys as a source of dot products: they are multiplied with the queries as they are. */
export const EXACT_KEYS: Context = {
  source: "exact",
  ...pages("EXACT_SPAN", EXACT_SPAN),
  queries: QUERIES.name,
};

/** Queries that are turned by their distance from a tile's first token. */
export const AT_TILE: Context = {
  origin: "tile.first",
  anglePartial: "angle_by_distance",
  loadRow: "query_load4",
};

/** Queries that are turned by their distance from the sequence's first token. */
export const AT_START: Context = {
  origin: "0u",
  anglePartial: "angle_by_distance",
  loadRow: "query_load4",
};

/** Keys that are scored by a table of q.centroid. */
export function tableScore(variant: KeyVariant): Context {
  return {
    atQuery: QUERIES,
    // Overrides are declared before arrays sized by them: naga requires this order.
    headerPartial: `header_${variant}`,
    scorePartial: `score_${variant}`,
    exactly: EXACT_KEYS,
  };
}

/**
 * Keys that are read as vectors, by `codedKeysPartial`, and multiplied with the queries as they are
 * or after the rotary embedding.
 *
 * @param place How the partial finds the lane's key in a page of the tile. Defaults to its address.
 */
export function plainScore(
  variant: KeyVariant,
  span: number,
  codedKeysPartial: string,
  place?: (index: number) => string,
): Context {
  return {
    ...tableScore(variant),
    coded: { source: "coded", ...pages("SPAN", span, place), queries: QUERIES.name },
    codedKeysPartial,
    ...(variant === "mrope"
      ? { atStart: { anglePartial: "angle_by_positions", loadRow: "query_load4" } }
      : variant === "rope"
      ? { preparePartial: "prepare_rope", atTile: AT_TILE }
      : { preparePartial: "prepare_none" }),
  };
}

/** Values that are mixed by `mixPartial`, token by token. */
export function plainMix(mixPartial: string): Context {
  return { mixPartial, mixPagePartial: "mix_page_none" };
}
