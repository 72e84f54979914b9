import { CoupletError } from "@couplet/kv";
import type { Allocation } from "./allocation.ts";

/** The rows a dispatch works on, and where the step's uniform says so. */
export interface Rows {
  /** How many rows. */
  readonly count: number;
  /** Dynamic offset of their slot in the step's buffer. */
  readonly offset: number;
}

/** A kernel with its buffers bound, ready to run on any rows. */
export type Operation = (pass: GPUComputePassEncoder, rows: Rows) => void;

/** What a binding of group 0 is. */
export type BindingKind = "read-only-storage" | "storage" | "uniform";

/** A kernel before it is compiled. */
export interface KernelSource {
  /** WGSL. */
  readonly code: string;
  /** Group 0, in order. */
  readonly bindings: readonly BindingKind[];
}

/** Workgroups of a dispatch, along x, y and z. */
export type Workgroups = readonly [number, number, number?];

/** Compiled kernels, to be bound to buffers. */
export interface KernelSet {
  /** A dispatch of `workgroups(rows)` with these buffers at bindings 0, 1, ... */
  operation(
    name: string,
    buffers: readonly GPUBuffer[],
    workgroups: (rows: number) => Workgroups,
  ): Operation;
  /** A uniform that keeps what it holds. */
  uniform(words: Uint32Array<ArrayBuffer>): GPUBuffer;
}

interface Kernel {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/**
 * Compiles kernels.
 *
 * @param stepBuffer Slots of 256 bytes, each the two words of kernels/common.ts.
 * @throws {CoupletError} `device` where the device refuses one.
 */
export async function compileKernels(
  allocation: Allocation,
  sources: ReadonlyMap<string, KernelSource>,
  stepBuffer: GPUBuffer,
): Promise<KernelSet> {
  const { device } = allocation;
  const stepLayout = device.createBindGroupLayout({
    entries: [{
      binding: 0,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type: "uniform", hasDynamicOffset: true, minBindingSize: 8 },
    }],
  });
  const kernels = new Map<string, Kernel>();
  await Promise.all([...sources].map(async ([name, source]) => {
    kernels.set(name, await compile(device, name, source, stepLayout));
  }));
  const step = device.createBindGroup({
    layout: stepLayout,
    entries: [{ binding: 0, resource: { buffer: stepBuffer, size: 16 } }],
  });
  return {
    operation(name, buffers, workgroups) {
      const { pipeline, layout } = kernels.get(name)!;
      const group = device.createBindGroup({
        label: name,
        layout,
        entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
      return (pass, rows) => {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.setBindGroup(1, step, [rows.offset]);
        pass.dispatchWorkgroups(...workgroups(rows.count));
      };
    },
    uniform(words) {
      const buffer = allocation.create({
        size: Math.ceil(words.byteLength / 16) * 16,
        usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
      });
      device.queue.writeBuffer(buffer, 0, words);
      return buffer;
    },
  };
}

async function compile(
  device: GPUDevice,
  label: string,
  { code, bindings }: KernelSource,
  stepLayout: GPUBindGroupLayout,
): Promise<Kernel> {
  const layout = device.createBindGroupLayout({
    label,
    entries: bindings.map((type, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type },
    })),
  });
  try {
    const pipeline = await device.createComputePipelineAsync({
      label,
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout, stepLayout] }),
      compute: { module: device.createShaderModule({ label, code }), entryPoint: "main" },
    });
    return { pipeline, layout };
  } catch (cause) {
    throw new CoupletError("device", {
      what: `The device refused the kernel "${label}"`,
      why: cause instanceof Error ? cause.message : String(cause),
      remedy: "Use another adapter, and report this one's name",
    }, { cause });
  }
}
