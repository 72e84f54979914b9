/**
 * Means of a block's channels as whole numbers of one step. A step that the block shares makes all
 * means as fine as the largest allows: what matters is the error beside the residuals of all
 * channels, which a Hadamard rotation mixes, and not beside the mean itself.
 */
import { readBits, writeBits } from "../records/pack.ts";

/** Bits of the step: binary32, a power of two. */
export const STEP_BITS = 32;

/** The exponent that the step follows where all means are smaller: theirs would not be normal. */
export const LEAST_EXPONENT = -40;

const f32 = new Float32Array(1);
const u32 = new Uint32Array(f32.buffer);

/** The exponent of a number as binary32: `floor(log2(value))`, for normal numbers. */
function exponentOf(value: number): number {
  f32[0] = value;
  return (u32[0]! >>> 23) - 127;
}

/** The nearest whole number, and of two the even one. */
function roundToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  return floor + (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? 1 : 0);
}

/**
 * Writes the means of a record, and behind the room of 16 bits for each channel their step.
 *
 * @param means `[headDim]`.
 * @param bits Bits of each, in two's complement.
 */
export function writeMeans(record: Uint32Array, means: Float64Array, bits: number): void {
  const most = means.reduce((most, mean) => Math.max(most, Math.abs(mean)), 0);
  const step = 2 ** (Math.max(exponentOf(most), LEAST_EXPONENT) - (bits - 2));
  const largest = 2 ** (bits - 1) - 1;
  means.forEach((mean, channel) => {
    const steps = Math.min(roundToEven(Math.abs(mean) / step), largest);
    writeBits(record, channel * bits, bits, mean < 0 ? -steps : steps);
  });
  f32[0] = step;
  record[means.length / 2] = u32[0]!;
}

/** Reads what {@linkcode writeMeans} wrote. */
export function readMeans(record: Uint32Array, headDim: number, bits: number): Float64Array {
  u32[0] = record[headDim / 2]!;
  const step = f32[0]!;
  return Float64Array.from({ length: headDim }, (_, channel) => {
    const steps = readBits(record, channel * bits, bits);
    return step * (steps < 2 ** (bits - 1) ? steps : steps - 2 ** bits);
  });
}
