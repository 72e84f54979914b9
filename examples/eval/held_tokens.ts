import { type Cache, PAGE_TOKENS, type Sequence } from "@couplet/kv";

/** The coded tokens that one layer holds: all but those whose pages a sliding window has left behind. */
export interface HeldTokens {
  /** The first, counted from behind the sinks. */
  readonly first: number;
  readonly count: number;
  /** Where they are, in order. */
  readonly pages: readonly number[];
}

/** The coded tokens of a sequence that one layer holds. */
export function heldTokens(cache: Cache, sequence: Sequence, layer: number): HeldTokens {
  const { first, pages } = cache.pages(sequence, layer);
  const tokens = first * PAGE_TOKENS;
  return { first: tokens, count: cache.codedTokens(sequence) - tokens, pages };
}
