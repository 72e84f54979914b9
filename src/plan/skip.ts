/** Tiles whose values are not mixed, because they weigh next to nothing. */
import { type Fields, whole } from "../base/check_options.ts";

/** Which tiles are not mixed. */
export interface SkipOptions {
  /**
   * A whole number from 1 to 100. A tile of codes (256 or 512 tokens) is not mixed if its best score
   * is more than this below the best one that its workgroup has seen before, for each of the
   * workgroup's query rows. Scores are natural logarithms of weights. Of `n` tokens that a query
   * sees, those left out have at most `n * exp(-below)` of the weight, so an output moves by at most
   * that part of the spread of values: in each channel, from the least to the largest.
   */
  readonly below: number;
}

/** What it may be. */
export const SKIP_FIELDS: Fields<SkipOptions> = { below: whole(1, 100) };

/** What the bound depends on. */
interface Skipping {
  readonly skipBelow: number;
  readonly capacity: { readonly sequenceTokens: number };
  readonly spans: readonly { readonly capacity: { readonly tokens: number } }[];
}

/**
 * How far skipping moves an output at most, in parts of the spread of values; 0 where nothing is
 * skipped. All spans count.
 */
export function skipBound({ skipBelow, capacity, spans }: Skipping): number {
  if (skipBelow === 0) return 0;
  const tokens = spans.reduce((sum, span) => sum + span.capacity.tokens, capacity.sequenceTokens);
  return Math.min(1, tokens * Math.exp(-skipBelow));
}
