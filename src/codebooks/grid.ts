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
import { checkOptions } from "../base/check_options.ts";
import { NUMBERS, record, typedArray } from "../base/data_kinds.ts";
import { CoupletError } from "../base/errors.ts";
import {
  floorFloat16Bits,
  fromFloat16Bits,
  LEAST_NORMAL_FLOAT16,
  toFloat16Bits,
} from "../base/float16.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { SCHEME } from "../schemes/policy.ts";
import type { SchemeId } from "../schemes/scheme.ts";

/** Steps that the second number of a grid stands for. */
export const GRID_STEPS = 64;

/** The highest level. */
export const HIGHEST = 255;

/** What {@linkcode roundToGrid} returns: the parts of a codebook that hold its centroids. */
export type GridCentroids = Pick<Codebook, "centroids" | "grid">;

/**
 * Rounds centroids, each to the nearest number of a grid from its channel's least number to its
 * largest. The error is at most half a step, a 510th of that range. It does not depend on the
 * channel's mean.
 *
 * Where the centroids of several stages are added, each stage has a least number of its own, and
 * all have the same step, so large that their levels add up to at most 255. It is never 0.
 *
 * @param numbers `[keyValueHeads][headDim / channels][stages][2^codeBits][channels]`, within the
 * range of binary16.
 * @throws {CoupletError} `shape` where they are not whole groups of centroids, or the scheme has
 * none.
 */
export function roundToGrid(numbers: ArrayLike<number>, scheme: SchemeId): GridCentroids {
  checkOptions("shape", "Cannot round centroids", { numbers: NUMBERS }, { numbers });
  const { codebook, codebookSpec, centroids, channels } = parseScheme(scheme);
  const stages = codebookSpec?.stages ?? 1;
  const rows = numbers.length / (stages * centroids);
  if (codebook !== "learned" || rows % channels !== 0) {
    throw new CoupletError("shape", {
      what: "Cannot round centroids",
      why: `${numbers.length} numbers are no groups of centroids of ${scheme}`,
      remedy:
        "Give [heads][groups][stages][centroids][channels] numbers, of a scheme with learned codebooks",
    });
  }
  const levels = new Uint8Array(numbers.length);
  const grid = new Uint16Array((stages + 1) * rows);
  for (let row = 0; row < rows; row++) {
    const own = grid.subarray((stages + 1) * row, (stages + 1) * (row + 1));
    const spans = stagePlaces(row, stages, centroids, channels);
    let range = 0;
    spans.forEach(({ first, end }, stage) => {
      let low = Infinity;
      let high = -Infinity;
      for (let at = first; at < end; at += channels) {
        low = Math.min(low, numbers[at]!);
        high = Math.max(high, numbers[at]!);
      }
      own[stage] = floorFloat16Bits(low);
      range += high - fromFloat16Bits(own[stage]!);
    });
    const steps = (range / HIGHEST) * GRID_STEPS;
    own[stages] = toFloat16Bits(
      codebookSpec?.stages ? Math.max(LEAST_NORMAL_FLOAT16, steps) : steps,
    );
    const step = fromFloat16Bits(own[stages]!) / GRID_STEPS;
    if (step === 0) continue;
    let left = HIGHEST;
    spans.forEach(({ first, end }, stage) => {
      const origin = fromFloat16Bits(own[stage]!);
      let highest = 0;
      for (let at = first; at < end; at += channels) {
        levels[at] = Math.min(left, Math.round((numbers[at]! - origin) / step));
        highest = Math.max(highest, levels[at]!);
      }
      left -= highest;
    });
  }
  return { centroids: levels, grid };
}

/** Where the numbers of one channel lie, stage by stage; those of a stage are `channels` apart. */
function stagePlaces(row: number, stages: number, centroids: number, channels: number) {
  const size = centroids * channels;
  return Array.from({ length: stages }, (_, stage) => {
    const first = (Math.floor(row / channels) * stages + stage) * size + (row % channels);
    return { first, end: first + size };
  });
}

/**
 * The numbers of a codebook's centroids, in their order, of every KV head: heads that share levels
 * have grids of their own.
 */
export function centroidNumbers(
  codebook: GridCentroids & Pick<Codebook, "scheme">,
): Float32Array<ArrayBuffer> {
  const kind = record<typeof codebook>("{ scheme, centroids, grid } of a codebook", {
    scheme: SCHEME,
    centroids: typedArray("Uint8Array"),
    grid: typedArray("Uint16Array"),
  });
  checkOptions("codebook", "Cannot give the centroids of a codebook", { codebook: kind }, {
    codebook,
  });
  const { scheme, centroids, grid } = codebook;
  const { centroids: count, channels, codebookSpec } = parseScheme(scheme);
  const stages = codebookSpec?.stages ?? 1;
  const rows = grid.length / (stages + 1);
  const numbers = new Float32Array(rows * stages * count);
  for (let row = 0; row < rows; row++) {
    const own = grid.subarray((stages + 1) * row, (stages + 1) * (row + 1));
    const step = fromFloat16Bits(own[stages]!) / GRID_STEPS;
    stagePlaces(row, stages, count, channels).forEach(({ first, end }, stage) => {
      const low = fromFloat16Bits(own[stage]!);
      for (let at = first; at < end; at += channels) {
        numbers[at] = low + centroids[at % centroids.length]! * step;
      }
    });
  }
  return numbers;
}
