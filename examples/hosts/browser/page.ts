/**
 * A cache in a web page. With `?featureLevel=compatibility` it is on a device of WebGPU's compatibility mode, where the
 * browser has one.
 *
 * @module
 */
import { attend } from "../raw_webgpu.ts";
import { report } from "../report.ts";

await report(async (say) => {
  const featureLevel = new URLSearchParams(location.search).get("featureLevel") ?? "core";
  const options: GPURequestAdapterOptions & { readonly featureLevel: string } = { featureLevel };
  const adapter = await navigator.gpu?.requestAdapter(options);
  if (!adapter) throw new Error("This browser offers no WebGPU adapter");
  const device = await adapter.requestDevice();
  const isCore = device.features.has("core-features-and-limits");
  const difference = await attend(device);
  say(
    `largest difference from float64, ${isCore ? "core" : featureLevel}: ${
      difference.toExponential(1)
    }`,
  );
  device.destroy();
  return { difference, isCore };
});
