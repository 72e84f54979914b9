/**
 * A cache in Node, on Dawn, the WebGPU of Chrome.
 *
 * @module
 */
import { create, globals } from "webgpu";

// Before the module that uses them is loaded.
Object.assign(globalThis, globals);
const { attend } = await import("../raw_webgpu.ts");

const gpu = create([]);
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("Dawn found no adapter");
console.log(`Dawn on ${adapter.info.description}`);
const device = await adapter.requestDevice();
console.log(`largest difference from float64: ${(await attend(device)).toExponential(1)}`);
device.destroy();
// Dawn's own threads would keep the process alive.
process.exit(0);
