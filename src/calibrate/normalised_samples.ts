/** What vectors are normalised by, learned from samples. */
import { roundToFloat16 } from "../base/float16.ts";
import type { Normalisation } from "../schemes/codec.ts";
import { NORM_LEVELS } from "../schemes/normalisation.ts";

/** Ranges of the means' grids that are tried, as parts of what the means span. */
const RANGES = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4];

/** The least size of a token, and the least step of a mean where there is any: normal binary16. */
const LEAST = 2 ** -14;

/** Steps that a stored step of means stands for. */
export const STORED_STEPS = 64;

/** Rounds of Lloyd's iteration over sizes. */
const SIZE_ROUNDS = 40;

/** Means of blocks of a channel, and the grid that codes them. */
interface MeanGrid {
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
      const steps = (range * (high - low) * STORED_STEPS) / (NORM_LEVELS - 1);
      const step = roundToFloat16(steps < LEAST ? 0 : steps) / STORED_STEPS;
      const error = own.reduce((sum, mean) => sum + (mean - onGrid(mean, offset, step)) ** 2, 0);
      if (error < least) [best, least] = [{ offset, step }, error];
    }
    return best;
  });
}

/** The number of a mean's grid nearest to it. */
export function onGrid(mean: number, offset: number, step: number): number {
  if (step === 0) return offset + step;
  const level = Math.floor((mean - offset) / step + NORM_LEVELS / 2);
  return offset + step * (Math.min(NORM_LEVELS - 1, Math.max(0, level)) - (NORM_LEVELS - 1) / 2);
}

/**
 * Sizes that stand for those of tokens with the least squared error (Lloyd, IEEE Trans. Inf. Theory
 * 1982, §IV), ascending binary16 numbers.
 */
export function learnSizes(sizes: ArrayLike<number>): Float64Array<ArrayBuffer> {
  const sorted = Float64Array.from(sizes).sort();
  // From ratio to ratio: the largest are few, and cost most.
  const least = Math.max(LEAST, sorted[Math.floor(sorted.length / 100)]!);
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
  return levels.map((size) => roundToFloat16(Math.max(LEAST, size)));
}

/**
 * The sizes of tokens, as encoding chooses them: the nearest ones, as ratios, to root mean squares.
 *
 * @param energies `[tokens]`: sums of squares over the channels.
 */
export function nearestSizes(
  energies: readonly number[],
  headDim: number,
  sizes: Float64Array,
): Float64Array<ArrayBuffer> {
  return Float64Array.from(energies, (energy) => {
    let level = 0;
    while (
      level + 1 < NORM_LEVELS && energy >= headDim * sizes[level]! * sizes[level + 1]!
    ) level++;
    return sizes[level]!;
  });
}

/** The numbers of a normalisation, from its parts. */
export function normalisationOf(
  means: readonly MeanGrid[],
  sizes: Float64Array,
): Normalisation {
  return {
    offsets: means.map(({ offset }) => offset),
    meanSteps: means.map(({ step }) => step),
    sizes,
  };
}
