/**
 * Centroids in 8 bits. Every channel of a KV head has a grid of 256 evenly spaced numbers, and a
 * centroid stores its index, the level. Such a codebook is half the size of one in binary16.
 *
 * A grid is two binary16 numbers, the lowest one and 64 steps, so that `low + level * step` is
 * rounded at most once, and alike in f32 and in float64, with or without a fused multiply-add. A
 * step of its own would be a subnormal number where values are small, and 256 of them infinite
 * where they are large.
 */
import type { Codebook } from "./codebook.ts";
import { checkOptions, TEXT } from "../base/check_options.ts";
import { NUMBERS, record, typedArray } from "../base/data_kinds.ts";
import { CoupletError } from "../base/errors.ts";
import { floorFloat16Bits, fromFloat16Bits, toFloat16Bits } from "../base/float16.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";

/** Steps that the second number of a grid stands for. */
const GRID_STEPS = 64;

/** The highest level. */
const HIGHEST = 255;

/** What {@linkcode roundToGrid} returns: the parts of a codebook that hold its centroids. */
export type GridCentroids = Pick<Codebook, "centroids" | "grid">;

/**
 * Rounds centroids, each to the nearest number of a grid from its channel's least number to its
 * largest. The error is at most half a step, a 510th of that range. It does not depend on the
 * channel's mean.
 *
 * @param numbers `[keyValueHeads][headDim / channels][2^codeBits][channels]`, within the range of
 * binary16.
 * @throws {CoupletError} `shape` where they are not whole groups of centroids, or the scheme has
 * none.
 */
export function roundToGrid(numbers: ArrayLike<number>, scheme: SchemeId): GridCentroids {
  checkOptions("shape", "Cannot round centroids", { numbers: NUMBERS }, { numbers });
  const { codebook, centroids, channels } = parseScheme(scheme);
  const rows = numbers.length / centroids;
  if (codebook !== "learned" || rows % channels !== 0) {
    throw new CoupletError("shape", {
      what: "Cannot round centroids",
      why: `${numbers.length} numbers are no groups of centroids of ${scheme}`,
      remedy:
        "Give [heads][groups][centroids][channels] numbers, of a scheme with learned codebooks",
    });
  }
  const levels = new Uint8Array(numbers.length);
  const grid = new Uint16Array(2 * rows);
  for (let row = 0; row < rows; row++) {
    const first = Math.floor(row / channels) * centroids * channels + (row % channels);
    const end = first + centroids * channels;
    let low = Infinity;
    let high = -Infinity;
    for (let at = first; at < end; at += channels) {
      low = Math.min(low, numbers[at]!);
      high = Math.max(high, numbers[at]!);
    }
    grid[2 * row] = floorFloat16Bits(low);
    const origin = fromFloat16Bits(grid[2 * row]!);
    grid[2 * row + 1] = toFloat16Bits(((high - origin) / HIGHEST) * GRID_STEPS);
    const step = fromFloat16Bits(grid[2 * row + 1]!) / GRID_STEPS;
    if (step === 0) continue;
    for (let at = first; at < end; at += channels) {
      levels[at] = Math.min(HIGHEST, Math.round((numbers[at]! - origin) / step));
    }
  }
  return { centroids: levels, grid };
}

/** The numbers of a codebook's centroids, in their order. */
export function centroidNumbers(
  codebook: GridCentroids & Pick<Codebook, "scheme">,
): Float32Array<ArrayBuffer> {
  const kind = record<typeof codebook>("{ scheme, centroids, grid } of a codebook", {
    scheme: TEXT,
    centroids: typedArray("Uint8Array"),
    grid: typedArray("Uint16Array"),
  });
  checkOptions("codebook", "Cannot give the centroids of a codebook", { codebook: kind }, {
    codebook,
  });
  const { scheme, centroids, grid } = codebook;
  const { centroids: count, channels } = parseScheme(scheme);
  const numbers = new Float32Array(centroids.length);
  for (let row = 0; row < grid.length / 2; row++) {
    const low = fromFloat16Bits(grid[2 * row]!);
    const step = fromFloat16Bits(grid[2 * row + 1]!) / GRID_STEPS;
    const first = Math.floor(row / channels) * count * channels + (row % channels);
    for (let at = first; at < first + count * channels; at += channels) {
      numbers[at] = low + centroids[at]! * step;
    }
  }
  return numbers;
}
