import { raise } from "../base/raise.ts";
import type { SchemeId } from "./scheme.ts";

/**
 * The sign of channel `i` before a Hadamard rotation: the Rudin-Shapiro sequence, whose
 * Walsh-Hadamard transform is flat, so that neither a single large channel nor an offset of all
 * channels remains concentrated.
 */
export function channelSign(i: number): number {
  return parity(i & (i >> 1)) ? -1 : 1;
}

/** Whether an odd number of bits is set. */
function parity(bits: number): boolean {
  let odd = false;
  for (let rest = bits; rest !== 0; rest &= rest - 1) odd = !odd;
  return odd;
}

/**
 * The factor of the rotation, a power of two so that it costs no precision: `2 **
 * -floor(log2(headDim) / 2)`. Where the head dimension is not a power of four, lengths grow by the
 * square root of two.
 */
export function hadamardFactor(headDim: number): number {
  return 2 ** -Math.floor(Math.log2(headDim) / 2);
}

/** The factor of the inverse: `hadamardFactor * inverseFactor * headDim` is 1. */
export function hadamardInverseFactor(headDim: number): number {
  return 1 / (headDim * hadamardFactor(headDim));
}

/**
 * The Hadamard rotation of a vector, which spreads its energy over all channels: signs, then the
 * Walsh-Hadamard transform, times {@linkcode hadamardFactor} (randomised Hadamard transform, QuIP#,
 * arXiv 2402.04396 §3, with signs fixed).
 *
 * @param vector `[headDim]`, a power of two.
 */
export function hadamard(vector: ArrayLike<number>): Float64Array<ArrayBuffer> {
  const signed = Float64Array.from(vector, (value, i) => value * channelSign(i));
  return walshHadamard(signed, hadamardFactor(vector.length));
}

/** The inverse of {@linkcode hadamard}. */
export function hadamardInverse(rotated: ArrayLike<number>): Float64Array<ArrayBuffer> {
  const plain = walshHadamard(Float64Array.from(rotated), hadamardInverseFactor(rotated.length));
  return plain.map((value, i) => value * channelSign(i));
}

/** The Walsh-Hadamard transform, times a factor; `values` are changed. */
export function walshHadamard(
  values: Float64Array<ArrayBuffer>,
  factor: number,
): Float64Array<ArrayBuffer> {
  for (let half = 1; half < values.length; half *= 2) {
    for (let i = 0; i < values.length; i++) {
      if ((i & half) !== 0) continue;
      const [a, b] = [values[i]!, values[i + half]!];
      values[i] = a + b;
      values[i + half] = a - b;
    }
  }
  return values.map((value) => value * factor);
}

/** The smallest head dimension whose codes of one bit per channel fill a word. */
const LEAST = 32;

/**
 * Checks that a Hadamard rotation of the head dimension exists, and that each token's codes fill
 * whole words.
 *
 * @throws {CoupletError} `shape` where the head dimension is not a power of two from 32.
 */
export function checkHadamard(id: SchemeId, headDim: number): void {
  if (headDim >= LEAST && Number.isInteger(Math.log2(headDim))) return;
  raise(
    "shape",
    `Cannot use ${id} at head dimension ${headDim}`,
    `it rotates heads, whose sizes must be powers of two from ${LEAST}`,
    "Use such a head dimension, or another scheme, such as c8b8",
  );
}
