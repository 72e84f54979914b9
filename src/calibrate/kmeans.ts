/**
 * Weighted k-means on the CPU in float64: the reference of the WebGPU path, and the path without a
 * device.
 */
import { CoupletError } from "../base/errors.ts";
import { type KmeansPoints, startCentroids } from "./kmeans_start.ts";
import {
  DEFAULT_ITERATIONS,
  defaultTolerance,
  type KmeansResult,
  LloydProgress,
  unscaledCentroids,
} from "./lloyd.ts";
import type { Random } from "../base/random.ts";

/** Points with their weights and scale, as they are given. */
export interface KmeansInput {
  /** `[count][channels]`, all finite. */
  readonly points: ArrayLike<number>;
  /** Channels of a point. */
  readonly channels: number;
  /**
   * `[count]`, finite, none negative, at least as many positive as centroids. Defaults to ones.
   */
  readonly weights?: ArrayLike<number> | undefined;
  /** `[channels]`, positive: distances are taken between `x * scale` and `centroid * scale`. */
  readonly scale?: ArrayLike<number> | undefined;
}

/** Options of {@linkcode kmeans}. */
export interface KmeansOptions extends KmeansInput {
  /** Centroids to find. */
  readonly centroids: number;
  /** Random numbers for the start. */
  readonly random: Random;
  /** Most Lloyd iterations. */
  readonly iterations?: number;
  /** Relative decrease of the error below which the run stops. */
  readonly tolerance?: number;
}

/**
 * Weighted k-means: k-means++ start, Lloyd iterations, empty clusters moved to the points of
 * largest weighted error.
 *
 * @throws {CoupletError} `samples` where there are fewer points of positive weight than centroids,
 * and `shape` where the points do not divide into channels.
 */
