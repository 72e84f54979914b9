/** Bytes of every buffer a cache allocates: the one place that knows. */
import { poolPages, type ResolvedOptions, stepEntries } from "./cache_options.ts";
import {
  BLOCK_ROWS,
  PAGE_TOKENS,
  STEP_ENTRIES,
  TARGET_WORKGROUPS,
  TILE_TOKENS,
} from "./kernel_constants.ts";
import { recordWords } from "./record_layout.ts";
import { inverseFrequencies } from "./reference/rope.ts";
import { parseScheme, type SchemeId, type Side } from "./scheme.ts";

/** Bytes by what they hold. Everything but `scratch` stays in use between steps. */
export interface CacheBytes {
  /** Records of coded tokens, whole pages. */
  readonly codes: number;
  /** Sinks and recent tokens as f16. */
  readonly exact: number;
  /** Centroids and channel scales. */
  readonly codebooks: number;
  /** Page tables, rotary table and step parameters. */
  readonly tables: number;
  /** Intermediate results of a step, shared by all layers. */
  readonly scratch: number;
  /** The sum. */
  readonly total: number;
}

/** Slots of the ring of recent tokens. */
export function ringSlots({ tiers, capacity }: ResolvedOptions): number {
  return tiers.window + capacity.appendTokens;
}

/** Bytes of one page of one side of one layer, all heads. */
export function pageBytes({ shape }: ResolvedOptions, scheme: SchemeId): number {
  const layout = parseScheme(scheme).layout(shape.headDim);
  return shape.keyValueHeads * recordWords(layout, PAGE_TOKENS) * 4;
}

/** Bytes of one layer's record pool, for one side. */
export function poolBytes(options: ResolvedOptions, scheme: SchemeId): number {
  return poolPages(options) * pageBytes(options, scheme);
}

/** Bytes of one sequence's exact tier in one layer, both sides. */
export function exactSequenceBytes(options: ResolvedOptions): number {
  const { keyValueHeads, headDim } = options.shape;
  const slots = options.tiers.sinks + ringSlots(options);
  return 2 * slots * keyValueHeads * headDim * 2;
}

/** Bytes of one layer's exact tier, both sides of all sequences. */
export function exactBytes(options: ResolvedOptions): number {
  return options.capacity.sequences * exactSequenceBytes(options);
}

/** Bytes of one side's centroids in one layer. */
export function centroidBytes(options: ResolvedOptions, scheme: SchemeId): number {
  const { keyValueHeads, headDim } = options.shape;
  return keyValueHeads * headDim * parseScheme(scheme).centroids * 2;
}

/** Pages in one sequence's page table. */
export function sequencePages({ capacity }: ResolvedOptions): number {
  return Math.ceil(capacity.sequenceTokens / PAGE_TOKENS);
}

/** Bytes of the page tables of all sequences. */
export function pageTableBytes(options: ResolvedOptions): number {
  return options.capacity.sequences * sequencePages(options) * 4;
}

/** Rows of the rotary table: TILE_TOKENS near positions, and one far position per tile of the longest sequence. */
export function ropeRows({ capacity }: ResolvedOptions): number {
  return TILE_TOKENS + Math.ceil(capacity.sequenceTokens / TILE_TOKENS) + 1;
}

/** Bytes of the rotary table. */
export function ropeBytes(options: ResolvedOptions): number {
  if (options.keys.space !== "pre-rope") return 0;
  const pairs = inverseFrequencies(options.keys.rope, options.shape.headDim).length;
  return ropeRows(options) * pairs * 8;
}

/** Most tiles a row of queries is scored over. */
export function rowTiles(options: ResolvedOptions): number {
  const { tiers, capacity } = options;
  const tiles = (tokens: number) => Math.ceil(tokens / TILE_TOKENS);
  return tiles(capacity.sequenceTokens) + tiles(tiers.sinks) +
    tiles(tiers.window + capacity.appendTokens);
}

/** Query rows of the largest step. */
export function stepRows({ shape, capacity }: ResolvedOptions): number {
  return capacity.stepTokens * shape.queryHeads;
}

/** Most rows times splits of a step: one split each where rows alone fill the device, else what fills it. */
export function rowSplits(options: ResolvedOptions): number {
  const rows = stepRows(options);
  return Math.max(rows, Math.min(TARGET_WORKGROUPS * BLOCK_ROWS, rowTiles(options) * rows));
}

/** Splits for a step of `rows` query rows in `blocks` blocks whose longest row has `tiles` tiles. */
export function stepSplits(
  options: ResolvedOptions,
  rows: number,
  blocks: number,
  tiles: number,
): number {
  const wanted = Math.ceil(TARGET_WORKGROUPS / blocks);
  return Math.max(1, Math.min(wanted, tiles, Math.floor(rowSplits(options) / rows)));
}

/** Bytes of the splits' partial results. */
export function partialBytes(options: ResolvedOptions): number {
  return rowSplits(options) * (options.shape.headDim / 4 + 1) * 16;
}

/** Bytes of the scores that a score kernel leaves for a mix kernel. */
export function scoreBytes(options: ResolvedOptions): number {
  return stepRows(options) * rowTiles(options) * TILE_TOKENS * 4;
}

/** Bytes of the q.centroid tables of `rows` query rows. */
export function tableBytes(options: ResolvedOptions, scheme: SchemeId, rows: number): number {
  const { centroids, layout } = parseScheme(scheme);
  return rows * layout(options.shape.headDim).codes * centroids * 4;
}

/** Bytes of the WGSL struct `Step`: 16 of header and 32 an entry. */
export const STEP_BYTES: number = 16 + 32 * STEP_ENTRIES;

/** Steps whose parameters are kept: how many steps a host may record before it submits. */
export const STEP_SLOTS = 64;

/** Bytes from one step's parameters to the next: what this cache's entries need. The struct's unused rest overlaps the next. */
export function stepStride(options: ResolvedOptions): number {
  return Math.ceil((16 + 32 * stepEntries(options)) / 256) * 256;
}

/** Bytes of the parameters of all steps that are kept. */
export function stepsBytes(options: ResolvedOptions): number {
  return stepStride(options) * (STEP_SLOTS - 1) + STEP_BYTES;
}

/** Bytes of one layer's sink logits. */
export function sinkBytes({ shape }: ResolvedOptions): number {
  return Math.max(16, shape.queryHeads * 4);
}

/** Bytes of one layer's parameters. */
export const LAYER_BYTES = 80;

/** What everything but scratch comes to; scratch depends on the kernels the plan chooses. */
export function residentBytes(options: ResolvedOptions): Omit<CacheBytes, "scratch" | "total"> {
  const sides: Side[] = ["keys", "values"];
  let codes = 0;
  let codebooks = 0;
  for (const layer of options.layers) {
    for (const side of sides) {
      codes += poolBytes(options, layer[side]);
      codebooks += centroidBytes(options, layer[side]);
    }
  }
  return {
    codes,
    exact: exactBytes(options) * options.layers.length,
    codebooks,
    tables: pageTableBytes(options) + ropeBytes(options) + stepsBytes(options) +
      (LAYER_BYTES + sinkBytes(options)) * options.layers.length,
  };
}
