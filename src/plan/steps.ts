/** How a step is cut: its rows, tiles and splits, and which layers of a plan are cut alike. */
import { type ResolvedLayer, type ResolvedOptions, stepEntries } from "./options.ts";
import {
  BLOCK_ROWS,
  EXACT_SPAN,
  MAX_SPAN,
  MIN_SPAN,
  PAGE_TOKENS,
  TARGET_WORKGROUPS,
} from "../kernels/constants.ts";
import { ringSlots } from "./pages.ts";

/** How a layer's attention is cut into splits. */
export interface SplitTarget {
  /** Workgroups of a step, over all KV heads, if there are enough tiles. */
  readonly workgroups: number;
  /** Pages of a coded tile. */
  readonly span: number;
  /** Query heads. */
  readonly queryHeads: number;
  /** KV heads. Their blocks of query rows are workgroups already; splits only fill up the rest. */
  readonly keyValueHeads: number;
}

/** What the size of a step's q.centroid tables depends on. */
export interface StepSize {
  readonly tokens: number;
  readonly entries: number;
}

/** What the number of a step's splits depends on. */
export interface SplitStep extends StepSize {
  /** Most new tokens of an entry. */
  readonly maxTokens: number;
  /** Most tokens that an entry sees. */
  readonly context: number;
}

/** The phase of attention: decode has one new token per sequence, prefill has several. */
export type AttentionWay = "decode" | "prefill";

/** The part of a layer's plan that is read here. */
type LayerSplits = Readonly<Record<AttentionWay, { readonly splits: SplitTarget }>>;

/** Kinds of layers whose attention is cut alike. */
export interface SplitKinds {
  /** The target of each kind. */
  readonly targets: readonly SplitTarget[];
  /** The kind of each layer, as an index of `targets`. */
  readonly ofLayer: readonly number[];
}

/** The kinds of a plan's layers, in one phase. */
export function splitKinds(
  layers: readonly LayerSplits[],
  way: AttentionWay,
): SplitKinds {
  const targets: SplitTarget[] = [];
  const ofLayer = layers.map((layer) => {
    const own = layer[way].splits;
    const known = targets.findIndex(({ workgroups, span, queryHeads, keyValueHeads }) =>
      workgroups === own.workgroups && span === own.span && queryHeads === own.queryHeads &&
      keyValueHeads === own.keyValueHeads
    );
    return known === -1 ? targets.push(own) - 1 : known;
  });
  return { targets, ofLayer };
}

/** Sets of parameters of a step: one for each kind of layer, in the phase that has more kinds. */
export function parameterSets(layers: readonly LayerSplits[]): number {
  return Math.max(
    splitKinds(layers, "decode").targets.length,
    splitKinds(layers, "prefill").targets.length,
  );
}

/**
 * Tokens of a sequence from which tiles of {@linkcode MAX_SPAN} pages are enough for many
 * workgroups.
 */
const LONG_TOKENS = 4096;

/** Most pages of a coded tile. */
export function largestSpan({ capacity }: ResolvedOptions): number {
  return capacity.sequenceTokens < LONG_TOKENS ? MIN_SPAN : MAX_SPAN;
}

/** Most tiles that a row of queries is scored over, with coded tiles of `span` pages. */
function rowTiles(options: ResolvedOptions, span: number): number {
  const exactTiles = (tokens: number) => Math.ceil(tokens / (EXACT_SPAN * PAGE_TOKENS));
  return Math.ceil(options.capacity.sequenceTokens / (span * PAGE_TOKENS)) +
    exactTiles(options.tiers.sinks) + exactTiles(ringSlots(options));
}

/**
 * Scores that a score kernel writes for each row: a place for every token of every tile.
 */
export function rowScores(options: ResolvedOptions): number {
  const span = largestSpan(options);
  return rowTiles(options, span) * span * PAGE_TOKENS;
}

/** Query rows of the largest step. */
export function stepRows({ capacity }: ResolvedOptions, queryHeads: number): number {
  return capacity.stepTokens * queryHeads;
}

/** The target without a tuning record, the same for all layers with as many query heads. */
export function defaultSplits(
  options: ResolvedOptions,
  { queryHeads }: Pick<ResolvedLayer, "queryHeads">,
): SplitTarget {
  return {
    queryHeads,
    workgroups: TARGET_WORKGROUPS,
    span: largestSpan(options),
    // Of different layers, those with the most KV heads have the most workgroups without splits.
    keyValueHeads: Math.max(...options.layers.map(({ keyValueHeads }) => keyValueHeads)),
  };
}

/**
 * Most rows times splits of a step: one split each if the rows alone fill the device, else enough
 * to fill it.
 */
export function rowSplits(
  options: ResolvedOptions,
  { workgroups, span, queryHeads }: SplitTarget,
): number {
  const rows = stepRows(options, queryHeads);
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
  const { workgroups, span, queryHeads, keyValueHeads } = target;
  const blocks = entries * keyValueHeads * headBlocks(maxTokens * queryHeads, keyValueHeads);
  // Sinks and recent tokens each have tiles of their own.
  const tiles = Math.ceil(context / (span * PAGE_TOKENS)) + 2;
  const kept = Math.floor(rowSplits(options, target) / (tokens * queryHeads));
  return Math.max(1, Math.min(Math.ceil(workgroups / blocks), tiles, kept));
}

/** A step in which every sequence adds one token. */
export function decodeStep(options: ResolvedOptions): StepSize {
  const entries = Math.min(stepEntries(options), options.capacity.stepTokens);
  return { tokens: entries, entries };
}

/** A step of the most tokens and entries. */
export function largestStep(options: ResolvedOptions): StepSize {
  return { tokens: options.capacity.stepTokens, entries: stepEntries(options) };
}

/** Whether a step may have several tokens of a sequence. */
export function hasPrefill({ capacity }: ResolvedOptions): boolean {
  return capacity.appendTokens > 1;
}
