/** The k-means++ start (Arthur and Vassilvitskii, SODA 2007), on weighted points. */
import type { Random } from "../base/random.ts";

/** Fewest points that a start looks at. */
const MIN_POINTS = 1024;

/** Points that a start looks at per centroid. */
const POINTS_PER_CENTROID = 2;

/** Where k-means starts from. */
export interface KmeansPoints {
  /** `[count][channels]`. */
  readonly points: Float64Array;
  /** Channels of a point. */
  readonly channels: number;
  /** `[count]`, none negative, at least one positive. */
  readonly weights: Float64Array;
}

/**
 * `centroids` points to start from: the first drawn by weight, each further one by weight times
 * squared distance to the nearest one so far. On many points it draws from a random part of them,
 * which keeps the start cheaper than a few Lloyd iterations and changes the result little.
 *
 * @returns `[centroids][channels]`.
 */
export function startCentroids(
  { points, channels, weights }: KmeansPoints,
  centroids: number,
  random: Random,
): Float64Array {
  const chosen = choosePoints(
    weights,
    Math.max(MIN_POINTS, POINTS_PER_CENTROID * centroids),
    random,
  );
  const count = chosen.length;
  const part = new Float64Array(count * channels);
  const importance = new Float64Array(count);
  chosen.forEach((point, i) => {
    for (let j = 0; j < channels; j++) part[i * channels + j] = points[point * channels + j]!;
    importance[i] = weights[point]!;
  });

  const start = new Float64Array(centroids * channels);
  const distances = new Float64Array(count).fill(Infinity);
  // Weight times squared distance; the weight alone before there is any centroid.
  const chances = importance.slice();
  let total = chances.reduce((sum, chance) => sum + chance, 0);
  for (let centroid = 0; centroid < centroids; centroid++) {
    const at = centroid * channels;
    // Where fewer points differ than there are centroids, the rest are duplicates.
    const pick = total > 0 ? drawByChance(chances, total * random.next()) : random.below(count);
    for (let j = 0; j < channels; j++) start[at + j] = part[pick * channels + j]!;

    total = 0;
    for (let i = 0, p = 0; i < count; i++) {
      let distance = 0;
      for (let j = 0; j < channels; j++, p++) {
        const difference = part[p]! - start[at + j]!;
        distance += difference * difference;
      }
      if (distance < distances[i]!) {
        distances[i] = distance;
        chances[i] = importance[i]! * distance;
      }
      total += chances[i]!;
    }
  }
  return start;
}

/** Up to `most` indices of positive weight, drawn without replacement. */
function choosePoints(weights: Float64Array, most: number, random: Random): Uint32Array {
  let usable = new Uint32Array(weights.length);
  let count = 0;
  for (let point = 0; point < weights.length; point++) {
    if (weights[point]! > 0) usable[count++] = point;
  }
  usable = usable.subarray(0, count);
  if (usable.length <= most) return usable;
  for (let i = 0; i < most; i++) {
    const other = i + random.below(usable.length - i);
    const point = usable[other]!;
    usable[other] = usable[i]!;
    usable[i] = point;
  }
  return usable.subarray(0, most);
}

/** The index at which the running sum of `chances` passes `target`. */
function drawByChance(chances: Float64Array, target: number): number {
  let rest = target;
  let last = 0;
  for (let i = 0; i < chances.length; i++) {
    if (chances[i]! > 0) {
      last = i;
      rest -= chances[i]!;
      if (rest < 0) break;
    }
  }
  return last;
}
