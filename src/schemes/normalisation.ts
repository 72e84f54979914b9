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
 * The integer of the size nearest, as a ratio, to that of a vector beside another: to its root mean
 * square where the other's square is the number of channels.
 *
 * @param energy The vector's square, that is the sum of its channels' squares.
 * @param square The other's.
 * @param sizes Ascending.
 */
export function sizeLevel(energy: number, square: number, sizes: ArrayLike<number>): number {
  return normLevel((above) => energy >= square * sizes[above - 1]! * sizes[above]!);
}

/** How many of the conditions hold, of those between neighbours of {@linkcode NORM_LEVELS}. */
function normLevel(holds: (above: number) => boolean): number {
  let level = 0;
  while (level + 1 < NORM_LEVELS && holds(level + 1)) level++;
  return level;
}
