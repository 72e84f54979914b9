/**
 * Kernels with subgroups, which Deno's WebGPU does not have: minutes on SwiftShader. `.ci/run` runs this.
 *
 * @module
 */
import assert from "node:assert/strict";
import { manifest } from "../../generated/manifest.ts";
import { parseKernelName } from "../../mod.ts";
import { findAdapter } from "../../tools/find_adapter.ts";
import { runProject } from "../../tools/project.ts";

Deno.test("every kernel with subgroups agrees with float64 under Dawn, its records bit for bit", async () => {
  const names = manifest.map(({ name }) => name)
    .filter((name) => parseKernelName(name).feature === "subgroups");
  const { environment } = await findAdapter("swiftshader");
  const input = JSON.stringify(names);
  const output = await runProject("tint", "attend.ts", [], { input, environment });
  const results: [string, number, number][] = JSON.parse(output);
  assert.deepEqual(results.map(([name]) => name), names);
  const wrong = results.filter(([, error, tolerance]) => !(error < tolerance));
  assert.deepEqual(wrong, []);
});
