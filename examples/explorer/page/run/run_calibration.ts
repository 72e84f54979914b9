/** Runs the k-means kernels: codebooks learned on the device beside those learned on the CPU. */
import {
  calibrate,
  type CodebookSet,
  type KernelInfo,
  type KernelNameParts,
  parseScheme,
} from "../../../../mod.ts";
import { seededRandom } from "../../../../src/base/random.ts";
import type { RunOptions, RunResult } from "./run_result.ts";

const TOKENS = 2048;
const HEAD_DIM = 64;

/** Largest relative difference of the errors of both codebooks that passes: rounding may move a cluster. */
const TOLERANCE = 0.01;

/**
 * Learns codebooks of groups of as many channels as the kernel's name says, which all k-means
 * kernels take part in: the search only where centroids are added.
 */
export async function runCalibration(
  device: GPUDevice,
  { family, size }: Pick<KernelNameParts, "family" | "size">,
  kernels: readonly KernelInfo[],
  { seed, onProgress }: Pick<RunOptions, "seed" | "onProgress">,
): Promise<RunResult> {
  const channels = size!;
  const isAdded = family === "kmeans_search";
  const { id: scheme } = parseScheme(
    isAdded ? `n${channels}b4x2` : `c${channels}b${Math.min(6, 2 * channels)}`,
  );
  const random = seededRandom(seed, "samples");
  const values = Float32Array.from({ length: TOKENS * HEAD_DIM }, () => random.next() * 2 - 1);
  async function learn(where: { readonly device?: GPUDevice }): Promise<[CodebookSet, number]> {
    const start = performance.now();
    const set = await calibrate({
      samples: [{ layer: 0, side: "keys", keyValueHeads: 1, headDim: HEAD_DIM, values }],
      schemes: { keys: [scheme], values: [] },
      keySpace: "as-scored",
      model: { name: "random", digest: `seed ${seed}` },
      seed,
      kernels,
      ...where,
    });
    return [set, performance.now() - start];
  }
  onProgress("Learning a codebook on the CPU");
  const [wanted, cpu] = await learn({});
  onProgress("Learning it on the device");
  const [found, gpu] = await learn({ device });
  const error = ({ codebooks }: CodebookSet) => codebooks[0]!.fit!.errors[0]!;
  const difference = Math.abs(error(found) / error(wanted) - 1);
  const once = (time: number) => ({ median: time, least: time, most: time });
  return {
    checks: [{
      what: "Codebook",
      found: `its mean squared error differs by ${(100 * difference).toFixed(3)} % from that of ` +
        `the CPU's; at most ${100 * TOLERANCE} % passes`,
      passed: difference <= TOLERANCE,
    }],
    timed: `learning a codebook of ${scheme} from ${TOKENS} tokens of ${HEAD_DIM} channels, once`,
    times: [
      {
        label: "device",
        kernels: ["assign", "update", ...(isAdded ? ["search"] : [])].map((name) =>
          `kmeans_${name}_c${channels}`
        ),
        milliseconds: once(gpu),
      },
      { label: "CPU", kernels: [], milliseconds: once(cpu) },
    ],
  };
}
