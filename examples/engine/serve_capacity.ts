import { type Capacity, PAGE_TOKENS } from "@couplet/kv";
import { PREFILL } from "./start_engine.ts";

/** What {@linkcode serveCapacity} has to know, all in tokens. */
export interface ServeSizes {
  /** Of the prefix; 0 where there is none. */
  readonly prefixTokens: number;
  /** Of each prompt, prefix not included. */
  readonly promptTokens: readonly number[];
  /** Added to each prompt at most. */
  readonly tokens: number;
  /** Drafted for each prompt and pass at most. */
  readonly draftTokens: number;
}

/**
 * A cache just large enough to serve some prompts: their common prefix takes memory once.
 *
 * A fork that outgrows the prefix copies the page in which the prefix ends, so each counts the tokens that
 * page may hold of the prefix.
 */
export function serveCapacity(
  { prefixTokens, promptTokens, tokens, draftTokens }: ServeSizes,
): Capacity {
  const own = promptTokens.map((prompt) => prompt + tokens);
  const prefixes = prefixTokens > 0 ? 1 : 0;
  const copied = prefixes * (PAGE_TOKENS - 1);
  return {
    sequences: prefixes + own.length,
    tokens: own.reduce((sum, tokens) => sum + tokens + copied, prefixTokens),
    sequenceTokens: prefixTokens + Math.max(...own),
    // All drafts of a pass are verified in one step.
    stepTokens: Math.max(PREFILL, own.length * (draftTokens + 1)),
    appendTokens: Math.max(PREFILL, draftTokens + 1),
  };
}
