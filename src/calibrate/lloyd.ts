/**
 * What the CPU's and the GPU's Lloyd iterations share: when they stop, and their result.
 */
/** The default of the most Lloyd iterations. */
export const DEFAULT_ITERATIONS = 30;

/**
 * The relative decrease of its error that an iteration must reach for a group to continue. Many
 * centroids settle one by one, so further iterations gain little: 0.3 % of the error at 256
 * centroids, for half again as many iterations.
 */
export function defaultTolerance(centroids: number): number {
  return centroids <= 64 ? 1e-3 : 3e-3;
}

/** An error below this part of the points' energy is rounding, not distance. */
const ROUNDING = 1e-11;

/** The result of a run of k-means. */
export interface KmeansResult {
  /** `[centroids][channels]`, in the points' own space. */
  readonly centroids: Float64Array<ArrayBuffer>;
  /**
   * Sum over the points of weight times squared distance to the nearest centroid, as the last
   * iteration found it before it moved the centroids; weights are relative to the largest.
   */
  readonly error: number;
  /** Lloyd iterations made. */
  readonly iterations: number;
  /** Empty clusters that were moved, over all iterations. */
  readonly moved: number;
}

/** Follows one group through its iterations. */
export class LloydProgress {
  /** Lloyd iterations made so far. */
  iterations = 0;
  /** Empty clusters moved so far. */
  moved = 0;
  /** The error of the last iteration. */
  error = Infinity;
  /** Whether further iterations would change little. */
  done = false;
  readonly #iterations: number;
  readonly #tolerance: number;
  readonly #negligible: number;

  /**
   * @param energy Sum of weight times squared distance of the points from their mean.
   * @param iterations Most iterations.
   * @param tolerance The least relative decrease of the error for which it continues.
   */
  constructor(energy: number, iterations: number, tolerance: number) {
    this.#negligible = ROUNDING * energy;
    this.#iterations = iterations;
    this.#tolerance = tolerance;
  }

  /** Whether `error` leaves something that moving an empty cluster could improve. */
  improvable(error: number): boolean {
    return error > this.#negligible;
  }

  /**
   * Records an iteration.
   *
   * @param error The error of its assignment.
   * @param moved Empty clusters it moved.
   */
  step(error: number, moved: number): void {
    const settled = moved === 0 && this.iterations > 0 &&
      this.error - error <= this.#tolerance * this.error;
    this.iterations++;
    this.moved += moved;
    this.done = this.iterations >= this.#iterations || !this.improvable(error) || settled;
    this.error = error;
  }
}

/** The centroids, back from the scaled space. */
export function unscaledCentroids(
  centroids: Float64Array,
  channels: number,
  scale: ArrayLike<number> | undefined,
): Float64Array<ArrayBuffer> {
  return Float64Array.from(centroids, (value, i) => value / (scale?.[i % channels] ?? 1));
}
