import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import { seededRandom } from "../../src/base/random.ts";
import { centroidNumbers, roundToGrid } from "../../src/codebooks/grid.ts";
import { headCodebookWords } from "../../src/codebooks/device.ts";
import { fromFloat16Bits } from "../../src/base/float16.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../../src/schemes/scheme.ts";

const SCHEMES: readonly SchemeId[] = ["c1b1", "c1b2", "c2b4", "c4b4", "c8b8", "c16b4"];
const HEADS = 2;
const HEAD_DIM = 16;

/** The channel, over all heads, of each place in a codebook. */
function channelAt(at: number, scheme: SchemeId): number {
  const { centroids, channels } = parseScheme(scheme);
  return Math.floor(at / (centroids * channels)) * channels + (at % channels);
}

/** Centroids of channels whose means and spreads differ, and the least and the largest number of each channel. */
function channelNumbers(scheme: SchemeId, seed: number, mean: number, spread: number) {
  const random = seededRandom("grid", scheme, seed);
  const ranges = Array.from({ length: HEADS * HEAD_DIM }, () => ({
    mean: mean * (2 * random.next() - 1),
    spread: spread * random.next(),
    low: Infinity,
    high: -Infinity,
  }));
  const numbers = Float64Array.from(
    { length: HEADS * HEAD_DIM * parseScheme(scheme).centroids },
    (_, at) => {
      const range = ranges[channelAt(at, scheme)]!;
      const number = range.mean + range.spread * (2 * random.next() - 1);
      range.low = Math.min(range.low, number);
      range.high = Math.max(range.high, number);
      return number;
    },
  );
  return { numbers, ranges };
}

/** Centroids of any magnitude, with means that outweigh their spread by far, or not at all. */
const cases = fc.record({
  scheme: fc.constantFrom(...SCHEMES),
  seed: fc.nat(1000),
  mean: fc.constantFrom(0, 1e-3, 1, 300, 30000),
  spread: fc.constantFrom(0, 1e-3, 1, 300, 30000),
});

Deno.test("roundToGrid moves a centroid by half a step of its own channel's range at most", () => {
  fc.assert(
    fc.property(cases, ({ scheme, seed, mean, spread }) => {
      const { numbers, ranges } = channelNumbers(scheme, seed, mean, spread);
      const found = centroidNumbers({ scheme, ...roundToGrid(numbers, scheme) });
      found.forEach((number, at) => {
        const { low, high } = ranges[channelAt(at, scheme)]!;
        // The grid begins at a binary16 number below the least one, and 255 of its steps are off by 2^-23 where they are subnormal.
        const farthest = Math.max(Math.abs(low), Math.abs(high));
        const range = high - low + farthest / 1024;
        const half = (range / 510) * (1 + 1 / 1024) + farthest * 2 ** -24 + 2 ** -23;
        ok(Math.abs(number - numbers[at]!) <= half, `${number} for ${numbers[at]} of ${scheme}`);
      });
    }),
    { seed: 3, numRuns: 200 },
  );
});

Deno.test("centroidNumbers are what f32 arithmetic gives, with and without a fused multiply-add", () => {
  fc.assert(
    fc.property(cases, ({ scheme, seed, mean, spread }) => {
      const rounded = roundToGrid(channelNumbers(scheme, seed, mean, spread).numbers, scheme);
      centroidNumbers({ scheme, ...rounded }).forEach((number, at) => {
        const channel = channelAt(at, scheme);
        const low = fromFloat16Bits(rounded.grid[2 * channel]!);
        const step = fromFloat16Bits(rounded.grid[2 * channel + 1]!) / 64;
        const product = Math.fround(rounded.centroids[at]! * step);
        strictEqual(product, rounded.centroids[at]! * step, "the product is exact");
        strictEqual(number, Math.fround(low + product));
      });
    }),
    { seed: 4, numRuns: 100 },
  );
});

Deno.test("roundToGrid keeps what a grid can hold: its own numbers, one value, and both ends of binary16", () => {
  const { numbers } = channelNumbers("c4b4", 1, 1, 1);
  const once = centroidNumbers({ scheme: "c4b4", ...roundToGrid(numbers, "c4b4") });
  const ends = [-65504, 65504];
  for (const values of [[0, 0], [-3.5, -3.5], [0, 255 / 64], [-2, 253], ends]) {
    const found = centroidNumbers({ scheme: "c1b1", ...roundToGrid(values, "c1b1") });
    if (values === ends) found.forEach((x, i) => ok(Math.abs(x - ends[i]!) < 65504 / 255));
    else deepStrictEqual([...found], values);
  }
  ok(once.every((number, at) => Math.abs(number - numbers[at]!) < 0.01));
});

Deno.test("headCodebookWords counts a word of grid per channel and four levels a word", () => {
  strictEqual(headCodebookWords(parseScheme("f16"), 64), 0);
  strictEqual(headCodebookWords(parseScheme("c1b1"), 64), 64 + 32);
  strictEqual(headCodebookWords(parseScheme("c8b8"), 128), 128 + 128 * 64);
});
