/** The kernels that an adapter can run, beside the float64 reference. */
import { type KernelInfo, parseKernelName, type SchemeId } from "../../mod.ts";
import { kernelFeatures } from "../../src/kernels/name.ts";
import { comparedKernels, compareKernel } from "../../tests/helpers/kernel_tests.ts";
import type { GpuBench } from "./results.ts";

/**
 * Compares kernels of a head dimension with the reference until the time is up.
 *
 * @param first Schemes whose kernels come first.
 * @param until When no more begin, as `performance.now()` tells.
 * @param progress Called with the share that is done.
 */
export async function compareKernels(
  device: GPUDevice,
  headDim: number,
  first: readonly SchemeId[],
  until: number,
  progress: (share: number) => void,
): Promise<GpuBench["oracle"]> {
  const runnable = comparedKernels(headDim).filter(({ name }) =>
    kernelFeatures(parseKernelName(name)).every((feature) => device.features.has(feature))
  );
  const early = (kernel: KernelInfo) =>
    parseKernelName(kernel.name).schemes.every((scheme) => first.includes(scheme));
  const inOrder = [...runnable.filter(early), ...runnable.filter((kernel) => !early(kernel))];
  const kernels: GpuBench["oracle"]["kernels"] = [];
  for (const [i, kernel] of inOrder.entries()) {
    if (performance.now() > until) break;
    try {
      const { error, tolerance } = await compareKernel(device, kernel);
      kernels.push({ kernel: kernel.name, error, tolerance });
    } catch (error) {
      // Records that differ, or a kernel that the driver refuses: the other kernels still say something.
      kernels.push({ kernel: kernel.name, failure: String(error).split("\n")[0]! });
    }
    progress((i + 1) / runnable.length);
  }
  return { headDim, runnable: runnable.length, kernels };
}

/** Whether a kernel agrees with the reference. */
export function agrees(one: GpuBench["oracle"]["kernels"][number]): boolean {
  return "error" in one && one.error < one.tolerance;
}
