/** The positions of tokens whose channels turn by several of them, in sections (mrope). */
import { raise } from "../base/raise.ts";
import type { ResolvedOptions } from "../plan/options.ts";

/**
 * The positions of a sequence's new tokens: those given, or, as text has them, the numbers that
 * follow the largest so far.
 *
 * @param next The number behind the largest so far.
 * @param given `[positions][tokens]`.
 * @returns `[tokens][positions]`; none where a token's place is its position.
 * @throws {CoupletError} `shape` as {@linkcode checkPositions} does.
 */
export function newPositions(
  options: ResolvedOptions,
  next: number,
  tokens: number,
  given: ArrayLike<number> | undefined,
): readonly number[] {
  const { positions } = options;
  const added = Array.from({ length: given ? given.length : positions * tokens }, (_, i) => {
    const token = Math.floor(i / positions);
    return given?.[i % positions * tokens + token] ?? next + token;
  });
  checkPositions("Cannot begin a step", options, tokens, added);
  return added;
}

/** The number behind the largest position; 0 where there is none. */
export function nextPosition(positions: readonly number[]): number {
  return positions.reduce((next, position) => Math.max(next, position + 1), 0);
}

/**
 * @throws {CoupletError} `shape` where tokens have another number of positions, or one is no place in the
 * longest planned sequence.
 */
export function checkPositions(
  what: string,
  { positions, capacity: { sequenceTokens } }: ResolvedOptions,
  tokens: number,
  given: readonly number[],
): void {
  const isPosition = (one: number) => Number.isInteger(one) && one >= 0 && one < sequenceTokens;
  if (given.length === positions * tokens && given.every(isPosition)) return;
  raise(
    "shape",
    what,
    `positions are not ${positions} x ${tokens} numbers below ${sequenceTokens}`,
    "Give those, or plan more (capacity.sequenceTokens)",
  );
}
