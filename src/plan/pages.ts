/** The pages and slots of sequences, and where their page tables begin. */
import type { ResolvedOptions } from "./options.ts";
import { NEAR_TOKENS, PAGE_TOKENS } from "../kernels/constants.ts";

/** Slots of the ring of recent tokens. */
export function ringSlots(
  { tiers, block, capacity }: Pick<ResolvedOptions, "tiers" | "block" | "capacity">,
): number {
  return tiers.window + block - 1 + capacity.appendTokens;
}

/** Exact vectors of one side of one sequence and layer: sinks and the ring. */
export function exactRows(options: Pick<ResolvedOptions, "tiers" | "block" | "capacity">): number {
  return options.tiers.sinks + ringSlots(options);
}

/** Pages in one sequence's page table. */
export function sequencePages({ capacity }: Pick<ResolvedOptions, "capacity">): number {
  return Math.ceil(capacity.sequenceTokens / PAGE_TOKENS);
}

/** First word of a page table in the buffer of all page tables. */
export function pageTableStart(options: ResolvedOptions, pageTable: number): number {
  return pageTable * options.capacity.sequences * sequencePages(options);
}

/**
 * First word of one of a slot's positions, `[slots][positions][tokens]`, in the buffer of all page
 * tables. Kernels find them from the buffer's end, so the last slot's come first.
 */
export function positionStart(options: ResolvedOptions, slot: number, position: number): number {
  const { capacity, pageTables, positions } = options;
  return pageTableStart(options, pageTables.length) +
    ((capacity.sequences - 1 - slot) * positions + position) * sequencePages(options) * PAGE_TOKENS;
}

/**
 * Tokens before a query whose pages must be kept: those in the sliding window, and those still to
 * be encoded.
 */
function keptBehind({ tiers, block, pageTables }: ResolvedOptions, pageTable: number): number {
  return Math.max(pageTables[pageTable]!.slidingWindow, tiers.window + block) - 1;
}

/**
 * The first page, counted from the sequence's first, that a sequence of `length` tokens keeps: the
 * first that queries at its end, or after a rollback of `appendTokens`, see. It is rounded to whole
 * tiles, because kernels read whole tiles.
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
 * Pages the pool of one page table needs so that any split of the tokens among sequences fits. With
 * a sliding window, a sequence keeps only what its queries see, a rollback, and a step's new
 * tokens.
 */
export function poolPages(options: ResolvedOptions, pageTable: number): number {
  const { capacity, pageTables } = options;
  const all = Math.ceil(capacity.tokens / PAGE_TOKENS) + capacity.sequences - 1;
  if (pageTables[pageTable]!.slidingWindow === 0) return all;
  const kept = keptBehind(options, pageTable) + 2 * capacity.appendTokens;
  const tiles = Math.ceil(kept / NEAR_TOKENS) + 1;
  return Math.min(all, capacity.sequences * tiles * (NEAR_TOKENS / PAGE_TOKENS));
}
