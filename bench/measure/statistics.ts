/** What the suites conclude from times. Pure. */
import { median } from "../../examples/demo/metrics.ts";

/** The middle of some samples and how far they spread. */
export interface Spread {
  readonly median: number;
  /** Quartiles. */
  readonly low: number;
  readonly high: number;
}

/** Median and quartiles, by linear interpolation between the samples. */
export function spread(samples: readonly number[]): Spread {
  return {
    median: median(samples),
    low: quantile(samples, 0.25),
    high: quantile(samples, 0.75),
  };
}

function quantile(samples: readonly number[], share: number): number {
  const sorted = samples.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at));
}

/**
 * How many times faster one row is than another that took turns with it: each round's own ratio, so that a machine that
 * slows down slows both.
 *
 * @throws {RangeError} where the rounds differ in number.
 */
export function speedup(slow: readonly number[], fast: readonly number[]): Spread {
  if (slow.length !== fast.length) {
    throw new RangeError(`${slow.length} rounds stand beside ${fast.length}`);
  }
  return spread(slow.map((time, round) => time / fast[round]!));
}

/** A figure at a context length. */
export interface AtContext {
  /** Tokens. */
  readonly context: number;
  readonly value: number;
}

/**
 * The shortest context from which on a scheme is faster at every context measured.
 *
 * @param speedups How many times faster it is, in any order.
 * @returns Tokens, or null where it is not faster at the longest.
 */
export function breakEven(speedups: readonly AtContext[]): number | null {
  const longestFirst = speedups.toSorted((a, b) => b.context - a.context);
  const slower = longestFirst.findIndex(({ value }) => value <= 1);
  const faster = slower === -1 ? longestFirst : longestFirst.slice(0, slower);
  return faster.at(-1)?.context ?? null;
}

/** Samples at a context length. */
export interface SpreadAtContext {
  /** Tokens. */
  readonly context: number;
  readonly spread: Spread;
}

/** By what time per token may grow from one context to a longer one. */
export const GROWTH_TOLERANCE = 0.1;

/** Whether time grows with context no faster than in proportion. */
export interface Linearity {
  /** Milliseconds a step takes whatever its context, by least squares of relative errors. */
  readonly fixed: number;
  /** Milliseconds each thousand tokens of context add. */
  readonly perThousand: number;
  /** Largest error of `fixed + perThousand * context / 1000`, relative to the time measured. */
  readonly worstError: number;
  /** Most that the median time per token grew by from a context to a longer one, 0 where it never did. */
  readonly worstGrowth: number;
  /**
   * `linear` where that is {@linkcode GROWTH_TOLERANCE} or less; else `faster`, or `unclear` where it is no more from the
   * upper quartile of the shorter context to the lower one of the longer.
   */
  readonly growth: "linear" | "faster" | "unclear";
}

/**
 * Fits times to a line, and finds where time per token grows. Time per token falls first, because what a step costs at
 * any context is shared by more tokens; it must not rise again.
 *
 * @param times Milliseconds.
 * @returns Null for fewer than three contexts.
 */
export function linearity(times: readonly SpreadAtContext[]): Linearity | null {
  if (times.length < 3) return null;
  const spreads = times.toSorted((a, b) => a.context - b.context);
  const sorted = spreads.map(({ context, spread }) => ({ context, value: spread.median }));
  // Weights of 1 / time^2: a relative error counts the same at 512 tokens and at 131072.
  let [w, wx, wxx, wy, wxy] = [0, 0, 0, 0, 0];
  for (const { context, value } of sorted) {
    const weight = 1 / value ** 2;
    const x = context / 1000;
    w += weight;
    wx += weight * x;
    wxx += weight * x * x;
    wy += weight * value;
    wxy += weight * x * value;
  }
  const perThousand = (w * wxy - wx * wy) / (w * wxx - wx * wx);
  const fixed = (wy - perThousand * wx) / w;
  const errors = sorted.map(({ context, value }) =>
    Math.abs(fixed + perThousand * context / 1000 - value) / value
  );
  const perToken = (value: (spread: Spread) => number) =>
    spreads.map(({ context, spread }) => value(spread) / context);
  const medians = perToken(({ median }) => median);
  const worstGrowth = mostGrowth(medians, medians);
  const certain = mostGrowth(perToken(({ high }) => high), perToken(({ low }) => low));
  return {
    fixed,
    perThousand,
    worstError: Math.max(...errors),
    worstGrowth,
    growth: worstGrowth <= GROWTH_TOLERANCE
      ? "linear"
      : certain > GROWTH_TOLERANCE
      ? "faster"
      : "unclear",
  };
}

/** Most that a value of `to` exceeds one of `from` at the same or an earlier place, relative to it; 0 where none does. */
function mostGrowth(from: readonly number[], to: readonly number[]): number {
  let least = Infinity;
  return to.reduce((most, value, i) => {
    least = Math.min(least, from[i]!);
    return Math.max(most, value / least - 1);
  }, 0);
}
