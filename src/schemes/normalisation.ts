/** What normalised vectors and added centroids take, in records and on the device. */

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
