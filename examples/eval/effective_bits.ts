import type { CacheOptions } from "@couplet/kv";
import { planResident } from "../demo/memory.ts";
import type { EffectiveBits } from "./figures/results.ts";

/** Tokens of a sequence that effective bits are given for. */
export const BIT_LENGTHS: readonly number[] = [512, 4096, 32768];

/**
 * Bits per channel of everything resident, codebooks included, at each of {@linkcode BIT_LENGTHS}, by the planner:
 * sequences share codebooks, and so do all tokens of a longer one.
 *
 * @param sequences Numbers of sequences, each of which is counted for.
 */
export function effectiveBits(
  options: CacheOptions,
  sequences: readonly number[],
): EffectiveBits[] {
  return sequences.flatMap((count) =>
    BIT_LENGTHS.map((tokens) => ({
      tokens,
      sequences: count,
      bits: planResident(options, count, tokens).effectiveBits,
    }))
  );
}
