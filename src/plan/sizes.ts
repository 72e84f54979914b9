/** Bytes of every buffer a cache allocates. They are computed here alone. */
import {
  isOwn,
  type LayerShape,
  type ResolvedLayer,
  type ResolvedOptions,
  stepEntries,
} from "./options.ts";
import { BLOCK_ROWS, NEAR_TOKENS, PAGE_TOKENS, STEP_ENTRIES } from "../kernels/constants.ts";
import { recordWords } from "../records/layout.ts";
import { LARGEST_ANCHOR } from "../model/anchors.ts";
import { inverseFrequencies } from "../model/rope.ts";
import { bySide } from "../model/by_side.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { LayerPolicy } from "../schemes/policy.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { sideLayout } from "../schemes/side_layout.ts";
import { type Side, sideDim, type SideDims, SIDES } from "../model/side.ts";
import { exactRows, poolPages, positionStart } from "./pages.ts";
import { sharesCodebooks } from "../codebooks/device.ts";
import { rowScores, rowSplits, type SplitTarget, stepRows, type StepSize } from "./steps.ts";

/** Bytes by content. All but `scratch` is in use between steps. */
export interface CacheBytes {
  /** Records of coded tokens, whole pages. */
  readonly codes: number;
  /** Sinks and recent tokens as f16. */
  readonly exact: number;
  /** Grids, centroids and channel scales. */
  readonly codebooks: number;
  /** Page tables, rotary table, parameters and counters. */
  readonly tables: number;
  /** All that spans have: records, levels, codebooks, page tables and parameters. */
  readonly spans: number;
  /** Intermediate results of a step or of a span's coding, shared by all layers. */
  readonly scratch: number;
  /** The sum. */
  readonly total: number;
}

/** Bytes of the buffers that hold a step's intermediate results. */
export interface ScratchBytes {
  /** Partial results of splits. */
  readonly partials: number;
  /** Scores that a score kernel writes and a mix kernel reads. */
  readonly scores: number;
  /** Tables of q.centroid. */
  readonly tables: number;
  /** Exact vectors of a span that is coded. */
  readonly spans: number;
}

/** Bytes of one page of one side, for a number of KV heads. */
export function pageBytes(layer: SideDims & LayerPolicy, side: Side, heads: number): number {
  return heads * recordWords(sideLayout(layer, side), PAGE_TOKENS) * 4;
}

/** Bytes of one token's exact vector of one side, for a number of KV heads. */
export function exactTokenBytes(layer: SideDims, side: Side, heads: number): number {
  return heads * sideDim(layer, side) * 2;
}

/** Bytes of one side of one sequence's exact tier in one layer, for a number of KV heads. */
export function exactSideBytes(
  options: ResolvedOptions,
  layer: SideDims,
  side: Side,
  heads: number,
): number {
  return exactRows(options) * exactTokenBytes(layer, side, heads);
}

/** The same of both sides. */
export function exactSequenceBytes(
  options: ResolvedOptions,
  layer: SideDims,
  heads: number,
): number {
  return SIDES.reduce((sum, side) => sum + exactSideBytes(options, layer, side, heads), 0);
}

/**
 * Bytes, of each KV head, of a unit that exact vectors are moved by: two channels, because the sides
 * may have different numbers of them.
 */
export const EXACT_UNIT_BYTES = 4;

/** Bytes of one layer's exact tier, both sides of all sequences, for a number of KV heads. */
export function exactBytes(options: ResolvedOptions, layer: SideDims, heads: number): number {
  return options.capacity.sequences * exactSequenceBytes(options, layer, heads);
}

/** What the codebooks of data-free schemes depend on: layers with the same share them. */
export function universalKey({ keys, values, headDim, valueHeadDim }: ResolvedLayer): string {
  return `${keys}/${values}/${headDim}/${valueHeadDim}`;
}

/**
 * Bytes of one side's grids and centroids in one layer. Layers with only data-free schemes share
 * one buffer, which is counted for the first of them. The two sides share one if they have the same
 * scheme and head dimension.
 */
