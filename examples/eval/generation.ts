import type { Sequence } from "@couplet/kv";
import type { CacheRun } from "../demo/evaluate.ts";
import { indexOfLargest } from "../demo/metrics.ts";

/**
 * The likeliest continuations of some prompts, `[prompts][tokens]`; tokens that end a text count as any.
 *
 * @param onTokens Told how many tokens have run since it was last told.
 */
export async function greedyTokens(
  { cache, forward }: CacheRun,
  prompts: readonly (readonly number[])[],
  tokens: number,
  onTokens: (tokens: number) => void,
): Promise<readonly (readonly number[])[]> {
  const written = prompts.map((): number[] => []);
  let entries = prompts.map((tokenIds): { sequence: Sequence; tokenIds: readonly number[] } => ({
    sequence: cache.createSequence(),
    tokenIds,
  }));
  for (let count = 0; count < tokens; count++) {
    const { logits } = await forward(entries, { logits: "last" });
    onTokens(entries.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0));
    entries = entries.map(({ sequence }, i) => {
      const next = indexOfLargest(logits![i]!);
      written[i]!.push(next);
      return { sequence, tokenIds: [next] };
    });
  }
  for (const { sequence } of entries) cache.freeSequence(sequence);
  return written;
}

/** The index of the first element in which two lists differ: their length where none does. */
export function firstDifference(a: readonly number[], b: readonly number[]): number {
  const found = a.findIndex((value, i) => value !== b[i]);
  return found < 0 ? a.length : found;
}
