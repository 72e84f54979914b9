/**
 * Lets Dawn compile kernels for the Vulkan driver of the environment, which writes what it makes of them to standard error.
 *
 * Run by `../null_device.ts` in a process of its own, as `compile.ts` is. Reads a JSON array of
 * `[name, source, constants]` from standard input, and marks on standard error where each kernel's output begins. Prints
 * the driver's name and the version of Dawn's package as JSON.
 *
 * @module
 */
import { create } from "webgpu";
import project from "./deno.json" with { type: "json" };
import { extensionFeatures } from "./extensions.ts";

type Kernel = [name: string, code: string, constants: Record<string, number>];
const kernels: Kernel[] = await new Response(Deno.stdin.readable).json();
// Dawn crashes when the collector takes an object it still uses, so everything is held to the end.
const held: unknown[] = [];
const gpu = create(["backend=vulkan"]);
held.push(gpu);
/** An adapter gives one device. */
async function requestAdapter(): Promise<GPUAdapter> {
  const adapter = await gpu.requestAdapter();
  if (adapter === null) throw new Error("Dawn gave no adapter");
  held.push(adapter);
  return adapter;
}
const { info: { description } } = await requestAdapter();
/** Devices by the features that a source needs. */
const devices = new Map<string, GPUDevice>();
for (const [name, code, constants] of kernels) {
  const requiredFeatures = [...extensionFeatures(code)];
  const id = requiredFeatures.join();
  let device = devices.get(id);
  if (device === undefined) {
    devices.set(id, device = await (await requestAdapter()).requestDevice({ requiredFeatures }));
  }
  console.error(`== ${name}`);
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  held.push(
    module,
    device.createComputePipeline({ layout: "auto", compute: { module, constants } }),
  );
  const error = await device.popErrorScope();
  if (error !== null) throw new Error(`${name}: ${error.message}`);
}
console.log(JSON.stringify([description, project.imports.webgpu.replace(/^.*@/, "")]));
// Dawn's own threads would keep the process alive.
Deno.exit(0);
