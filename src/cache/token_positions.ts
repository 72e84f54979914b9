/** The positions of tokens whose channels turn by several of them, in sections (mrope). */
import { describeValue } from "../base/describe_value.ts";
import { raise } from "../base/raise.ts";
import type { ResolvedOptions } from "../plan/options.ts";

/** `[positions][tokens]`: time, height and width; empty where a token's place is its position. */
export type TokenPositions = readonly number[][];

/**
 * The positions of a sequence's new tokens: those given, or, as text has them, the numbers that
 * follow the largest so far.
 *
 * @param held Those of its tokens so far.
 * @throws {CoupletError} `shape` where another number of them was given, `capacity` where one is beyond
 * the longest planned sequence.
 */
export function newPositions(
  { positions, capacity: { sequenceTokens } }: ResolvedOptions,
  held: TokenPositions,
  tokens: number,
  given: ArrayLike<number> | undefined,
): TokenPositions {
  const what = "Cannot begin a step";
  if (given !== undefined && given.length !== positions * tokens) {
    raise(
      "shape",
      what,
      `${given.length} positions were given for ${tokens} tokens, and a token has ${positions}`,
      "Give one for each of time, height and width where rope.sections is planned, else none",
    );
  }
  let next = 0;
  for (const own of held) for (const position of own) next = Math.max(next, position + 1);
  return Array.from(
    { length: positions },
    (_, section) =>
      Array.from({ length: tokens }, (_, token) => {
        const position = given?.[section * tokens + token] ?? next + token;
        if (!Number.isInteger(position) || position < 0 || position >= sequenceTokens) {
          raise(
            "capacity",
            what,
            `a token has the position ${describeValue(position)}, and 0 to ${
              sequenceTokens - 1
            } are planned`,
            "Count positions from the sequence's beginning, or plan more (capacity.sequenceTokens)",
          );
        }
        return position;
      }),
  );
}
