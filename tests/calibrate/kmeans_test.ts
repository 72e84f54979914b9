import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import fc from "fast-check";
import { kmeans, moveClusters } from "../../src/calibrate/kmeans.ts";
import { startCentroids } from "../../src/calibrate/kmeans_start.ts";
import { LloydProgress } from "../../src/calibrate/lloyd.ts";
import { seededRandom } from "../../src/base/random.ts";
import { CoupletError, type CoupletErrorCode } from "../../src/base/errors.ts";
import type { SchemeId } from "../../src/schemes/scheme.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { clusterOnCpu, clusterOnGpu, correlated, samplesOf } from "../helpers/kmeans.ts";
import { normal } from "../helpers/normal.ts";

function isError(code: CoupletErrorCode): (error: unknown) => boolean {
  return (error) => error instanceof CoupletError && error.code === code;
}

Deno.test("seededRandom repeats for equal parts and differs for others", () => {
  function draw(...parts: (number | string)[]): number[] {
    const random = seededRandom(...parts);
    return Array.from({ length: 4 }, () => random.next());
  }
  deepStrictEqual(draw(1, "a"), draw(1, "a"));
  const seeds = [draw(1, "a"), draw(2, "a"), draw(1, "b"), draw("1", "a"), draw(1, "a", 0), draw()];
  strictEqual(new Set(seeds.map(String)).size, seeds.length);
});

Deno.test("seededRandom is uniform: means, variance, and the correlation of neighbours", () => {
  const random = seededRandom(5);
  const numbers = Array.from({ length: 100_000 }, () => random.next() - 0.5);
  const sum = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  ok(Math.abs(sum(numbers)) < 0.004);
  ok(Math.abs(sum(numbers.map((x) => x * x)) - 1 / 12) < 0.001);
  ok(Math.abs(sum(numbers.slice(1).map((x, i) => x * numbers[i]!))) < 0.001);
});

Deno.test("startCentroids draws by weight times squared distance: one from each separated cluster", () => {
  const points = Float64Array.from({ length: 3000 }, (_, i) => (i % 6) * 1000 + Math.sin(i));
  for (let seed = 0; seed < 20; seed++) {
    const weights = new Float64Array(3000).fill(1);
    const start = startCentroids({ points, channels: 1, weights }, 6, seededRandom(seed));
    deepStrictEqual(
      new Set([...start].map((x) => Math.round(x / 1000) + 1)),
      new Set([1, 2, 3, 4, 5, 6]),
    );
  }
});

Deno.test("startCentroids never draws a point of weight zero", () => {
  const points = Float64Array.from({ length: 100 }, (_, i) => i);
  const weights = points.map((x) => x % 2);
  for (let seed = 0; seed < 20; seed++) {
    const start = startCentroids({ points, channels: 1, weights }, 8, seededRandom(seed));
    ok(start.every((x) => x % 2 === 1));
  }
});

Deno.test("startCentroids draws by weight as well: a point far away that counts for nothing is no start", () => {
  const points = Float64Array.from({ length: 300 }, (_, i) => i < 100 ? 0 : i < 200 ? 1 : 100);
  const weights = points.map((x) => x === 100 ? 1e-12 : 1);
  for (let seed = 0; seed < 20; seed++) {
    const start = startCentroids({ points, channels: 1, weights }, 2, seededRandom(seed));
    deepStrictEqual([...start].sort(), [0, 1]);
  }
});

/** Errors and moves of iterations, and whether the last of them is the end; from an energy of 100, with a tolerance of a thousandth. */
const PROGRESS: readonly {
  readonly name: string;
  readonly steps: readonly (readonly [error: number, moved: number])[];
  readonly done: boolean;
}[] = [
  { name: "has begun", steps: [[10, 0]], done: false },
  { name: "still gains", steps: [[10, 0], [9.98, 0]], done: false },
  { name: "gains little", steps: [[10, 0], [9.995, 0]], done: true },
  { name: "gains little, but has moved a cluster", steps: [[10, 0], [9.995, 1]], done: false },
  { name: "gains little after a move", steps: [[10, 0], [9.995, 1], [9.994, 0]], done: true },
  { name: "has no error left", steps: [[1e-15, 0]], done: true },
  { name: "has made all iterations", steps: [[10, 1], [8, 1], [6, 1], [4, 1]], done: true },
];

