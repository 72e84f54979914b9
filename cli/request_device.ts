/** The WebGPU device that commands compute on. */
import { CoupletError } from "../src/base/errors.ts";
import type { Host } from "./command.ts";

/** Why there is no adapter, and what to do. */
export function noAdapter(what: string, { gpu, checkout, runtime }: Host): CoupletError {
  if (gpu === undefined) {
    return new CoupletError("device", {
      what,
      why: "this runtime offers no WebGPU",
      remedy: "Start Deno with --unstable-webgpu",
    });
  }
  // Dawn is what Node has.
  const versions = runtime.startsWith("Node") ? ", later than 22.3, which Dawn refuses" : "";
  return new CoupletError("device", {
    what,
    why: "WebGPU found no adapter",
    remedy: checkout === undefined
      ? `Install the GPU's driver, or a software driver: on Linux, Mesa's llvmpipe (mesa-vulkan-drivers${versions})`
      : "Run deno task adapter, which says what was tried and what to install",
  });
}

/**
 * A device of the best adapter.
 *
 * @param what What cannot be done without one.
 * @throws {CoupletError} `device` where there is none.
 */
export async function requestDevice(what: string, host: Host): Promise<GPUDevice> {
  const adapter = await host.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw noAdapter(what, host);
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  try {
    return await adapter.requestDevice({
      requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
    });
  } catch (cause) {
    throw new CoupletError("device", {
      what,
      why: `the adapter "${adapter.info.description}" refused a device: ${
        cause instanceof Error ? cause.message : cause
      }`,
      remedy: "Update its driver",
    }, { cause });
  }
}