export function centroidBytes(
  { layers }: ResolvedOptions,
  layer: ResolvedLayer,
  side: Side,
): number {
  if (layers[layer.source] !== layer) return 0;
  const { codebookSpec } = parseScheme(layer[side]);
  const channels = sideDim(layer, side);
  const bytes = (codebookSpec?.words(channels) ?? 0) * 4;
  if (codebookSpec?.sharedBy !== "model") {
    const own = codebookSpec?.headWords?.(channels);
    const once = layer.shareHeads && own !== undefined ? bytes - 4 * own : 0;
    return layer.keyValueHeads * (bytes - once) + once;
  }
  const first = layers.find((one) => universalKey(one) === universalKey(layer));
  const shared = sharesCodebooks(layer) && first !== layer;
  const alike = layer.keys === layer.values && layer.headDim === layer.valueHeadDim;
  return shared || (side === "values" && alike) ? 0 : bytes;
}

/** Bytes of all page tables of all sequences, and of their tokens' positions. */
export function pageTableBytes(options: ResolvedOptions): number {
  return positionStart(options, -1, 0) * 4;
}

/** Bytes of one layer's record pool, for one side and a number of KV heads. */
export function poolBytes(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  side: Side,
  heads: number,
): number {
  return poolPages(options, layer.pageTable) * pageBytes(layer, side, heads);
}

/**
 * Rows of the rotary table: NEAR_TOKENS near positions, and one far position per tile of the
 * longest sequence, or of an anchor. Where tokens have several positions, the last row says which
 * turns a pair.
 */
export function ropeRows({ capacity, keys, positions }: ResolvedOptions): number {
  const farthest = Math.max(
    capacity.sequenceTokens,
    keys.space === "anchored" ? LARGEST_ANCHOR : 0,
  );
  return NEAR_TOKENS + Math.ceil(farthest / NEAR_TOKENS) + 1 + (positions && 1);
}

/** Bytes of all rotary tables. */
export function ropeBytes(options: ResolvedOptions): number {
  const pairs = options.ropeTables.reduce(
    (sum, { rope, headDim }) => sum + inverseFrequencies(rope, headDim).length,
    0,
  );
  return ropeRows(options) * pairs * 8;
}

/** Bytes of the splits' partial results, enough for all given targets in any layer. */
export function partialBytes(options: ResolvedOptions, targets: readonly SplitTarget[]): number {
  const rows = Math.max(...targets.map((target) => rowSplits(options, target)));
  const channels = Math.max(...options.layers.map((layer) => layer.valueHeadDim));
  return rows * (channels / 4 + 1) * 16;
}

/** Bytes of the scores that a score kernel leaves for a mix kernel. */
export function scoreBytes(options: ResolvedOptions): number {
  const queryHeads = Math.max(...options.layers.map((layer) => layer.queryHeads));
  return stepRows(options, queryHeads) * rowScores(options) * 4;
}

/** Entries of a table of q.centroid: one for each centroid of each code. */
export function tableEntries(keys: SchemeId, headDim: number): number {
  const { centroids, layout } = parseScheme(keys);
  return layout(headDim).codes * centroids;
}

/** Bytes of one token's codes of one KV head, of both sides, metadata included. */
export function tokenBytes(layer: SideDims & LayerPolicy): number {
  return SIDES.reduce((sum, side) => {
    const { words, tokens } = sideLayout(layer, side);
    return sum + (words * 4) / tokens;
  }, 0);
}

/**
 * Bytes of a step's q.centroid tables: one for each KV head and block of query rows. The last block
 * of an entry may be incomplete.
 */
export function tableBytes(
  { keys, queryHeads, keyValueHeads, headDim }:
    & Omit<LayerShape, "valueHeadDim">
    & Pick<ResolvedLayer, "keys">,
  { tokens, entries }: StepSize,
): number {
  const blocks = Math.floor((tokens * queryHeads) / keyValueHeads / BLOCK_ROWS) + entries;
  return blocks * keyValueHeads * tableEntries(keys, headDim) * BLOCK_ROWS * 4;
}