for (const { name, steps, done } of PROGRESS) {
  Deno.test(`LloydProgress of a group that ${name} is ${done ? "" : "not "}done`, () => {
    const progress = new LloydProgress(100, 4, 1e-3);
    for (const [error, moved] of steps) {
      strictEqual(progress.done, false);
      progress.step(error, moved);
    }
    strictEqual(progress.done, done);
    strictEqual(progress.iterations, steps.length);
    strictEqual(progress.moved, steps.reduce((sum, [, moved]) => sum + moved, 0));
  });
}

Deno.test("moveClusters moves empty clusters to the points of largest weighted error", () => {
  const points = Float64Array.of(0, 1, 10, 20);
  const weights = Float64Array.of(1, 1, 1, 0.1);
  const centroids = Float64Array.of(0, 77, 88);
  const moved = moveClusters([1, 2], points, weights, new Uint32Array(4), centroids, 1);
  strictEqual(moved, 2);
  deepStrictEqual([...centroids], [0, 10, 20]);
});

Deno.test("moveClusters moves to different points, ties to the lowest index, and to none without error", () => {
  const points = Float64Array.of(0, 9, 9, -9, 5, 0);
  const centroids = Float64Array.of(0, 1, 2, 3, 4);
  const ones = new Float64Array(6).fill(1);
  const moved = moveClusters([1, 2, 3, 4], points, ones, new Uint32Array(6), centroids, 1);
  strictEqual(moved, 3);
  deepStrictEqual([...centroids], [0, 9, -9, 5, 4]);
});

Deno.test("kmeans with one centroid gives the weighted mean", () => {
  const random = seededRandom(1);
  const points = Float64Array.from({ length: 300 }, () => normal(random));
  const weights = Float64Array.from({ length: 100 }, () => random.next());
  const { centroids } = kmeans({ points, channels: 3, centroids: 1, weights, random });
  const total = weights.reduce((a, b) => a + b);
  for (let j = 0; j < 3; j++) {
    const mean = weights.reduce((sum, w, i) => sum + w * points[i * 3 + j]!, 0) / total;
    ok(Math.abs(centroids[j]! - mean) < 1e-12);
  }
});

Deno.test("kmeans: a weight pulls its cluster's centroid", () => {
  const points = [0, 1, 100, 101];
  function found(weights: number[]): number[] {
    const random = seededRandom(3);
    const { centroids } = kmeans({ points, channels: 1, centroids: 2, weights, random });
    return [...centroids].sort((a, b) => a - b);
  }
  deepStrictEqual(found([1, 1, 1, 1]), [0.5, 100.5]);
  deepStrictEqual(found([6, 2, 1, 1]), [0.25, 100.5]);
});

Deno.test("kmeans: the scale decides which channels separate clusters, and is undone", () => {
  // Channel 0 spreads more, but channel 1 counts a thousandfold.
  const points = [0, 0, 10, 0, 0, 1, 10, 1];
  const options = { points, channels: 2, centroids: 2 };
  const plain = kmeans({ ...options, random: seededRandom(1) }).centroids;
  deepStrictEqual([...plain].sort(), [0, 0.5, 0.5, 10].sort());
  const scaled = kmeans({ ...options, scale: [1, 1000], random: seededRandom(1) }).centroids;
  deepStrictEqual([...scaled].sort(), [0, 1, 5, 5]);
});

Deno.test("kmeans finds fewer distinct points than centroids without error", () => {
  const points = Float64Array.from({ length: 64 }, (_, i) => i % 3);
  const result = kmeans({ points, channels: 1, centroids: 8, random: seededRandom(1) });
  strictEqual(result.error, 0);
  deepStrictEqual([...new Set(result.centroids)].sort(), [0, 1, 2]);
});

Deno.test("kmeans refuses points that do not divide, and fewer points of weight than centroids", () => {
  const random = seededRandom(1);
  throws(() => kmeans({ points: [1, 2, 3], channels: 2, centroids: 1, random }), isError("shape"));
  throws(
    () => kmeans({ points: [1, 2], channels: 1, centroids: 1, weights: [1], random }),
    isError("shape"),
  );
  throws(() => kmeans({ points: [1, 2], channels: 1, centroids: 4, random }), isError("samples"));
  const weights = [1, 0, 0, 1];
  throws(
    () => kmeans({ points: [1, 2, 3, 4], channels: 1, centroids: 4, weights, random }),
    isError("samples"),
  );
});

