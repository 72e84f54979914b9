/**
 * A cache in a web page, on a device of each feature level.
 *
 * @module
 */
import { attend } from "../raw_webgpu.ts";
import { report } from "../report.ts";

/** Levels of WebGPU: all of it, and the subset that older GPUs offer. */
const LEVELS = ["core", "compatibility"] as const;

await report(async (say) => {
  const differences: Record<string, number> = {};
  for (const featureLevel of LEVELS) {
    const options: GPURequestAdapterOptions & { readonly featureLevel: string } = { featureLevel };
    const adapter = await navigator.gpu?.requestAdapter(options);
    if (!adapter) throw new Error("This browser offers no WebGPU adapter");
    const device = await adapter.requestDevice();
    const name = device.features.has("core-features-and-limits") ? "core" : featureLevel;
    const difference = await attend(device);
    say(`largest difference from float64, ${name}: ${difference.toExponential(1)}`);
    device.destroy();
    differences[name] = difference;
  }
  return { differences };
});
