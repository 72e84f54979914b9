/** Bytes of every buffer a cache allocates: the one place that knows. */
import { type ResolvedLayer, type ResolvedOptions, stepEntries } from "./cache_options.ts";
import type { LayerPolicy } from "./cache_types.ts";
import {
  BLOCK_ROWS,
  EXACT_SPAN,
  MAX_SPAN,
  MIN_SPAN,
  NEAR_TOKENS,
  PAGE_TOKENS,
  STEP_ENTRIES,
  TARGET_WORKGROUPS,
} from "./kernel_constants.ts";
import { COUNTER_BYTES } from "./number_counters.ts";
import { recordWords } from "./record_layout.ts";
import { inverseFrequencies } from "./reference/rope.ts";
import { bySide } from "./by_side.ts";
import { parseScheme, type SchemeId, type Side } from "./scheme.ts";

/** Bytes by what they hold. Everything but `scratch` stays in use between steps. */
export interface CacheBytes {
  /** Records of coded tokens, whole pages. */
  readonly codes: number;
  /** Sinks and recent tokens as f16. */
  readonly exact: number;
  /** Grids, centroids and channel scales. */
  readonly codebooks: number;
  /** Page tables, rotary table, parameters and counters. */
  readonly tables: number;
  /** Intermediate results of a step, shared by all layers. */
  readonly scratch: number;
  /** The sum. */
  readonly total: number;
}

/** Bytes of the buffers that hold a step's intermediate results. */
export interface ScratchBytes {
  /** Partial results of splits. */
  readonly partials: number;
  /** Scores on their way from a score kernel to a mix kernel. */
  readonly scores: number;
  /** Tables of q.centroid. */
  readonly tables: number;
}

/** Slots of the ring of recent tokens. */
export function ringSlots(
  { tiers, block, capacity }: Pick<ResolvedOptions, "tiers" | "block" | "capacity">,
): number {
  return tiers.window + block - 1 + capacity.appendTokens;
}

/** What sizes of one token depend on. */
type HeadShape = { readonly shape: Pick<ResolvedOptions["shape"], "headDim"> };

/** Bytes of one page of one side, for so many KV heads. */
export function pageBytes(
  { shape }: HeadShape,
  scheme: SchemeId,
  heads: number,
): number {
  return heads * recordWords(parseScheme(scheme).layout(shape.headDim), PAGE_TOKENS) * 4;
}

/** Bytes of one token's exact vector of one side, for so many KV heads. */
export function exactTokenBytes({ shape }: HeadShape, heads: number): number {
  return heads * shape.headDim * 2;
}

/** Bytes of one sequence's exact tier in one layer, both sides, for so many KV heads. */
export function exactSequenceBytes(options: ResolvedOptions, heads: number): number {
  return 2 * (options.tiers.sinks + ringSlots(options)) * exactTokenBytes(options, heads);
}

/** Bytes of one layer's exact tier, both sides of all sequences, for so many KV heads. */
export function exactBytes(options: ResolvedOptions, heads: number): number {
  return options.capacity.sequences * exactSequenceBytes(options, heads);
}

/**
 * Bytes of one side's grids and centroids in one layer. Layers whose codebooks are all universal share one buffer, which the first of
 * them counts; so do the two sides where they have the same scheme.
 */
export function centroidBytes(
  { shape, layers }: ResolvedOptions,
  layer: ResolvedLayer,
  side: Side,
): number {
  const { codebook } = parseScheme(layer[side]);
  const bytes = (codebook?.words(shape.headDim) ?? 0) * 4;
  if (codebook?.sharedBy !== "model") return layer.keyValueHeads * bytes;
  const first = layers.find(({ keys, values }) => keys === layer.keys && values === layer.values);
  const shared = sharesCodebooks(layer) && first !== layer;
  return shared || (side === "values" && layer.keys === layer.values) ? 0 : bytes;
}

/** Whether a layer's codebooks are the same as those of other layers with its schemes: no side has one of its own. */
export function sharesCodebooks({ keys, values }: LayerPolicy): boolean {
  return [keys, values].every((scheme) => parseScheme(scheme).codebook?.sharedBy !== "head");
}

/** Pages in one sequence's page table. */
export function sequencePages({ capacity }: Pick<ResolvedOptions, "capacity">): number {
  return Math.ceil(capacity.sequenceTokens / PAGE_TOKENS);
}

/** First word of one of the page tables in the buffer that holds them all. */
export function pageTableStart(options: ResolvedOptions, pageTable: number): number {
  return pageTable * options.capacity.sequences * sequencePages(options);
}

/** Bytes of all page tables of all sequences. */
export function pageTableBytes(options: ResolvedOptions): number {
  return pageTableStart(options, options.pageTables.length) * 4;
}

/** Tokens before a query that a page table must keep: those in its layers' sliding window, and those still to be encoded. */
function keptBehind({ tiers, block, pageTables }: ResolvedOptions, pageTable: number): number {
  return Math.max(pageTables[pageTable]!.slidingWindow, tiers.window + block) - 1;
}

