/** The WebGPU device that commands compute on. */
import { CoupletError } from "../src/base/errors.ts";
import type { Host } from "./command.ts";

/** Where drivers come from, by Node's name of the operating system. */
const DRIVERS: Readonly<Record<string, string>> = {
  linux:
    "Install a Vulkan driver: on Debian and Ubuntu, apt install mesa-vulkan-drivers, for GPUs of " +
    "AMD and Intel, and for the CPU where there is none; NVIDIA's comes with its own driver. In a " +
    "container, pass the GPU on, such as --device /dev/dri",
  darwin: "Update macOS, whose Metal drives the GPU. Virtual machines often have none",
  win32:
    "Install the driver of the GPU's maker. Remote desktops and virtual machines often have none",
};

/** Why there is no adapter, and what to do. */
export function noAdapter(what: string, { gpu, platform, checkout, runtime }: Host): CoupletError {
  if (gpu === undefined) {
    return new CoupletError("device", {
      what,
      why: "this runtime offers no WebGPU",
      remedy: "Start Deno with --unstable-webgpu",
    });
  }
  return new CoupletError("device", {
    what,
    why: "WebGPU found no adapter",
    remedy: [
      DRIVERS[platform] ?? "Install the GPU's driver",
      ...(runtime.startsWith("Node") ? ["Node's Dawn refuses Mesa 22.3 and earlier"] : []),
      ...(checkout === undefined ? [] : ["deno task adapter says what was tried"]),
    ].join(". "),
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
