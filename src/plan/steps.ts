/** How a step is cut: its rows and tiles, its splits, and which layers of a plan are cut alike. */
import { type ResolvedOptions, stepEntries } from "./options.ts";
import {
  BLOCK_ROWS,
  EXACT_SPAN,
  MAX_SPAN,
  MIN_SPAN,
  PAGE_TOKENS,
  TARGET_WORKGROUPS,
} from "../kernels/constants.ts";
import { ringSlots } from "./pages.ts";

/** What a layer's attention is cut into splits by. */
export interface SplitTarget {
  /** Workgroups that share a step, all KV heads together, where there are tiles enough. */
  readonly workgroups: number;
  /** Pages of the tiles that are shared. */
  readonly span: number;
  /** KV heads whose blocks of query rows come first: only what they leave is gained by splits. */
  readonly keyValueHeads: number;
}

/** A step, as far as the size of its q.centroid tables depends on it. */
export interface StepSize {
  readonly tokens: number;
  readonly entries: number;
}

/** A step, as far as the number of its splits depends on it. */
export interface SplitStep extends StepSize {
  /** Most tokens of an entry. */
  readonly maxTokens: number;
  /** Most tokens that an entry sees. */
  readonly context: number;
}

/** How attention comes: one new token a sequence, or several. */
export type AttentionWay = "decode" | "prefill";

/** What is read of a layer's plan. */
type LayerSplits = Readonly<Record<AttentionWay, { readonly splits: SplitTarget }>>;

/** Kinds of layers that a step is cut into splits for alike. */
export interface SplitKinds {
  /** What the splits of each kind are counted by. */
  readonly targets: readonly SplitTarget[];
  /** The kind of each layer, as an index of `targets`. */
  readonly ofLayer: readonly number[];
}

/** The kinds of a plan's layers, in one way of attending. */
export function splitKinds(
  layers: readonly LayerSplits[],
  way: AttentionWay,
): SplitKinds {
  const targets: SplitTarget[] = [];
  const ofLayer = layers.map((layer) => {
    const own = layer[way].splits;
    const known = targets.findIndex(({ workgroups, span, keyValueHeads }) =>
      workgroups === own.workgroups && span === own.span && keyValueHeads === own.keyValueHeads
    );
    return known === -1 ? targets.push(own) - 1 : known;
  });
  return { targets, ofLayer };
}

/** Sets of parameters that a step has: one for each kind of layers, in the way that has more. */
export function parameterSets(layers: readonly LayerSplits[]): number {
  return Math.max(
    splitKinds(layers, "decode").targets.length,
    splitKinds(layers, "prefill").targets.length,
  );
}

/**
 * Tokens of a sequence from which tiles of {@linkcode MAX_SPAN} pages leave enough of them for many
 * workgroups.
 */
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

/**
 * Scores that a score kernel leaves for each row: a place for every token of every tile, of the
 * largest kind.
 */
export function rowScores(options: ResolvedOptions): number {
  const span = largestSpan(options);
  return rowTiles(options, span) * span * PAGE_TOKENS;
}

/** Query rows of the largest step. */
export function stepRows({ shape, capacity }: ResolvedOptions): number {
  return capacity.stepTokens * shape.queryHeads;
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

/**
 * Most rows times splits of a step: one split each where rows alone fill the device, else what
 * fills it.
 */
export function rowSplits(options: ResolvedOptions, { workgroups, span }: SplitTarget): number {
  const rows = stepRows(options);
  return Math.max(rows, Math.min(workgroups * BLOCK_ROWS, rowTiles(options, span) * rows));
}

/** Blocks that `rows` query rows of one sequence, of all heads, make for each KV head. */
export function headBlocks(rows: number, keyValueHeads: number): number {
  return Math.ceil(rows / keyValueHeads / BLOCK_ROWS);
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

/** A step in which every sequence adds one token. */
export function decodeStep(options: ResolvedOptions): StepSize {
  const entries = Math.min(stepEntries(options), options.capacity.stepTokens);
  return { tokens: entries, entries };
}

/** A step of as many tokens and entries as there may be. */
export function largestStep(options: ResolvedOptions): StepSize {
  return { tokens: options.capacity.stepTokens, entries: stepEntries(options) };
}

/** Whether a step may have several tokens of a sequence. */
export function hasPrefill({ capacity }: ResolvedOptions): boolean {
  return capacity.appendTokens > 1;
}
