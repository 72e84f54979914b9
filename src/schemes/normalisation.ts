/**
 * What normalised vectors and added centroids take, in records and on the device, and how means and
 * sizes are chosen: by comparisons, so that kernels choose the same.
 */

/** Bits of a channel's mean in a record, and of a token's size. */
export const NORM_BITS = 4;

/** Numbers that such bits choose from. */
export const NORM_LEVELS = 2 ** NORM_BITS;

/**
 * Words of one channel's grid on the device: in binary16 the lowest number of each stage, then 64
 * times the steps of the levels and of the mean.
 */
export function gridWords(stages: number): number {
  return Math.ceil((stages + 2) / 2);
}

/** The integer of a mean that equals its channel's offset would be this. */
const MIDDLE = (NORM_LEVELS - 1) / 2;

/** The integer of the mean nearest to that of `count` numbers. */
export function meanLevel(sum: number, count: number, offset: number, step: number): number {
  return normLevel((above) => sum >= count * (offset + step * (above - NORM_LEVELS / 2)));
}

/** The mean that an integer stands for. */
export function meanOf(level: number, offset: number, step: number): number {
  return offset + step * (level - MIDDLE);
}

/**
 * The integer of the size nearest, as a ratio, to the root mean square of channels.
 *
 * @param energy The sum of their squares.
 * @param sizes Ascending.
 */
export function sizeLevel(energy: number, headDim: number, sizes: ArrayLike<number>): number {
  return normLevel((above) => energy >= headDim * sizes[above - 1]! * sizes[above]!);
}

/** How many of the conditions hold, of those between neighbours of {@linkcode NORM_LEVELS}. */
export function normLevel(holds: (above: number) => boolean): number {
  let level = 0;
  while (level + 1 < NORM_LEVELS && holds(level + 1)) level++;
  return level;
}