const cloud = fc.record({
  seed: fc.nat(1000),
  count: fc.integer({ min: 16, max: 80 }),
  channels: fc.constantFrom(1, 2, 4),
  centroids: fc.constantFrom(1, 2, 8, 16),
  weighted: fc.boolean(),
});

Deno.test("kmeans: more iterations never raise the error, and centroids stay among the points", () => {
  fc.assert(
    fc.property(cloud, ({ seed, count, channels, centroids, weighted }) => {
      const draw = seededRandom(seed, "points");
      const points = Float64Array.from({ length: count * channels }, () => 10 * normal(draw));
      const weights = Float64Array.from({ length: count }, () => weighted ? draw.next() + 0.01 : 1);
      const options = { points, channels, centroids, weights, tolerance: 0 };
      let before = Infinity;
      for (const iterations of [1, 2, 4, 8]) {
        const result = kmeans({ ...options, iterations, random: seededRandom(seed) });
        ok(result.error <= before * (1 + 1e-12));
        before = result.error;
        result.centroids.forEach((value, i) => {
          const channel = points.filter((_, p) => p % channels === i % channels);
          const rounding = 1e-12 * Math.abs(value);
          ok(value >= Math.min(...channel) - rounding);
          ok(value <= Math.max(...channel) + rounding);
        });
      }
    }),
    { seed: 6, numRuns: 60 },
  );
});

Deno.test("kmeans is the same for points that are moved by a power of two", () => {
  fc.assert(
    fc.property(cloud, ({ seed, count, channels, centroids }) => {
      const draw = seededRandom(seed, "points");
      const points = Float64Array.from({ length: count * channels }, () => draw.below(64));
      const options = { channels, centroids };
      const here = kmeans({ ...options, points, random: seededRandom(seed) });
      const there = kmeans({
        ...options,
        points: points.map((x) => x * 4),
        random: seededRandom(seed),
      });
      deepStrictEqual(there.centroids, here.centroids.map((x) => x * 4));
    }),
    { seed: 7, numRuns: 60 },
  );
});

/**
 * Errors of the two paths agree within 0.2 %: each makes the same start, but a sample within f32 rounding of
 * two centroids may go to the other one, from where the runs may part. As a rule they agree to 1e-6.
 */
const ERROR_TOLERANCE = 0.002;

interface Case {
  readonly scheme: SchemeId;
  readonly tokens: number;
  readonly headDim: number;
  readonly weighted?: boolean;
  readonly scaled?: boolean;
  readonly offset?: number;
}

/** Every width; more centroids than one table holds (c8b11, c16b10); tokens that fill no workgroup. */
const CASES: readonly Case[] = [
  { scheme: "c1b1", tokens: 1000, headDim: 8, offset: 50 },
  { scheme: "c1b4", tokens: 1025, headDim: 8, weighted: true },
  { scheme: "c2b4", tokens: 1500, headDim: 8, scaled: true },
  { scheme: "c4b4", tokens: 999, headDim: 16, weighted: true, scaled: true },
  { scheme: "c4b8", tokens: 2048, headDim: 8, offset: -300 },
  { scheme: "c8b8", tokens: 1500, headDim: 16, weighted: true },
  { scheme: "c8b11", tokens: 2100, headDim: 8 },
  { scheme: "c16b4", tokens: 600, headDim: 16, weighted: true, offset: 3 },
  { scheme: "c16b10", tokens: 1400, headDim: 16 },
];

Deno.test("kmeansOnGpu agrees with kmeans", async (t) => {
  const device = await requestTestDevice();
  for (const { scheme, tokens, headDim, weighted, scaled, offset = 0 } of CASES) {
    const name = `${scheme}, ${tokens} tokens, head dimension ${headDim}` +
      (weighted ? ", weighted" : "") + (scaled ? ", scaled" : "");
    await t.step(name, async () => {
      const random = seededRandom(scheme);
      const values = correlated(tokens, [0.3, 0.8], headDim, random).map((x) => x + offset);
      const samples = samplesOf(values, 2, headDim, {
        ...(weighted ? { weights: values.map(() => random.next() ** 4) } : {}),
        ...(scaled
          ? { scale: Float32Array.from({ length: 2 * headDim }, () => 0.01 + random.next()) }
          : {}),
      });
      const gpu = await clusterOnGpu(device, samples, scheme, 1, 12);
      const cpu = clusterOnCpu(samples, scheme, 1, 12);
      strictEqual(gpu.length, cpu.length);
      gpu.forEach(({ error }, group) => {
        const difference = Math.abs(error / cpu[group]!.error - 1);
        ok(difference < ERROR_TOLERANCE, `group ${group} differs by ${difference}`);
      });
    });
  }
  device.destroy();
});

