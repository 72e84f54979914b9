/**
 * Compiles WGSL with Tint, Chrome's compiler, on Dawn's null backend, which needs no GPU.
 *
 * Run by `../tint.ts` in a process of its own with the `deno.json` beside this file, a small project
 * apart from the main one: its package is 130 MB and no other task needs it. Reads a JSON array of
 * `[name, source]` from standard input and writes one of `[name, message]` for those that fail.
 *
 * @module
 */
import { create } from "webgpu";
import { extensionFeatures } from "./extensions.ts";

const sources: [string, string][] = await new Response(Deno.stdin.readable).json();
// Dawn crashes when the collector takes an object it still uses, so everything is held to the end.
const held: unknown[] = [];
const gpu = create(["backend=null"]);
held.push(gpu);
/** Devices by the features that a source needs: one that needs none gets no optional feature. */
const devices = new Map<string, GPUDevice>();
const failures: [string, string][] = [];
for (const [name, code] of sources) {
  const requiredFeatures = [...extensionFeatures(code)];
  const id = requiredFeatures.join();
  let device = devices.get(id);
  if (device === undefined) {
    // An adapter gives one device.
    const adapter = await gpu.requestAdapter();
    if (adapter === null) throw new Error("Dawn's null backend gave no adapter");
    devices.set(id, device = await adapter.requestDevice({ requiredFeatures }));
    held.push(adapter);
  }
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ code });
  // A pipeline, too: limits on workgroups and bindings are checked only there.
  held.push(module, device.createComputePipeline({ layout: "auto", compute: { module } }));
  const error = await device.popErrorScope();
  if (error === null) continue;
  const { messages } = await module.getCompilationInfo();
  const lines = messages.map((entry) => `${entry.lineNum}:${entry.linePos} ${entry.message}`);
  failures.push([name, lines.join("\n") || error.message]);
}
console.log(JSON.stringify(failures));
// Dawn's own threads would keep the process alive.
Deno.exit(0);