/**
 * The first page, counted from the sequence's first, that a sequence of `length` tokens keeps: what queries at its end
 * see, and those after a rollback of `appendTokens`. Whole tiles, because kernels read whole tiles.
 */
export function firstKeptPage(
  options: ResolvedOptions,
  pageTable: number,
  length: number,
): number {
  const { tiers, capacity, pageTables } = options;
  if (pageTables[pageTable]!.slidingWindow === 0) return 0;
  const passed = length - tiers.sinks - capacity.appendTokens - keptBehind(options, pageTable);
  return Math.floor(Math.max(0, passed) / NEAR_TOKENS) * (NEAR_TOKENS / PAGE_TOKENS);
}

/**
 * Pages the pool of one page table needs so that any split of the tokens among sequences fits. A sliding window bounds what a
 * sequence keeps: what its queries see, a rollback, and a step's new tokens.
 */
export function poolPages(options: ResolvedOptions, pageTable: number): number {
  const { capacity, pageTables } = options;
  const all = Math.ceil(capacity.tokens / PAGE_TOKENS) + capacity.sequences - 1;
  if (pageTables[pageTable]!.slidingWindow === 0) return all;
  const kept = keptBehind(options, pageTable) + 2 * capacity.appendTokens;
  const tiles = Math.ceil(kept / NEAR_TOKENS) + 1;
  return Math.min(all, capacity.sequences * tiles * (NEAR_TOKENS / PAGE_TOKENS));
}

/** Bytes of one layer's record pool, for one side and so many KV heads. */
export function poolBytes(
  options: ResolvedOptions,
  { pageTable }: ResolvedLayer,
  scheme: SchemeId,
  heads: number,
): number {
  return poolPages(options, pageTable) * pageBytes(options, scheme, heads);
}

/** Rows of the rotary table: NEAR_TOKENS near positions, and one far position per tile of the longest sequence. */
export function ropeRows({ capacity }: ResolvedOptions): number {
  return NEAR_TOKENS + Math.ceil(capacity.sequenceTokens / NEAR_TOKENS) + 1;
}

/** Bytes of the rotary table. */
export function ropeBytes(options: ResolvedOptions): number {
  if (options.keys.space !== "pre-rope") return 0;
  const pairs = inverseFrequencies(options.keys.rope, options.shape.headDim).length;
  return ropeRows(options) * pairs * 8;
}

/** Tokens of a sequence from which tiles of {@linkcode MAX_SPAN} pages leave enough of them for many workgroups. */
const LONG_TOKENS = 4096;

/** Most pages of a coded tile. */
export function largestSpan({ capacity }: ResolvedOptions): number {
  return capacity.sequenceTokens < LONG_TOKENS ? MIN_SPAN : MAX_SPAN;
}

/** Most tiles a row of queries is scored over, where coded ones have `span` pages. */
function rowTiles(options: ResolvedOptions, span: number): number {
  const exactTiles = (tokens: number) => Math.ceil(tokens / (EXACT_SPAN * PAGE_TOKENS));
  return Math.ceil(options.capacity.sequenceTokens / (span * PAGE_TOKENS)) +
    exactTiles(options.tiers.sinks) + exactTiles(ringSlots(options));
}

/** Scores that a score kernel leaves for each row: a place for every token of every tile, of the largest kind. */
export function rowScores(options: ResolvedOptions): number {
  const span = largestSpan(options);
  return rowTiles(options, span) * span * PAGE_TOKENS;
}

/** Query rows of the largest step. */
export function stepRows({ shape, capacity }: ResolvedOptions): number {
  return capacity.stepTokens * shape.queryHeads;
}

/** What a layer's attention is cut into splits by. */
export interface SplitTarget {
  /** Workgroups that share a step, all KV heads together, where there are tiles enough. */
  readonly workgroups: number;
  /** Pages of the tiles that are shared. */
  readonly span: number;
  /** KV heads whose blocks of query rows come first: only what they leave is gained by splits. */
  readonly keyValueHeads: number;
}

/** What splits are counted by where nothing was measured, the same for all layers. */
export function defaultSplits(options: ResolvedOptions): SplitTarget {
  return {
    workgroups: TARGET_WORKGROUPS,
    span: largestSpan(options),
    // Where layers differ, those with the most KV heads have the most workgroups without.
    keyValueHeads: Math.max(...options.layers.map(({ keyValueHeads }) => keyValueHeads)),
  };
}

/** Most rows times splits of a step: one split each where rows alone fill the device, else what fills it. */
function rowSplits(options: ResolvedOptions, { workgroups, span }: SplitTarget): number {
  const rows = stepRows(options);
  return Math.max(rows, Math.min(workgroups * BLOCK_ROWS, rowTiles(options, span) * rows));
}