export function kmeans(options: KmeansOptions): KmeansResult {
  const steps = kmeansSteps(options);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** {@linkcode kmeans}, pausing after the start and after every iteration. */
export function* kmeansSteps(options: KmeansOptions): Generator<void, KmeansResult> {
  const { channels, centroids: clusters, scale, random } = options;
  const scaled = scaledPoints(options, clusters);
  const { points, weights } = scaled;
  const centroids = startCentroids(scaled, clusters, random);
  const codes = new Uint32Array(weights.length);
  const progress = new LloydProgress(
    energy(scaled),
    options.iterations ?? DEFAULT_ITERATIONS,
    options.tolerance ?? defaultTolerance(clusters),
  );
  while (!progress.done) {
    yield;
    const error = assign(points, weights, centroids, channels, codes);
    const empty = update(points, weights, codes, centroids, channels);
    let moved = 0;
    if (empty.length > 0 && progress.improvable(error)) {
      moved = moveClusters(empty, points, weights, codes, centroids, channels);
    }
    progress.step(error, moved);
  }
  return {
    centroids: unscaledCentroids(centroids, channels, scale),
    error: progress.error,
    iterations: progress.iterations,
    moved: progress.moved,
  };
}

/**
 * Points in the space of their distances, and weights relative to the largest, for `centroids`
 * centroids.
 */
export function scaledPoints(
  { points, channels, weights, scale }: KmeansInput,
  centroids: number,
): KmeansPoints {
  const count = points.length / channels;
  if (!Number.isInteger(count) || (weights !== undefined && weights.length !== count)) {
    throw new CoupletError("shape", {
      what: "Cannot cluster the points",
      why: `${points.length} values and ${weights?.length ?? "no"} weights are not ` +
        `points of ${channels} channels with a weight each`,
      remedy: "Give whole points, and one weight per point",
    });
  }
  let largest = 0;
  let positive = 0;
  for (let i = 0; i < count; i++) {
    const weight = weights?.[i] ?? 1;
    largest = Math.max(largest, weight);
    if (weight > 0) positive++;
  }
  if (positive < centroids) {
    throw new CoupletError("samples", {
      what: `Cannot find ${centroids} centroids`,
      why: positive === count
        ? `there are ${count} samples`
        : `${positive} of the ${count} samples have a positive weight`,
      remedy:
        "Give more samples (64 per centroid is good), or use a scheme with fewer bits per code",
    });
  }
  const scaled = new Float64Array(points.length);
  const relative = new Float64Array(count);
  for (let i = 0, p = 0; i < count; i++) {
    relative[i] = (weights?.[i] ?? 1) / largest;
    for (let j = 0; j < channels; j++, p++) scaled[p] = points[p]! * (scale?.[j] ?? 1);
  }
  return { points: scaled, channels, weights: relative };
}

/** Sum of weight times squared distance from the weighted mean. */
export function energy({ points, channels, weights }: KmeansPoints): number {
  let total = 0;
  for (let j = 0; j < channels; j++) {
    let sum = 0;
    let weight = 0;
    for (let i = 0; i < weights.length; i++) {
      sum += weights[i]! * points[i * channels + j]!;
      weight += weights[i]!;
    }
    const mean = sum / weight;
    for (let i = 0; i < weights.length; i++) {
      total += weights[i]! * (points[i * channels + j]! - mean) ** 2;
    }
  }
  return total;
}

/**
 * Writes the code of each point's nearest centroid, ties to the lowest. Returns the weighted error.
 */
function assign(
  points: Float64Array,
  weights: Float64Array,
  centroids: Float64Array,
  channels: number,
  codes: Uint32Array,
): number {
  let error = 0;
  for (let i = 0; i < codes.length; i++) {
    const point = i * channels;
    let best = Infinity;
    let bestCode = 0;
    for (let code = 0, c = 0; c < centroids.length; code++) {
      let distance = 0;
      for (let j = 0; j < channels; j++, c++) {
        const difference = points[point + j]! - centroids[c]!;
        distance += difference * difference;
      }
      if (distance < best) {
        best = distance;
        bestCode = code;
      }
    }
    codes[i] = bestCode;
    error += weights[i]! * best;
  }
  return error;
}

/** Moves each centroid to the weighted mean of its points. Returns the clusters without weight. */
function update(
  points: Float64Array,
  weights: Float64Array,
  codes: Uint32Array,
  centroids: Float64Array,
  channels: number,
): number[] {
  const sums = new Float64Array(centroids.length);
  const totals = new Float64Array(centroids.length / channels);
  for (let i = 0; i < codes.length; i++) {
    const code = codes[i]!;
    const weight = weights[i]!;
    totals[code]! += weight;
    for (let j = 0; j < channels; j++) {
      sums[code * channels + j]! += weight * points[i * channels + j]!;
    }
  }
  const empty: number[] = [];
  totals.forEach((total, code) => {
    if (total === 0) {
      empty.push(code);
      return;
    }
    for (let j = 0; j < channels; j++) {
      centroids[code * channels + j] = sums[code * channels + j]! / total;
    }
  });
  return empty;
}

/**
 * Moves empty clusters to different points, those of largest weighted error from the (moved)
 * centroid of their own cluster. Returns how many were moved.
 */
export function moveClusters(
  empty: readonly number[],
  points: Float64Array,
  weights: Float64Array,
  codes: Uint32Array,
  centroids: Float64Array,
  channels: number,
): number {
  const errors = new Float64Array(codes.length);
  for (let i = 0; i < codes.length; i++) {
    let distance = 0;
    for (let j = 0; j < channels; j++) {
      distance += (points[i * channels + j]! - centroids[codes[i]! * channels + j]!) ** 2;
    }
    errors[i] = weights[i]! * distance;
  }
  const targets = largestErrors(points, errors, channels, empty.length);
  targets.forEach((point, n) => {
    for (let j = 0; j < channels; j++) {
      centroids[empty[n]! * channels + j] = points[point * channels + j]!;
    }
  });
  return targets.length;
}

/**
 * Up to `most` points of largest error, largest first, ties to the lowest index. Points without
 * error, and points equal to one already listed (repeated tokens), are left out.
 */
function largestErrors(
  points: Float64Array,
  errors: Float64Array,
  channels: number,
  most: number,
): number[] {
  const order = Uint32Array.from(errors.keys()).sort((a, b) => errors[b]! - errors[a]! || a - b);
  const targets: number[] = [];
  const seen = new Set<string>();
  for (const point of order) {
    if (targets.length === most || errors[point] === 0) break;
    const place = points.subarray(point * channels, (point + 1) * channels).join();
    if (!seen.has(place)) targets.push(point);
    seen.add(place);
  }
  return targets;
}
