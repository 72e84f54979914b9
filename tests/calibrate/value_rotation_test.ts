import { deepStrictEqual, ok, throws } from "node:assert/strict";
import { calibrate, type CalibrationSamples, valueRotation } from "../../mod.ts";
import { principalAxes } from "../../src/calibrate/principal_axes.ts";
import { seededRandom } from "../../src/base/random.ts";
import { dealtOrder } from "../../src/calibrate/value_rotation.ts";
import { CoupletError, type CoupletErrorCode } from "../../src/base/errors.ts";
import { largestDifference } from "../helpers/llama.ts";
import { normal } from "../helpers/normal.ts";

const HEADS = 2;
const CHANNELS = 16;
const TOKENS = 1024;

/** Correlated values: neighbours share most of what they do, and a head's first channels do most of it. */
function someValues(seed: string): CalibrationSamples & { readonly side: "values" } {
  const random = seededRandom(seed);
  const values = new Float32Array(TOKENS * HEADS * CHANNELS);
  for (let at = 0; at < values.length; at += CHANNELS) {
    const head = (at / CHANNELS) % HEADS;
    let level = 0;
    for (let i = 0; i < CHANNELS; i++) {
      level = 0.7 * level + normal(random) * Math.exp(-i / (4 + head));
      values[at + i] = level + 0.5 * head;
    }
  }
  return { layer: 3, side: "values", keyValueHeads: HEADS, headDim: CHANNELS, values };
}

/** Values as the model with the rotation folded in computes them. */
function rotated(samples: CalibrationSamples, axes: Float32Array): CalibrationSamples {
  const values = new Float32Array(samples.values.length);
  for (let at = 0; at < values.length; at++) {
    const channel = at % CHANNELS;
    const row = ((at / CHANNELS | 0) % HEADS) * CHANNELS + channel;
    for (let i = 0; i < CHANNELS; i++) {
      values[at]! += axes[row * CHANNELS + i]! * samples.values[at - channel + i]!;
    }
  }
  return { ...samples, values };
}

/** Sums of products of two channels over the tokens of one head, their means taken off. */
function covariance({ values }: CalibrationSamples, head: number): number[][] {
  const column = (channel: number) => {
    const all = Array.from(
      { length: TOKENS },
      (_, token) => values[(token * HEADS + head) * CHANNELS + channel]!,
    );
    const mean = all.reduce((sum, one) => sum + one) / TOKENS;
    return all.map((one) => one - mean);
  };
  const columns = Array.from({ length: CHANNELS }, (_, i) => column(i));
  return columns.map((a) => columns.map((b) => a.reduce((sum, x, i) => sum + x * b[i]!, 0)));
}

function isError(code: CoupletErrorCode, ...parts: string[]): (error: unknown) => boolean {
  return (error) =>
    error instanceof CoupletError && error.code === code &&
    parts.every((part) => error.message.includes(part));
}

for (const size of [1, 2, 7, 64]) {
  Deno.test(`principalAxes diagonalises a symmetric matrix of ${size} rows, largest first`, () => {
    const random = seededRandom("symmetric", size);
    const matrix = new Float64Array(size * size);
    for (let i = 0; i < size; i++) {
      for (let j = 0; j <= i; j++) {
        matrix[i * size + j] = matrix[j * size + i] = normal(random);
      }
    }
    const kept = matrix.slice();
    const axes = principalAxes(matrix, size);
    deepStrictEqual(matrix, kept);
    let last = Infinity;
    for (let a = 0; a < size; a++) {
      const axis = axes.subarray(a * size, (a + 1) * size);
      ok(Math.max(...axis) >= -Math.min(...axis), `the largest component of axis ${a} is negative`);
      for (let b = 0; b < size; b++) {
        let product = 0;
        let entry = 0;
        for (let i = 0; i < size; i++) {
          product += axes[a * size + i]! * axes[b * size + i]!;
          for (let j = 0; j < size; j++) {
            entry += axes[a * size + i]! * matrix[i * size + j]! * axes[b * size + j]!;
          }
        }
        ok(Math.abs(product - (a === b ? 1 : 0)) < 1e-12, `axes ${a} and ${b}: ${product}`);
        if (a !== b) ok(Math.abs(entry) < 1e-11, `entry ${a}, ${b}: ${entry}`);
        else {
          ok(entry <= last + 1e-12);
          last = entry;
        }
      }
    }
  });
}

Deno.test("principalAxes of a matrix that is diagonal or zero are the channels themselves", () => {
  deepStrictEqual([...principalAxes(Float64Array.of(1, 0, 0, 4), 2)], [0, 1, 1, 0]);
  deepStrictEqual([...principalAxes(new Float64Array(4), 2)], [1, 0, 0, 1]);
});

