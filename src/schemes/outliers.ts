/**
 * Limits for blocks, so that an outlier does not spoil the tokens that are coded together with it.
 */
import { fromFloat16Bits, MAX_FLOAT16, toFloat16Bits } from "../base/float16.ts";

/**
 * How far a number may lie from all others of its channel and block, in multiples of their range or
 * of the block's typical magnitude, whichever is larger.
 */
const REACH = 16;

/** Extremes of the numbers of one channel of a block. */
interface Extremes {
  readonly low: number;
  /** The second smallest. */
  readonly secondLow: number;
  /** The second largest. */
  readonly secondHigh: number;
  readonly high: number;
}

/** The limits that the numbers of one channel of a block are clamped to. */
export interface ChannelLimits {
  readonly low: number;
  readonly high: number;
}

/**
 * Extremes of numbers, without those at binary16's limits, unless fewer than three are left.
 */
function extremesOf(numbers: readonly number[]): Extremes {
  let low = Infinity;
  let secondLow = Infinity;
  let secondHigh = -Infinity;
  let high = -Infinity;
  for (const number of numbers) {
    if (Math.abs(number) >= MAX_FLOAT16) continue;
    secondLow = Math.min(secondLow, Math.max(low, number));
    low = Math.min(low, number);
    secondHigh = Math.max(secondHigh, Math.min(high, number));
    high = Math.max(high, number);
  }
  if (secondLow <= secondHigh) return { low, secondLow, secondHigh, high };
  const [least, most] = [Math.min(...numbers), Math.max(...numbers)];
  return { low: least, secondLow: least, secondHigh: most, high: most };
}

/** The limits of a block. */
export interface BlockLimits {
  /** The limits of each channel. */
  readonly channels: readonly ChannelLimits[];
  /** The magnitude that at most one number of a channel exceeds, a mean over channels. */
  readonly typical: number;
}

/**
 * The limits that each channel's numbers are clamped to before a block is coded. Most numbers lie
 * within. Numbers at binary16's limits, and one number on either side that is far from all others,
 * are clamped to the nearest of the others.
 *
 * @param vectors `[block]` vectors `[headDim]`.
 */
export function blockLimits(vectors: readonly ArrayLike<number>[]): BlockLimits {
  const channels = Array.from(
    { length: vectors[0]!.length },
    (_, channel) => extremesOf(vectors.map((vector) => vector[channel]!)),
  );
  // The mean of binary16 bits is nearly that of logarithms, so that a few large channels change it
  // little, and whole numbers add up alike everywhere.
  const bits = channels.reduce(
    (sum, { secondLow, secondHigh }) =>
      sum + toFloat16Bits(Math.max(Math.abs(secondLow), Math.abs(secondHigh))),
    0,
  );
  const typical = fromFloat16Bits(Math.floor(bits / channels.length));
  return {
    typical,
    channels: channels.map(({ low, secondLow, secondHigh, high }) => {
      // Kernels subtract in f32.
      const reach = REACH * Math.max(Math.fround(secondHigh - secondLow), typical);
      return {
        low: Math.fround(secondLow - low) > reach ? secondLow : low,
        high: Math.fround(high - secondHigh) > reach ? secondHigh : high,
      };
    }),
  };
}

/** A vector within limits. */
export function limited(
  vector: ArrayLike<number>,
  limits: readonly ChannelLimits[],
): Float64Array<ArrayBuffer> {
  return Float64Array.from(
    limits,
    ({ low, high }, channel) => Math.min(Math.max(vector[channel]!, low), high),
  );
}
