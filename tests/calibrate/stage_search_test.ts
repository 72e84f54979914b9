import { deepStrictEqual, ok, rejects } from "node:assert/strict";
import { kernels } from "../../generated/kmeans/kmeans.ts";
import { seededRandom } from "../../src/base/random.ts";
import { createPipeline, findKernel } from "../../src/calibrate/kmeans_dispatch.ts";
import { openGpuSearch } from "../../src/calibrate/kmeans_search_gpu.ts";
import { Pace } from "../../src/calibrate/pace.ts";
import type { CalibrationSamples } from "../../src/calibrate/samples.ts";
import { cpuSearch, type OpenSearch, pointsOfGroup } from "../../src/calibrate/stage_search.ts";
import { samplesOf } from "../helpers/kmeans.ts";
import { normal } from "../helpers/normal.ts";
import { requestTestDevice } from "../../tools/adapter.ts";

const HEADS = 2;
const HEAD_DIM = 64;

/** Searches with which codes are compared. */
interface SearchCase {
  readonly channels: number;
  readonly stages: number;
  readonly centroids: number;
  readonly tokens: number;
}

/** Every width of group, numbers of codes and of stages that schemes have, and samples that fill no workgroup. */
const CASES: readonly SearchCase[] = [
  { channels: 2, stages: 1, centroids: 256, tokens: 100 },
  { channels: 4, stages: 1, centroids: 16, tokens: 1025 },
  { channels: 8, stages: 2, centroids: 256, tokens: 200 },
  { channels: 16, stages: 2, centroids: 16, tokens: 64 },
  { channels: 16, stages: 4, centroids: 256, tokens: 150 },
  { channels: 32, stages: 4, centroids: 256, tokens: 130 },
];

/** Centroids of every group, each stage's half as large as those before, and far from 0 in the first. */
function centroidsOf(
  { channels, stages, centroids }: SearchCase,
  ratio: number,
  groups = (HEADS * HEAD_DIM) / channels,
): Float64Array[][] {
  const random = seededRandom(1, "centroids");
  return Array.from(
    { length: groups },
    () =>
      Array.from({ length: stages }, (_, stage) =>
        Float64Array.from(
          { length: centroids * channels },
          () => (stage === 0 ? 100 : 0) + ratio ** -stage * normal(random),
        )),
  );
}

/** Sums of centroids beside noise. */
function pointsNear(
  { channels, stages, centroids, tokens }: SearchCase,
  found: readonly (readonly Float64Array[])[],
  noise: number,
): CalibrationSamples {
  const random = seededRandom(2, "points");
  const values = Float32Array.from(
    { length: tokens * HEADS * HEAD_DIM },
    () => noise * normal(random),
  );
  for (let first = 0; first < values.length; first += channels) {
    const own = found[(first / channels) % found.length]!;
    for (let stage = 0; stage < stages; stage++) {
      const from = random.below(centroids) * channels;
      for (let i = 0; i < channels; i++) values[first + i]! += own[stage]![from + i]!;
    }
  }
  return samplesOf(values, HEADS, HEAD_DIM);
}

/** Squared error of codes, over all groups. */
function errorOf(
  { values }: CalibrationSamples,
  found: readonly (readonly Float64Array[])[],
  codes: readonly Uint16Array[],
  { channels, stages }: SearchCase,
): number {
  let error = 0;
  codes.forEach((own, group) => {
    for (let token = 0; token < own.length / stages; token++) {
      for (let i = 0; i < channels; i++) {
        let rest = values[token * HEADS * HEAD_DIM + group * channels + i]!;
        for (let stage = 0; stage < stages; stage++) {
          rest -= found[group]![stage]![own[token * stages + stage]! * channels + i]!;
        }
        error += rest * rest;
      }
    }
  });
  return error;
}

function gpuSearch(device: GPUDevice, signal?: AbortSignal): OpenSearch {
  return async (points, channels) => {
    const kernel = findKernel(kernels, "kmeans_search", channels);
    const pipeline = await createPipeline(device, kernel);
    return await openGpuSearch(device, pipeline, points, channels, new Pace(signal));
  };
}

async function codesOf(
  open: OpenSearch,
  points: CalibrationSamples,
  { channels }: SearchCase,
  found: readonly (readonly Float64Array[])[],
): Promise<Uint16Array[]> {
  const search = await open(points, channels);
  const parts: number[] = [];
  try {
    return await search.search(found, (done) => parts.push(done));
  } finally {
    search.close();
    ok(parts.every((part, i) => part > (parts[i - 1] ?? 0)) && parts.at(-1) === 1, `${parts}`);
  }
}

Deno.test("pointsOfGroup() gives a group's own points and weights, or weights of one", () => {
  const values = Float32Array.from({ length: 3 * 2 * 4 }, (_, i) => i);
  const weights = Float32Array.from({ length: 3 * 2 * 2 }, (_, i) => i / 8);
  // Group 3 is the second of head 1.
  const points = Float64Array.of(6, 7, 14, 15, 22, 23);
  deepStrictEqual(pointsOfGroup(samplesOf(values, 2, 4, { weights }), 2, 3), {
    channels: 2,
    points,
    weights: Float64Array.of(3 / 8, 7 / 8, 11 / 8),
  });
  deepStrictEqual(pointsOfGroup(samplesOf(values, 2, 4), 2, 3), {
    channels: 2,
    points,
    weights: Float64Array.of(1, 1, 1),
  });
});

Deno.test("cpuSearch() keeps the points it was given, whatever becomes of them", async () => {
  const one: SearchCase = { channels: 4, stages: 2, centroids: 16, tokens: 40 };
  const found = centroidsOf(one, 2);
  const points = pointsNear(one, found, 0.1);
  const search = await cpuSearch(() => Promise.resolve())(points, one.channels);
  const before = await search.search(found, () => {});
  points.values.fill(0);
  deepStrictEqual(await search.search(found, () => {}), before);
  search.close();
});

Deno.test("openGpuSearch finds the codes of cpuSearch", async (t) => {
  const device = await requestTestDevice();
  const cpu = cpuSearch(() => Promise.resolve());
  const gpu = gpuSearch(device);
  try {
    for (const one of CASES) {
      const { channels, stages, centroids } = one;
      const what = `${stages} stages of ${centroids} centroids of ${channels} channels`;
      await t.step(`all of them where sums are apart: ${what}`, async () => {
        const found = centroidsOf(one, 8);
        const points = pointsNear(one, found, 0.001 * 8 ** -stages);
        const wanted = await codesOf(cpu, points, one, found);
        deepStrictEqual(await codesOf(gpu, points, one, found), wanted);
      });
      await t.step(`sums as near in random points, the same in each run: ${what}`, async () => {
        const found = centroidsOf(one, 1.5);
        const points = pointsNear(one, found, 1);
        const wanted = errorOf(points, found, await codesOf(cpu, points, one, found), one);
        const codes = await codesOf(gpu, points, one, found);
        const error = errorOf(points, found, codes, one);
        ok(Math.abs(error / wanted - 1) < 1e-3, `${error} beside ${wanted}`);
        deepStrictEqual(await codesOf(gpu, points, one, found), codes);
      });
    }
    await t.step("and throws the reason of an abort", async () => {
      const one = CASES[0]!;
      const found = centroidsOf(one, 2);
      const stopped = gpuSearch(device, AbortSignal.abort(new Error("enough")));
      await rejects(codesOf(stopped, pointsNear(one, found, 1), one, found), /enough/);
    });
  } finally {
    device.destroy();
  }
});
