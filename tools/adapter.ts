/**
 * The WebGPU device that tests, benchmarks and the demo run on.
 *
 * The launcher (`launch.ts`) finds the adapter and sets the environment; this module asks for it from
 * inside the started program. It works without the launcher too, on whatever adapter WebGPU gives.
 *
 * @module
 */
import { CoupletError } from "../src/base/errors.ts";
import { adapterLine, type AdapterReport, classifyAdapter } from "./adapters.ts";

/** The variable in which the launcher tells the started program what adapter to expect. */
export const ADAPTER_VARIABLE = "COUPLET_ADAPTER";

/** What a test, a benchmark or the demo needs of its device, beyond WebGPU's defaults. */
export interface TestDeviceOptions {
  /** Features the device must have; none by default. */
  readonly requiredFeatures?: readonly GPUFeatureName[];
  /** Limits the device must have; WebGPU's defaults by default. */
  readonly requiredLimits?: Readonly<Record<string, number>>;
}

/**
 * Requests a device for a test, a benchmark or the demo. A missing adapter is an error, never a
 * reason to skip.
 *
 * A lost device, and a WebGPU error that no error scope catches, end the program or fail the test
 * file: Deno would let both pass in silence.
 *
 * @throws {CoupletError} `device` where there is no adapter, it is not the one the launcher found, or
 * it lacks what is required.
 */
export async function requestTestDevice(options: TestDeviceOptions = {}): Promise<GPUDevice> {
  const { adapter, report } = await requestAdapter();
  const expected = Deno.env.get(ADAPTER_VARIABLE);
  if (expected === undefined) {
    console.error(adapterLine(report));
  } else if (expected !== report.name) {
    throw deviceError(
      `WebGPU gave the adapter "${report.name}" where the launcher had found "${expected}"`,
      "Choose one with --adapter hardware, llvmpipe or swiftshader",
    );
  }
  const missing = (options.requiredFeatures ?? []).filter((name) => !adapter.features.has(name));
  if (missing.length > 0) {
    throw deviceError(
      `The adapter "${report.name}" lacks the features ${missing.join(", ")}`,
      "Choose another with --adapter",
    );
  }
  let device: GPUDevice;
  try {
    device = await adapter.requestDevice({
      requiredFeatures: [...options.requiredFeatures ?? []],
      requiredLimits: { ...options.requiredLimits },
    });
  } catch (cause) {
    throw deviceError(
      `The adapter "${report.name}" refused: ${cause instanceof Error ? cause.message : cause}`,
      "Ask for smaller limits, or choose another adapter with --adapter",
      cause,
    );
  }
  device.addEventListener("uncapturederror", (event) => {
    const { error } = event as GPUUncapturedErrorEvent;
    queueMicrotask(() => {
      throw error;
    });
  });
  device.lost.then(({ reason, message }) => {
    if (reason !== "destroyed") throw deviceError(`The device was lost: ${message}`, "Try again");
  });
  return device;
}

/** Says in a few words what device this is, for a table's or a file's heading. */
export function describeDevice(device: GPUDevice): AdapterReport {
  return reportAdapter(device.adapterInfo, device.features);
}

/**
 * Requests the adapter every program of this project runs on, and reports what it is.
 *
 * @throws {CoupletError} `device` where WebGPU has none.
 */
export async function requestAdapter(): Promise<{ adapter: GPUAdapter; report: AdapterReport }> {
  // Sorts a GPU before a software driver where the system has both.
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw deviceError(
      "WebGPU found no adapter",
      "Run deno task adapter, which says what was tried and what to install",
    );
  }
  return { adapter, report: reportAdapter(adapter.info, adapter.features) };
}

/**
 * Computes one small number on an adapter and reads it back.
 *
 * @throws {CoupletError} `device` where the number is wrong.
 */
export async function runProbe(adapter: GPUAdapter): Promise<void> {
  const device = await adapter.requestDevice();
  const module = device.createShaderModule({
    code: `@group(0) @binding(0) var<storage, read_write> cells: array<u32>;
      @compute @workgroup_size(1) fn main() { cells[0] = cells[0] + 42u; }`,
  });
  const pipeline = device.createComputePipeline({ layout: "auto", compute: { module } });
  const cells = device.createBuffer({
    size: 4,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  });
  const copy = device.createBuffer({
    size: 4,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(
    0,
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer: cells } }],
    }),
  );
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(cells, 0, copy, 0, 4);
  device.queue.submit([encoder.finish()]);
  await copy.mapAsync(GPUMapMode.READ);
  const [cell] = new Uint32Array(copy.getMappedRange());
  if (cell !== 42) {
    throw deviceError(
      `The adapter "${adapter.info.description}" computed ${cell} where 42 was due`,
      "Update its driver, or choose another adapter with --adapter",
    );
  }
  device.destroy();
}

function reportAdapter(info: GPUAdapterInfo, features: GPUSupportedFeatures): AdapterReport {
  const name = info.description || [info.vendor, info.architecture, info.device].join(" ").trim();
  // Older versions of Deno keep this flag on the adapter alone.
  const isFallback = "isFallbackAdapter" in info && info.isFallbackAdapter === true;
  return {
    name,
    kind: classifyAdapter(name, isFallback),
    f16: features.has("shader-f16"),
  };
}

function deviceError(why: string, remedy: string, cause?: unknown): CoupletError {
  return new CoupletError("device", { what: "No WebGPU device to run on", why, remedy }, { cause });
}
