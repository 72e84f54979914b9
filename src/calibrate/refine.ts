/** Centroids of several stages, whose sums are to be near points. */

import { BestSums } from "../schemes/best_sums.ts";

/** Points of one group of channels, and what their errors count. */
export interface StagePoints {
  /** `[count][channels]`. */
  readonly points: Float64Array;
  /** `[count]`. */
  readonly weights: Float64Array;
  /** Channels of a point. */
  readonly channels: number;
}

/** Codes of all points, `[count][stages]`, and their weighted squared error. */
export interface StageCodes {
  readonly codes: Uint16Array;
  readonly error: number;
}

/**
 * The codes of points, by beam search as encoding does it, but over products that are computed once
 * for all sums.
 *
 * @param stages `[stages]` centroids `[centroids][channels]`.
 * @param width Sums that are kept from stage to stage.
 */
export function searchStages(
  { points, weights, channels }: StagePoints,
  stages: readonly Float64Array[],
  width: number,
): StageCodes {
  const count = weights.length;
  const centroids = stages[0]!.length / channels;
  const halves = stages.map((own) => halfSquares(own, channels));
  const products = stages.map((own, stage) =>
    stages.slice(0, stage).map((other) => crossProducts(other, own, channels))
  );
  const codes = new Uint16Array(count * stages.length);
  const dots = new Float64Array(centroids);
  const best = [new BestSums(width), new BestSums(width)];
  // Codes of the sums so far, and of those that extend them.
  let kept = new Uint16Array(width * stages.length);
  let nextKept = kept.slice();
  let error = 0;
  for (let point = 0; point < count; point++) {
    const first = point * channels;
    let square = 0;
    for (let i = 0; i < channels; i++) square += points[first + i]! ** 2;
    let [beam, next] = best as [BestSums, BestSums];
    beam.kept = 1;
    beam.gains[0] = 0;
    for (let stage = 0; stage < stages.length; stage++) {
      const own = stages[stage]!;
      const half = halves[stage]!;
      for (let code = 0, at = 0; code < centroids; code++) {
        let dot = -half[code]!;
        for (let i = 0; i < channels; i++, at++) dot += points[first + i]! * own[at]!;
        dots[code] = dot;
      }
      next.kept = 0;
      for (let parent = 0; parent < beam.kept; parent++) {
        const rows = products[stage]!.map((row, before) =>
          row.subarray(
            kept[parent * stages.length + before]! * centroids,
            (kept[parent * stages.length + before]! + 1) * centroids,
          )
        );
        for (let code = 0; code < centroids; code++) {
          let gain = beam.gains[parent]! + dots[code]!;
          for (let before = 0; before < rows.length; before++) gain -= rows[before]![code]!;
          next.offer(gain, parent, code);
        }
      }
      for (let place = 0; place < next.kept; place++) {
        for (let before = 0; before < stage; before++) {
          nextKept[place * stages.length + before] =
            kept[next.parents[place]! * stages.length + before]!;
        }
        nextKept[place * stages.length + stage] = next.codes[place]!;
      }
      [beam, next] = [next, beam];
      [kept, nextKept] = [nextKept, kept];
    }
    codes.set(kept.subarray(0, stages.length), point * stages.length);
    error += weights[point]! * (square - 2 * beam.gains[0]!);
  }
  return { codes, error };
}

/** Half the squared lengths of centroids. */
function halfSquares(centroids: Float64Array, channels: number): Float64Array {
  return Float64Array.from({ length: centroids.length / channels }, (_, code) => {
    let square = 0;
    for (let i = 0; i < channels; i++) square += centroids[code * channels + i]! ** 2;
    return square / 2;
  });
}

/** Products of all centroids of one stage with all of another, `[centroids][centroids]`. */
function crossProducts(one: Float64Array, other: Float64Array, channels: number): Float64Array {
  const count = one.length / channels;
  const products = new Float64Array(count * count);
  for (let a = 0, at = 0; a < count; a++) {
    for (let b = 0; b < count; b++, at++) {
      let sum = 0;
      for (let i = 0; i < channels; i++) {
        sum += one[a * channels + i]! * other[b * channels + i]!;
      }
      products[at] = sum;
    }
  }
  return products;
}

/**
 * Moves the centroids of each stage in turn to the weighted mean of what the others leave of their
 * points, `sweeps` times: the least squares solution for the given codes, by block coordinate
 * descent. Centroids without points stay.
 *
 * @param ridge Weight of a point at 0 that each centroid has besides its own (ridge regression).
 */
export function updateStages(
  { points, weights, channels }: StagePoints,
  codes: Uint16Array,
  stages: readonly Float64Array[],
  sweeps: number,
  ridge: number,
): void {
  const rest = points.slice();
  const count = weights.length;
  const move = (stage: number, sign: 1 | -1) => {
    const own = stages[stage]!;
    for (let point = 0, at = 0; point < count; point++) {
      const from = codes[point * stages.length + stage]! * channels;
      for (let i = 0; i < channels; i++, at++) rest[at]! += sign * own[from + i]!;
    }
  };
  stages.forEach((_, stage) => move(stage, -1));
  for (let sweep = 0; sweep < sweeps; sweep++) {
    stages.forEach((own, stage) => {
      move(stage, 1);
      const sums = new Float64Array(own.length);
      const totals = new Float64Array(own.length / channels);
      for (let point = 0, at = 0; point < count; point++) {
        const code = codes[point * stages.length + stage]!;
        const weight = weights[point]!;
        totals[code]! += weight;
        for (let i = 0; i < channels; i++, at++) sums[code * channels + i]! += weight * rest[at]!;
      }
      totals.forEach((total, code) => {
        if (total === 0) return;
        for (let i = 0; i < channels; i++) {
          own[code * channels + i] = sums[code * channels + i]! / (total + ridge);
        }
      });
      move(stage, -1);
    });
  }
}
