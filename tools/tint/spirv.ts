/**
 * Prints what Tint, Chrome's compiler, makes of one kernel for Vulkan, as SPIR-V assembly, its overrides at their defaults.
 *
 * Run by `../rdna.ts` in a process of its own, as `compile.ts` is, with a Vulkan adapter in its environment: Dawn writes the
 * assembly among its messages. Reads WGSL from standard input.
 *
 * @module
 */
import { create } from "webgpu";

const code = await new Response(Deno.stdin.readable).text();
const gpu = create(["backend=vulkan", "enable-dawn-features=dump_shaders"]);
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("Dawn gave no adapter");
const device = await adapter.requestDevice({
  requiredFeatures: code.includes("enable subgroups;") ? ["subgroups"] : [],
});
const module = device.createShaderModule({ code });
const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
// Dawn crashes when the collector takes an object it still uses, and its threads would keep the process alive.
if (pipeline !== null) Deno.exit(0);
