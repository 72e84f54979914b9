/** Runs the kernels of calibration: pipelines, bind groups, and dispatches in short submissions. */
import { CoupletError } from "../base/errors.ts";
import { bindingSpace } from "../kernels/bindings.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import { formatKernelName, type KernelFamily } from "../kernels/name.ts";
import { kernelSetEntry, kernelSetName } from "../kernels/set.ts";
import { deviceFailure } from "./gpu_memory.ts";
import type { Pace } from "./pace.ts";

/** Bytes of one entry of the batch uniform: the offset alignment of every device. */
export const BATCH_BYTES = 256;

/** Multiply-adds of one submission: a fraction of a second on a software adapter. */
const SUBMISSION_COST = 2e9;

/** A kernel, compiled. */
export interface KmeansPipeline {
  readonly pipeline: GPUComputePipeline;
  /** Resources of its bind group, in order. */
  readonly bindings: KernelInfo["bindings"];
}

/** One dispatch over a run of groups. */
export interface Dispatch {
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
  /** The `Batch` uniform. */
  readonly batch: readonly number[];
  /** Where the centroid table's binding begins, in bytes, for the assignment. */
  readonly table: readonly number[];
  readonly grid: readonly [number, number];
  /** Multiply-adds, roughly. */
  readonly cost: number;
}

/**
 * The kernel of a family for groups of `channels` channels.
 *
 * @throws {CoupletError} `kernel` where it is not among `kernels`.
 */
export function findKernel(
  kernels: readonly KernelInfo[],
  family: KernelFamily,
  channels: number,
): KernelInfo {
  const parts = { family, schemes: [], size: channels };
  const wanted = formatKernelName(parts);
  const kernel = kernels.find(({ name }) => name === wanted);
  if (kernel !== undefined) return kernel;
  throw new CoupletError("kernel", {
    what: "Cannot calibrate on the device",
    why: `${wanted} is not among the ${kernels.length} kernels given`,
    remedy: `Import \`kernels\` from "${
      kernelSetEntry(kernelSetName(parts))
    }" and pass them as well`,
  });
}

/** Compiles a kernel. Its uniforms have dynamic offsets. */
export async function createPipeline(
  device: GPUDevice,
  { name: label, bindings, load }: KernelInfo,
): Promise<KmeansPipeline> {
  const { wgsl } = await load();
  const entries = bindings.map((name, binding): GPUBindGroupLayoutEntry => {
    const space = bindingSpace(name);
    return {
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: space === "uniform"
        ? { type: "uniform", hasDynamicOffset: true }
        : { type: space === "storage, read" ? "read-only-storage" : "storage" },
    };
  });
  const pipeline = await device.createComputePipelineAsync({
    label,
    layout: device.createPipelineLayout({
      bindGroupLayouts: [device.createBindGroupLayout({ entries })],
    }),
    compute: { module: device.createShaderModule({ label, code: wgsl }), entryPoint: "main" },
  }).catch((cause: unknown) => {
    throw deviceFailure(cause);
  });
  return { pipeline, bindings };
}

/** Binds a kernel's resources by name. */
export function bindResources(
  device: GPUDevice,
  { pipeline, bindings }: KmeansPipeline,
  resources: Readonly<Record<string, GPUBufferBinding>>,
): GPUBindGroup {
  return device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: bindings.map((name, binding) => ({ binding, resource: resources[name]! })),
  });
}

/**
 * Runs dispatches in order, in submissions short enough for an abort between them.
 *
 * @param batches Where the `Batch` uniforms go.
 */
export async function submitDispatches(
  device: GPUDevice,
  batches: GPUBuffer,
  dispatches: readonly Dispatch[],
  pace: Pace,
): Promise<void> {
  const stride = BATCH_BYTES / 4;
  const entries = new Uint32Array(dispatches.length * stride);
  dispatches.forEach(({ batch }, i) => entries.set(batch, i * stride));
  device.queue.writeBuffer(batches, 0, entries);
  let next = 0;
  while (next < dispatches.length) {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let cost = 0; next < dispatches.length && cost < SUBMISSION_COST; next++) {
      const dispatch = dispatches[next]!;
      pass.setPipeline(dispatch.pipeline);
      pass.setBindGroup(0, dispatch.bindGroup, [next * BATCH_BYTES, ...dispatch.table]);
      pass.dispatchWorkgroups(...dispatch.grid);
      cost += dispatch.cost;
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    if (next < dispatches.length) {
      await device.queue.onSubmittedWorkDone();
      await pace.pause();
    }
  }
}
