/**
 * Rounding to binary16, by its definition. The reference has its own, because it judges what the
 * cache stores.
 */

/** Binary digits of a significand, the first one left out. */
const DIGITS = 10;

/** The exponent below which numbers are subnormal. */
const LEAST_EXPONENT = -14;

/** The least magnitude that rounds to an infinity: half a step above the largest number. */
const OVERFLOW = 65520;

/**
 * The binary16 number nearest to a number; of two equally near, the one whose last digit is 0.
 * Overflow returns an infinity.
 */
export function nearestBinary16(value: number): number {
  const negative = value < 0 || Object.is(value, -0);
  const magnitude = nearestMagnitude(Math.abs(value));
  return negative ? -magnitude : magnitude;
}

/** The largest number. */
const LARGEST = 65504;

/**
 * The binary16 number that a cache keeps of any number: the nearest finite one, and 0 for a NaN.
 */
export function keptBinary16(value: number): number {
  if (Number.isNaN(value)) return 0;
  return nearestBinary16(Math.min(Math.max(value, -LARGEST), LARGEST));
}

function nearestMagnitude(magnitude: number): number {
  if (magnitude >= OVERFLOW) return Infinity;
  // Just below a power of two the logarithm may round up to its own; the number rounds to that
  // power either way.
  const exponent = Math.max(LEAST_EXPONENT, Math.floor(Math.log2(magnitude)));
  const step = 2 ** (exponent - DIGITS);
  const below = Math.floor(magnitude / step);
  const excess = magnitude / step - below;
  const up = excess > 0.5 || (excess === 0.5 && below % 2 === 1);
  return (up ? below + 1 : below) * step;
}