Deno.test("kmeansOnGpu finds kmeans' centroids, to one part in a million of their range, where clusters are separated", async () => {
  const device = await requestTestDevice();
  const random = seededRandom("separated");
  const centres = Array.from({ length: 16 }, () => Array.from({ length: 4 }, () => normal(random)));
  const values = Float32Array.from(
    { length: 2000 * 4 },
    (_, i) => 20 * centres[(i >> 2) % 16]![i & 3]! + 0.01 * normal(random),
  );
  const samples = samplesOf(values, 1, 4);
  const [gpu] = await clusterOnGpu(device, samples, "c4b4", 1, 30);
  const [cpu] = clusterOnCpu(samples, "c4b4", 1, 30);
  const range = Math.max(...cpu!.centroids) - Math.min(...cpu!.centroids);
  gpu!.centroids.forEach((value, i) => {
    ok(Math.abs(value - cpu!.centroids[i]!) < 1e-6 * range, `${value} and ${cpu!.centroids[i]}`);
  });
  device.destroy();
});

Deno.test("kmeansOnGpu gives the same bits in every run", async () => {
  const device = await requestTestDevice();
  const samples = samplesOf(correlated(1200, [0.5], 16, seededRandom(1)), 1, 16);
  const first = await clusterOnGpu(device, samples, "c8b6", 1, 10);
  const second = await clusterOnGpu(device, samples, "c8b6", 1, 10);
  deepStrictEqual(second, first);
  device.destroy();
});

Deno.test("k-means moves empty clusters to samples that the start did not see, on both paths", async () => {
  // The start looks at a part of 3000 samples, which mostly lacks the two rare ones.
  const values = Float32Array.from({ length: 3000 }, (_, i) => i % 2);
  values[1234] = 100;
  values[2345] = 200;
  const samples = samplesOf(values, 1, 1);
  const device = await requestTestDevice();
  let moved = 0;
  for (let seed = 0; seed < 6; seed++) {
    const [cpu] = clusterOnCpu(samples, "c1b2", seed, 30);
    const [gpu] = await clusterOnGpu(device, samples, "c1b2", seed, 30);
    for (const result of [cpu!, gpu!]) {
      // f32 sums of a thousand differences: 200 is off by 2e-5 at most.
      const found = [...result.centroids].sort((a, b) => a - b);
      deepStrictEqual(found.map((x) => Math.round(x * 1e4) / 1e4), [0, 1, 100, 200]);
      moved += result.moved;
    }
    strictEqual(gpu!.moved, cpu!.moved);
    // Of equal centroids the first keeps its samples, so that the same ones are empty, and move to the same samples.
    gpu!.centroids.forEach((value, code) => ok(Math.abs(value - cpu!.centroids[code]!) < 1e-3));
  }
  ok(moved > 0);
  device.destroy();
});

Deno.test("k-means of samples that are all equal gives that value, on both paths", async () => {
  const device = await requestTestDevice();
  for (const value of [0, 3.140625, -1234]) {
    const samples = samplesOf(new Float32Array(300 * 8).fill(value), 1, 8);
    const cpu = clusterOnCpu(samples, "c4b4", 1, 30);
    const gpu = await clusterOnGpu(device, samples, "c4b4", 1, 30);
    for (const { centroids, error } of [...cpu, ...gpu]) {
      strictEqual(error, 0);
      ok(centroids.every((x) => x === value));
    }
  }
  device.destroy();
});

Deno.test("k-means of a channel without variance keeps its value, on both paths", async () => {
  const device = await requestTestDevice();
  const values = correlated(500, [0.5], 4, seededRandom(1)).map((x, i) => i % 4 === 2 ? 7 : x);
  const samples = samplesOf(values, 1, 4);
  const cpu = clusterOnCpu(samples, "c4b4", 1, 30);
  const gpu = await clusterOnGpu(device, samples, "c4b4", 1, 30);
  for (const { centroids } of [...cpu, ...gpu]) {
    ok(centroids.filter((_, i) => i % 4 === 2).every((x) => x === 7));
  }
  device.destroy();
});