/** Bytes of the WGSL struct `Step` before its entries. */
const STEP_HEADER = 32;

/** Bytes of the WGSL struct `Step`, with 32 an entry. */
export const STEP_BYTES: number = STEP_HEADER + 32 * STEP_ENTRIES;

/** Steps whose parameters one buffer holds. More steps take another buffer. */
const BUFFERED_STEPS = 64;

/**
 * Bytes from one step's parameters to the next: as many as this cache's entries need. The struct's
 * unused rest overlaps the next step's.
 */
function stepStride(options: ResolvedOptions): number {
  return Math.ceil((STEP_HEADER + 32 * stepEntries(options)) / 256) * 256;
}

/** Bytes of a buffer of parameters, for steps with `sets` sets each. */
export function stepsBytes(options: ResolvedOptions, sets: number): number {
  return stepStride(options) * (BUFFERED_STEPS * sets - 1) + STEP_BYTES;
}

/** Bytes of one layer's sink logits. */
export function sinkBytes({ queryHeads }: ResolvedLayer): number {
  return Math.max(16, queryHeads * 4);
}

/** Bytes of the WGSL struct `Layer`. */
export const LAYER_BYTES = 112;

/** Bytes one side of one layer takes. */
export interface SideBytes {
  /** Records of coded tokens, whole pages. */
  readonly codes: number;
  /** Sinks and recent tokens as f16. */
  readonly exact: number;
  /** Grids, centroids and channel scales. */
  readonly codebooks: number;
}

/** Bytes one layer takes. */
export interface LayerBytes extends Readonly<Record<Side, SideBytes>> {
  /** Parameters and learned sinks. */
  readonly tables: number;
}

/**
 * Bytes of one layer whose KV heads are divided into parts. One that shares another's keys and
 * values has only tables.
 */
export function layerBytes(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  parts: number,
): LayerBytes {
  const heads = options.layers[layer.source] === layer ? layer.keyValueHeads : 0;
  const side = (side: Side): SideBytes => ({
    codes: poolBytes(options, layer, side, heads),
    exact: options.capacity.sequences * exactSideBytes(options, layer, side, heads),
    codebooks: centroidBytes(options, layer, side),
  });
  return { ...bySide(side), tables: LAYER_BYTES * parts + sinkBytes(layer) };
}

/** Bytes of the page tables, rotary table and parameters that all layers share. */
export function sharedTableBytes(options: ResolvedOptions, parameterSets: number): number {
  return pageTableBytes(options) + ropeBytes(options) + stepsBytes(options, parameterSets) +
    COUNTER_BYTES;
}

/** The sum over layers, page tables, rotary table, parameters and scratch. */
export function totalBytes(
  layers: readonly LayerBytes[],
  sharedTables: number,
  spans: number,
  scratch: number,
): CacheBytes {
  const sum = (pick: (layer: LayerBytes) => number) =>
    layers.reduce((total, layer) => total + pick(layer), 0);
  const codes = sum(({ keys, values }) => keys.codes + values.codes);
  const exact = sum(({ keys, values }) => keys.exact + values.exact);
  const codebooks = sum(({ keys, values }) => keys.codebooks + values.codebooks);
  const tables = sum((layer) => layer.tables) + sharedTables;
  return {
    codes,
    exact,
    codebooks,
    tables,
    spans,
    scratch,
    total: codes + exact + codebooks + tables + spans + scratch,
  };
}

/** Bytes that are in use between steps. */
export function residentBytes({ total, scratch }: CacheBytes): number {
  return total - scratch;
}

/** Channels one token has over all layers, keys and values both. */
export function tokenChannels({ layers }: ResolvedOptions): number {
  return layers.filter(isOwn)
    .reduce(
      (sum, { keyValueHeads, headDim, valueHeadDim }) =>
        sum + keyValueHeads * (headDim + valueHeadDim),
      0,
    );
}

/** Bytes of the counters on the device, in the order of {@linkcode NumberCounts}. */
export const COUNTER_BYTES = 20;
