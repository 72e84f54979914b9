/**
 * A cache in a web page.
 *
 * @module
 */
import { attend } from "../raw_webgpu.ts";
import { report } from "../report.ts";

await report(async (say) => {
  const adapter = await navigator.gpu?.requestAdapter();
  if (!adapter) throw new Error("This browser offers no WebGPU adapter");
  const device = await adapter.requestDevice();
  const difference = await attend(device);
  say(`largest difference from float64: ${difference.toExponential(1)}`);
  device.destroy();
  return { difference };
});
