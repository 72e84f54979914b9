/** Runs a kernel on a device: compiles it, checks it against the CPU reference, and times it. */
import { type KernelInfo, parseKernelName } from "../../../../mod.ts";
import { checkKernel } from "./check_kernel.ts";
import { runCalibration } from "./run_calibration.ts";
import { READ_TOKENS, timeWorkloads } from "./time_kernel.ts";
import {
  isCacheFamily,
  plannedKernels,
  planWorkload,
  refuseSpans,
  requireFeatures,
  uncompressed,
  type Work,
  type Workload,
  workloadOf,
} from "./workload.ts";
import type { RunOptions, RunResult } from "./run_result.ts";

const TIMED: Readonly<Record<Work, (workload: Workload) => string>> = {
  append: ({ stepTokens }) => `appending ${stepTokens} tokens: store, encode keys, encode values`,
  attend: () => "attention of one new token: all its kernels, and the merge of splits",
  read: () => `reading the keys of the last ${READ_TOKENS} tokens into a tensor`,
  fork: () => "a fork: its copy of the exact tier",
  restore: () => "a restored sequence: its pages and its exact tier, put in place",
};

/** Kernels whose names are of these parts take part in each work. */
const TAKING_PART: Readonly<Record<Work, readonly string[]>> = {
  append: ["store", "encode", "page_table"],
  attend: ["attend", "table", "score", "mix", "combine"],
  read: ["decode", "load"],
  fork: ["copy"],
  restore: ["restore"],
};

/**
 * Runs a kernel.
 *
 * @param all The kernels there are, of which the others of its cache are chosen.
 * @throws {CoupletError} as `planCache` and `createCache` do.
 */
export async function runKernel(
  device: GPUDevice,
  kernel: KernelInfo,
  all: readonly KernelInfo[],
  options: RunOptions,
): Promise<RunResult> {
  const parts = parseKernelName(kernel.name);
  refuseSpans(kernel);
  if (!isCacheFamily(parts.family)) return await runCalibration(device, parts, all, options);
  requireFeatures(kernel, device);
  const { tokens, seed, onProgress } = options;
  const workload = workloadOf(kernel, all);
  onProgress("Compiling, and comparing with the float64 reference");
  const checks = await checkKernel(device, workload, seed);
  const compressed = workload.policy.keys !== "f16" || workload.policy.values !== "f16";
  const workloads = compressed ? [workload, uncompressed(workload, all)] : [workload];
  onProgress(`Timing at ${tokens} tokens`);
  const times = await timeWorkloads(device, workloads, tokens);
  return {
    checks,
    timed: TIMED[workload.work](workload),
    times: workloads.map((own, i) => ({
      label: own.policy.keys === own.policy.values
        ? own.policy.keys
        : `${own.policy.keys} keys, ${own.policy.values} values`,
      kernels: plannedKernels(planWorkload(own, tokens, device.features)).filter((name) =>
        TAKING_PART[own.work].includes(parseKernelName(name).family)
      ),
      milliseconds: times[i]!,
    })),
  };
}
