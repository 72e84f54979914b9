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

const sources: [string, string][] = await new Response(Deno.stdin.readable).json();
// Dawn crashes when the collector takes an object it still uses, so everything is held to the end.
const held: unknown[] = [];
const gpu = create(["backend=null"]);
const adapter = await gpu.requestAdapter();
held.push(gpu, adapter);
if (adapter === null) throw new Error("Dawn's null backend gave no adapter");
const device = await adapter.requestDevice();
const failures: [string, string][] = [];
for (const [name, code] of sources) {
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