/** Blocks that `rows` query rows of one sequence, of all heads, make for each KV head. */
export function headBlocks(rows: number, keyValueHeads: number): number {
  return Math.ceil(rows / keyValueHeads / BLOCK_ROWS);
}

/** A step, as far as the number of its splits depends on it. */
export interface SplitStep extends StepSize {
  /** Most tokens of an entry. */
  readonly maxTokens: number;
  /** Most tokens that an entry sees. */
  readonly context: number;
}

/** Splits of a step: workgroups that share the tiles of one block of query rows. */
export function stepSplits(
  options: ResolvedOptions,
  target: SplitTarget,
  { tokens, entries, maxTokens, context }: SplitStep,
): number {
  const { queryHeads } = options.shape;
  const { workgroups, span, keyValueHeads } = target;
  const blocks = entries * keyValueHeads * headBlocks(maxTokens * queryHeads, keyValueHeads);
  // Sinks and recent tokens have a tile of their own each.
  const tiles = Math.ceil(context / (span * PAGE_TOKENS)) + 2;
  const kept = Math.floor(rowSplits(options, target) / (tokens * queryHeads));
  return Math.max(1, Math.min(Math.ceil(workgroups / blocks), tiles, kept));
}

/** Bytes of the splits' partial results, whichever of the targets a layer is cut by. */
export function partialBytes(options: ResolvedOptions, targets: readonly SplitTarget[]): number {
  const rows = Math.max(...targets.map((target) => rowSplits(options, target)));
  return rows * (options.shape.headDim / 4 + 1) * 16;
}

/** Bytes of the scores that a score kernel leaves for a mix kernel. */
export function scoreBytes(options: ResolvedOptions): number {
  return stepRows(options) * rowScores(options) * 4;
}

/** A step, as far as the size of its q.centroid tables depends on it. */
export interface StepSize {
  readonly tokens: number;
  readonly entries: number;
}

/**
 * Bytes of a step's q.centroid tables: one for each KV head and block of query rows. The last block of an entry may be
 * incomplete.
 */
export function tableBytes(
  { shape }: { readonly shape: Pick<ResolvedOptions["shape"], "headDim" | "queryHeads"> },
  { keys, keyValueHeads }: Pick<ResolvedLayer, "keys" | "keyValueHeads">,
  { tokens, entries }: StepSize,
): number {
  const { centroids, layout } = parseScheme(keys);
  const blocks = Math.floor((tokens * shape.queryHeads) / keyValueHeads / BLOCK_ROWS) + entries;
  return blocks * keyValueHeads * layout(shape.headDim).codes * centroids * BLOCK_ROWS * 4;
}

/** Bytes of the WGSL struct `Step`: 16 of header and 32 an entry. */
export const STEP_BYTES: number = 16 + 32 * STEP_ENTRIES;

/** Steps whose parameters one buffer holds. The next ones go into another. */
const BUFFERED_STEPS = 64;

/** Bytes from one step's parameters to the next: what this cache's entries need. The struct's unused rest overlaps the next. */
function stepStride(options: ResolvedOptions): number {
  return Math.ceil((16 + 32 * stepEntries(options)) / 256) * 256;
}

/** Bytes of a buffer of parameters, of steps that have so many sets each. */
export function stepsBytes(options: ResolvedOptions, sets: number): number {
  return stepStride(options) * (BUFFERED_STEPS * sets - 1) + STEP_BYTES;
}

/** Bytes of one layer's sink logits. */
export function sinkBytes({ shape }: ResolvedOptions): number {
  return Math.max(16, shape.queryHeads * 4);
}

/** Bytes of the WGSL struct `Layer`. */
export const LAYER_BYTES = 96;

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

/** Bytes of one layer whose KV heads lie in so many parts. */
export function layerBytes(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  parts: number,
): LayerBytes {
  const side = (side: Side): SideBytes => ({
    codes: poolBytes(options, layer, layer[side], layer.keyValueHeads),
    exact: exactBytes(options, layer.keyValueHeads) / 2,
    codebooks: centroidBytes(options, layer, side),
  });
  return { ...bySide(side), tables: LAYER_BYTES * parts + sinkBytes(options) };
}

/** Bytes of the tables all layers share, where a step has so many sets of parameters. */
export function sharedTableBytes(options: ResolvedOptions, parameterSets: number): number {
  return pageTableBytes(options) + ropeBytes(options) + stepsBytes(options, parameterSets) +
    COUNTER_BYTES;
}

/** The sum over layers, shared tables and scratch. */
export function totalBytes(
  layers: readonly LayerBytes[],
  sharedTables: number,
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
    scratch,
    total: codes + exact + codebooks + tables + scratch,
  };
}

/** Channels one token has over all layers, keys and values both. */
export function tokenChannels({ shape, layers }: ResolvedOptions): number {
  return layers.reduce((sum, layer) => sum + 2 * layer.keyValueHeads * shape.headDim, 0);
}
