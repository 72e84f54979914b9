/**
 * Runs kernels that attend on Dawn beside the float64 reference: those that need a feature which Deno's WebGPU does not
 * have, subgroups.
 *
 * Run in a process of its own, as `compile.ts` is. Reads a JSON array of kernel names from standard input and writes one
 * of `[name, error, tolerance]`.
 *
 * @module
 */
import { create, globals } from "webgpu";
import { manifest } from "../../generated/manifest.ts";
import { OPTIONAL_FEATURES } from "../../mod.ts";
import { compareWithReference } from "../../tests/helpers/cache_oracle.ts";
import { kernelScenario } from "../../tests/helpers/kernel_tests.ts";

Object.assign(globalThis, globals);
const names: string[] = await new Response(Deno.stdin.readable).json();
const gpu = create([]);
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("Dawn gave no adapter");
const device = await adapter.requestDevice({
  requiredFeatures: OPTIONAL_FEATURES.filter((feature) => adapter.features.has(feature)),
});
// Dawn crashes when the collector takes an object it still uses, so everything is held to the end.
const held: unknown[] = [gpu, adapter, device];
for (const name of ["createBuffer", "createBindGroup", "createCommandEncoder"] as const) {
  const create = device[name].bind(device) as (descriptor: never) => unknown;
  Object.assign(device, {
    [name](descriptor: never): unknown {
      const made = create(descriptor);
      held.push(made);
      return made;
    },
  });
}
const results: [string, number, number][] = [];
for (const kernel of manifest) {
  if (!names.includes(kernel.name)) continue;
  const { tolerance, ...scenario } = kernelScenario(kernel);
  const { plan, error } = await compareWithReference(device, {
    ...scenario,
    features: device.features,
  });
  const [layer] = plan.layers;
  if (layer!.decode.attend?.name !== kernel.name) throw new Error(`${kernel.name} was not planned`);
  results.push([kernel.name, error, tolerance]);
}
console.log(JSON.stringify(results));
// Dawn's own threads would keep the process alive.
Deno.exit(0);
