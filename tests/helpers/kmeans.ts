/** Shared by the tests of calibration: samples with known statistics, and runs on both paths. */
import { kernels } from "../../generated/kmeans/kmeans.ts";
import { kmeans } from "../../src/calibrate/kmeans.ts";
import {
  createKmeansPipelines,
  kmeansKernels,
  kmeansOnGpu,
} from "../../src/calibrate/kmeans_gpu.ts";
import { uploadSide } from "../../src/calibrate/kmeans_side.ts";
import { defaultTolerance, type KmeansResult } from "../../src/calibrate/lloyd.ts";
import { Pace } from "../../src/calibrate/pace.ts";
import { type Random, seededRandom } from "../../src/base/random.ts";
import { type CalibrationSamples, groupInput } from "../../src/calibrate/samples.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../../src/schemes/scheme.ts";
import { normal } from "./normal.ts";

/** `[tokens][correlations][headDim]` of unit variance: neighbouring channels of head h correlate by `correlations[h]`. */
export function correlated(
  tokens: number,
  correlations: readonly number[],
  headDim: number,
  random: Random,
): Float32Array {
  const values = new Float32Array(tokens * correlations.length * headDim);
  let at = 0;
  for (let token = 0; token < tokens; token++) {
    for (const rho of correlations) {
      let value = normal(random);
      for (let channel = 0; channel < headDim; channel++) {
        if (channel > 0) value = rho * value + Math.sqrt(1 - rho * rho) * normal(random);
        values[at++] = value;
      }
    }
  }
  return values;
}

/** Samples of layer 0's keys, `[tokens][keyValueHeads][headDim]`. */
export function samplesOf(
  values: Float32Array,
  keyValueHeads: number,
  headDim: number,
  more: Partial<CalibrationSamples> = {},
): CalibrationSamples {
  return { layer: 0, side: "keys", keyValueHeads, headDim, values, ...more };
}

/** Every group's result on the CPU. */
export function clusterOnCpu(
  samples: CalibrationSamples,
  scheme: SchemeId,
  seed: number,
  iterations: number,
): KmeansResult[] {
  const { channels, centroids } = parseScheme(scheme);
  const groups = (samples.keyValueHeads * samples.headDim) / channels;
  return Array.from({ length: groups }, (_, group) =>
    kmeans({
      ...groupInput(samples, channels, group),
      centroids,
      random: seededRandom(seed, group),
      iterations,
    }));
}

/** Every group's result on a device. */
export async function clusterOnGpu(
  device: GPUDevice,
  samples: CalibrationSamples,
  scheme: SchemeId,
  seed: number,
  iterations: number,
): Promise<KmeansResult[]> {
  const { channels, centroids } = parseScheme(scheme);
  const side = await uploadSide(device, samples);
  try {
    const pipelines = await createKmeansPipelines(device, kmeansKernels(kernels, channels));
    return await kmeansOnGpu(device, pipelines, side, {
      scheme,
      random: (group) => seededRandom(seed, group),
      iterations,
      tolerance: defaultTolerance(centroids),
      pace: new Pace(undefined),
      onProgress: () => {},
    });
  } finally {
    side.buffer.destroy();
  }
}
