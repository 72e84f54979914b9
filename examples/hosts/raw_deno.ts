/**
 * A cache in Deno, on WebGPU as it is: `deno run --unstable-webgpu examples/hosts/raw_deno.ts`.
 *
 * @module
 */
import { attend } from "./raw_webgpu.ts";

const adapter = await navigator.gpu.requestAdapter();
if (adapter === null) throw new Error("WebGPU found no adapter");
const device = await adapter.requestDevice();
console.log(`largest difference from float64: ${(await attend(device)).toExponential(1)}`);
device.destroy();
