import { type BindingName, bindingSpace } from "../kernels/bindings.ts";
import { messageOf, raise } from "../base/raise.ts";
import type { KernelInfo } from "../kernels/kernel.ts";

/** A compiled kernel and the layout of its bind groups. */
export interface CompiledKernel {
  /** The row it was compiled from. */
  readonly kernel: KernelInfo;
  /** The pipeline. */
  readonly pipeline: GPUComputePipeline;
  /** Layout of bind group 0; `step` has a dynamic offset. */
  readonly layout: GPUBindGroupLayout;
}

/** Compiled once per device, kernel and constants, and shared by all caches of the device. */
const compiled = new WeakMap<GPUDevice, Map<string, Promise<CompiledKernel>>>();

/**
 * Compiles a kernel, or returns it if it was compiled before.
 *
 * @param constants Values of overrides. Those that the kernel does not have are ignored.
 * @throws {CoupletError} `device` where the device refuses the kernel.
 */
export function compileKernel(
  device: GPUDevice,
  kernel: KernelInfo,
  constants: Record<string, number> = {},
): Promise<CompiledKernel> {
  let cache = compiled.get(device);
  if (cache === undefined) compiled.set(device, cache = new Map());
  const own = kernel.overrides.filter((name) => constants[name] !== undefined)
    .map((name) => [name, constants[name]!] as const);
  const id = `${kernel.name} ${own}`;
  let promise = cache.get(id);
  if (promise === undefined) {
    promise = compile(device, kernel, Object.fromEntries(own));
    // A failure is not remembered, so that another try can succeed.
    promise.catch(() => cache.delete(id));
    cache.set(id, promise);
  }
  return promise;
}

function layoutEntry(name: BindingName, binding: number): GPUBindGroupLayoutEntry {
  const type = ({
    "uniform": "uniform",
    "storage, read": "read-only-storage",
    "storage, read_write": "storage",
  } as const)[bindingSpace(name)];
  return { binding, visibility: 4, buffer: { type, hasDynamicOffset: name === "step" } };
}

async function compile(
  device: GPUDevice,
  kernel: KernelInfo,
  constants: Record<string, number>,
): Promise<CompiledKernel> {
  const { wgsl } = await kernel.load();
  const label = kernel.name;
  const layout = device.createBindGroupLayout({ label, entries: kernel.bindings.map(layoutEntry) });
  try {
    const pipeline = await device.createComputePipelineAsync({
      label,
      layout: device.createPipelineLayout({ label, bindGroupLayouts: [layout] }),
      compute: {
        module: device.createShaderModule({ label, code: wgsl }),
        entryPoint: "main",
        constants,
      },
    });
    return { kernel, pipeline, layout };
  } catch (cause) {
    raise(
      "device",
      `Cannot compile the kernel ${kernel.name}`,
      messageOf(cause),
      "Report this, or plan with other schemes",
      { cause },
    );
  }
}