Deno.test("dealtOrder of 16 channels halves, quarters and eighths them alike", () => {
  deepStrictEqual(dealtOrder(16), [0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15]);
});

for (const channels of [8, 24, 64, 80, 96, 128, 256]) {
  Deno.test(`dealtOrder of ${channels} channels deals ranks out to the groups of every width`, () => {
    const order = dealtOrder(channels);
    deepStrictEqual(order.toSorted((a, b) => a - b), Array.from({ length: channels }, (_, i) => i));
    for (const width of [1, 2, 4, 8, 16].filter((width) => channels % width === 0)) {
      const groups = channels / width;
      for (let group = 0; group < groups; group++) {
        const ranks = order.slice(group * width, (group + 1) * width).toSorted((a, b) => a - b);
        deepStrictEqual(ranks, ranks.map((_, i) => ranks[0]! % groups + i * groups));
      }
    }
  });
}

Deno.test("valueRotation is orthonormal, decorrelates each head's channels, and evens groups out", () => {
  const samples = someValues("a");
  const rotation = valueRotation(samples);
  const { axes } = rotation;
  deepStrictEqual({ ...rotation, axes: axes.length }, {
    layer: 3,
    keyValueHeads: HEADS,
    headDim: CHANNELS,
    axes: HEADS * CHANNELS * CHANNELS,
  });
  for (let head = 0; head < HEADS; head++) {
    const own = axes.subarray(head * CHANNELS ** 2, (head + 1) * CHANNELS ** 2);
    for (let a = 0; a < CHANNELS; a++) {
      for (let b = 0; b < CHANNELS; b++) {
        let product = 0;
        for (let i = 0; i < CHANNELS; i++) {
          product += own[a * CHANNELS + i]! * own[b * CHANNELS + i]!;
        }
        ok(Math.abs(product - (a === b ? 1 : 0)) < 1e-6);
      }
    }
    const before = covariance(samples, head);
    const after = covariance(rotated(samples, axes), head);
    const largest = Math.max(...after.map((row, i) => row[i]!));
    after.forEach((row, i) =>
      row.forEach((entry, j) => ok(i === j || Math.abs(entry) < 1e-4 * largest, `${i}, ${j}`))
    );
    const spread = (matrix: number[][]) => {
      const sums = [0, 4, 8, 12].map((first) =>
        matrix.slice(first, first + 4).reduce((sum, row, i) => sum + row[first + i]!, 0)
      );
      return Math.max(...sums) / Math.min(...sums);
    };
    ok(spread(after) < spread(before) / 2, `${spread(before)} to ${spread(after)}`);
  }
});

Deno.test("valueRotation gives equal axes for equal samples, and axes of each head's own", () => {
  const one = valueRotation(someValues("a"));
  deepStrictEqual(valueRotation(someValues("a")), one);
  const half = one.axes.length / 2;
  ok(largestDifference(one.axes.subarray(0, half), one.axes.subarray(half)) > 0.1);
});

Deno.test("valueRotation lets codebooks of the same size lose less of correlated values", async () => {
  const samples = someValues("a");
  const losses: number[] = [];
  for (const one of [samples, rotated(samples, valueRotation(samples).axes)]) {
    const { codebooks: [codebook] } = await calibrate({
      samples: [one],
      schemes: { keys: [], values: ["c4b4"] },
      keySpace: "as-scored",
      model: { name: "noise", digest: "none" },
      seed: 1,
    });
    losses.push(codebook!.fit!.errors.reduce((sum, error) => sum + error));
  }
  ok(losses[1]! < 0.8 * losses[0]!, `${losses}`);
});

Deno.test("valueRotation refuses keys, weights, scales, and samples that cannot be used", () => {
  const samples = someValues("a");
  const ones = new Float32Array(samples.values.length).fill(1);
  const broken = samples.values.slice();
  broken[5] = NaN;
  const cases: [CalibrationSamples, CoupletErrorCode, string][] = [
    [{ ...samples, side: "keys" }, "usage", "rotary"],
    [{ ...samples, weights: ones }, "usage", "weights"],
    [{ ...samples, scale: ones.slice(0, HEADS * CHANNELS) }, "usage", "scales"],
    [{ ...samples, values: broken }, "samples", "NaN"],
    [
      { ...samples, values: samples.values.slice(0, 15 * HEADS * CHANNELS) },
      "samples",
      "15 tokens",
    ],
    [{ ...samples, values: samples.values.slice(1) }, "shape", "do not divide"],
  ];
  valueRotation({ ...samples, values: samples.values.slice(0, 16 * HEADS * CHANNELS) });
  for (const [wrong, code, part] of cases) {
    throws(() => valueRotation(wrong), isError(code, part, "layer 3"), part);
  }
});
