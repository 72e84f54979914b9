import { CoupletError, OPTIONAL_FEATURES } from "../../../../mod.ts";

/** A device, and its adapter's name for people. */
export interface RunDevice {
  readonly device: GPUDevice;
  readonly adapter: string;
}

/**
 * The browser's fastest adapter.
 *
 * @throws {CoupletError} `device` where the browser offers none, with the reason.
 */
export async function requestAdapter(): Promise<GPUAdapter> {
  const gpu: GPU | undefined = navigator.gpu;
  const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (adapter) return adapter;
  throw new CoupletError("device", {
    what: "Kernels cannot run here",
    why: gpu !== undefined
      ? "this browser has WebGPU, but found no adapter it would use"
      : isSecureContext
      ? "this browser has no WebGPU"
      : "browsers offer WebGPU to secure pages alone, and this one came over plain http",
    remedy: gpu !== undefined
      ? "See chrome://gpu, or about:support in Firefox, for the reason; a driver may be too old"
      : isSecureContext
      ? "Open the page in a browser that has WebGPU, such as a current Chrome, Edge, Firefox or Safari"
      : "Serve the page over https, or open it on localhost",
  });
}

/** A device with default limits, and those of the features that kernels use which its adapter has. */
export async function requestDevice(): Promise<RunDevice> {
  const adapter = await requestAdapter();
  const { vendor, architecture, description } = adapter.info;
  const name = description || [vendor, architecture].filter((part) => part !== "").join(" ");
  const requiredFeatures = OPTIONAL_FEATURES.filter((feature) => adapter.features.has(feature));
  return {
    device: await adapter.requestDevice({ requiredFeatures }),
    adapter: name || "an adapter without a name",
  };
}
