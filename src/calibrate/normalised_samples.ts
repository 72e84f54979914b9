/** What vectors are normalised by, learned from samples. */
import { LEAST_NORMAL_FLOAT16, roundToFloat16 } from "../base/float16.ts";
import { GRID_STEPS } from "../codebooks/grid.ts";
import { meanLevel, meanOf, NORM_LEVELS } from "../schemes/normalisation.ts";

/** Ranges of the means' grids that are tried, as parts of what the means span. */
const RANGES = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4];

/** Rounds of Lloyd's iteration over sizes. */
const SIZE_ROUNDS = 40;

/** Means of blocks of a channel, and the grid that codes them. */
export interface MeanGrid {
  readonly offset: number;
  readonly step: number;
}

/**
 * The blocks of samples: up to `block` neighbours of one sequence, whose positions ascend one by
 * one. Where positions are unknown, all tokens are those of one sequence.
 *
 * @param positions `[tokens]`.
 * @returns `[tokens]`: the block of each.
 */
export function blocksOf(
  tokens: number,
  positions: ArrayLike<number> | undefined,
  block: number,
): number[] {
  let first = 0;
  let last = -1;
  return Array.from({ length: tokens }, (_, token) => {
    const goes = token === 0 || positions === undefined ||
      positions[token] === positions[token - 1]! + 1;
    if (!goes || token - first === block || token === 0) [first, last] = [token, last + 1];
    return last;
  });
}

/**
 * The means of blocks of tokens, `[blocks][headDim]`.
 *
 * @param vectors `[tokens]` vectors `[headDim]`.
 * @param blocks `[tokens]`: the block of each, ascending.
 */
export function blockMeans(
  vectors: readonly ArrayLike<number>[],
  blocks: readonly number[],
): Float64Array<ArrayBuffer>[] {
  const count = blocks.at(-1)! + 1;
  const means = Array.from({ length: count }, () => new Float64Array(vectors[0]!.length));
  const members = new Uint32Array(count);
  vectors.forEach((vector, token) => {
    const mean = means[blocks[token]!]!;
    members[blocks[token]!]!++;
    for (let i = 0; i < mean.length; i++) mean[i]! += vector[i]!;
  });
  return means.map((mean, block) => mean.map((sum) => sum / members[block]!));
}

/**
 * The offsets and steps of the channels' means: of some ranges around their middle, the one whose
 * grid has the least squared error.
 */
export function learnMeans(means: readonly ArrayLike<number>[]): MeanGrid[] {
  return Array.from({ length: means[0]!.length }, (_, channel) => {
    const own = means.map((mean) => mean[channel]!);
    const low = own.reduce((least, mean) => Math.min(least, mean), Infinity);
    const high = own.reduce((largest, mean) => Math.max(largest, mean), -Infinity);
    const offset = Math.fround((low + high) / 2);
    let best: MeanGrid = { offset, step: 0 };
    let least = Infinity;
    for (const range of RANGES) {
      const steps = (range * (high - low) * GRID_STEPS) / (NORM_LEVELS - 1);
      const step = roundToFloat16(steps < LEAST_NORMAL_FLOAT16 ? 0 : steps) / GRID_STEPS;
      const error = own.reduce(
        (sum, mean) => sum + (mean - onGrid(mean, { offset, step })) ** 2,
        0,
      );
      if (error < least) [best, least] = [{ offset, step }, error];
    }
    return best;
  });
}

/** The number of a mean's grid nearest to it. */
export function onGrid(mean: number, { offset, step }: MeanGrid): number {
  return meanOf(meanLevel(mean, 1, offset, step), offset, step);
}

/**
 * Sizes that stand for those of tokens with the least squared error (Lloyd, IEEE Trans. Inf. Theory
 * 1982, §IV), ascending binary16 numbers.
 */
export function learnSizes(sizes: ArrayLike<number>): Float64Array<ArrayBuffer> {
  const sorted = Float64Array.from(sizes).sort();
  // From ratio to ratio: the largest are few, and cost most.
  const least = Math.max(LEAST_NORMAL_FLOAT16, sorted[Math.floor(sorted.length / 100)]!);
  const ratio = Math.max(1, sorted.at(-1)! / least) ** (1 / (NORM_LEVELS - 1));
  const levels = Float64Array.from({ length: NORM_LEVELS }, (_, i) => least * ratio ** i);
  for (let round = 0; round < SIZE_ROUNDS; round++) {
    const sums = new Float64Array(NORM_LEVELS);
    const counts = new Float64Array(NORM_LEVELS);
    let level = 0;
    for (const size of sorted) {
      while (level + 1 < NORM_LEVELS && 2 * size >= levels[level]! + levels[level + 1]!) level++;
      sums[level]! += size;
      counts[level]!++;
    }
    levels.forEach((_, i) => {
      if (counts[i]! > 0) levels[i] = sums[i]! / counts[i]!;
    });
    levels.sort();
  }
  return levels.map((size) => roundToFloat16(Math.max(LEAST_NORMAL_FLOAT16, size)));
}
