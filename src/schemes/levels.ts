/** Evenly spaced levels whose scale and minimum are binary16: how they are fitted, and coded. */
import { fromFloat16Bits, roundToFloat16, toFloat16Bits } from "../base/float16.ts";
import type { ChannelLimits } from "./outliers.ts";

/** Levels as they are stored: code `c` stands for `minimum + scale * c`. */
export interface Levels {
  readonly scale: number;
  readonly minimum: number;
}

/**
 * The binary16 number nearest to a quotient that is not negative, ties to even; the comparisons
 * that decide are exact, in f32 as well.
 */
export function float16Quotient(dividend: number, divisor: number): number {
  // abs for the negative zero
  let bits = Math.max(0, toFloat16Bits(Math.abs(dividend) / divisor) - 1);
  const middle = () => (divisor * (fromFloat16Bits(bits) + fromFloat16Bits(bits + 1))) / 2;
  while (dividend > middle() || (dividend === middle() && bits % 2 === 1)) bits++;
  return fromFloat16Bits(bits);
}

/** Levels from the smallest of some numbers to the largest, in `steps` steps. */
export function rangeLevels({ low, high }: ChannelLimits, steps: number): Levels {
  const minimum = roundToFloat16(low) + 0; // of the two zeros, the positive one
  // Kernels subtract in f32.
  return { scale: float16Quotient(Math.fround(high - minimum), steps), minimum };
}

/**
 * The code of the nearest level, from 0 to `highest`, ties to the higher code.
 *
 * @param zero The code of the minimum. Defaults to 0.
 */
export function levelCode(
  number: number,
  { scale, minimum }: Levels,
  highest: number,
  zero = 0,
): number {
  if (scale === 0) return zero;
  const code = Math.floor(Math.fround(number - minimum) / scale + zero + 0.5);
  return Math.min(Math.max(code, 0), highest);
}
