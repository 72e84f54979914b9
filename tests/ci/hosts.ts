/**
 * The example hosts that take long, or install much; `.ci/run` runs them.
 *
 * @module
 */
import assert from "node:assert/strict";
import { runNode } from "../../examples/hosts/run_node.ts";
import { findChromium } from "../helpers/browser.ts";
import { runPage } from "../helpers/run_page.ts";

const chromium = await findChromium();
const ignore = chromium === undefined;

Deno.test("node_dawn attends in Node as float64 does", async () => {
  const output = await runNode();
  const [, difference] = /^largest difference from float64: (\S+)$/m.exec(output) ?? [];
  assert.ok(Number(difference) < 2e-5, output);
});

Deno.test({
  name:
    "the browser page attends on a compatibility device as float64 does (ignored without a Chromium on PATH)",
  ignore,
  async fn() {
    const found = await runPage(chromium!, "browser", "?featureLevel=compatibility");
    assert.ok(Number(found.difference) < 2e-5, `it differs by ${found.difference}`);
    // Older ones give a core device, whatever is asked for.
    console.log(found.isCore ? "This Chromium has core devices alone" : "In compatibility mode");
  },
});

Deno.test({
  name:
    "onnxruntime_web goes on from a stored prompt as from its own tensors (ignored without a Chromium on PATH)",
  ignore,
  async fn() {
    const found = await runPage(chromium!, "onnxruntime_web") as Record<string, number>;
    assert.equal(found.tensorBytes, 240 * 4 * 2 * 2 * 64 * 4);
    assert.ok(found.stored! < found.tensorBytes! / 2.5, `${found.stored} bytes are stored`);
    assert.ok(found.divergence! < 0.01, `the divergence is ${found.divergence}`);
    assert.ok(found.divergence! > 0, "nothing was compressed");
    assert.ok(found.perplexity! < 60, `the model's own perplexity is ${found.perplexity}`);
  },
});

Deno.test({
  name:
    "transformers_js goes on from a parked prompt as from its own cache (ignored without a Chromium on PATH)",
  ignore,
  async fn() {
    const found = await runPage(chromium!, "transformers_js");
    assert.ok(
      Number(found.parked) < Number(found.tensorBytes) / 2.5,
      `${found.parked} bytes are parked`,
    );
    assert.ok(String(found.wanted).length > 20, String(found.wanted));
    // Greedy, so one token that differs changes all behind it; the first ones are sure.
    assert.equal(String(found.found).slice(0, 12), String(found.wanted).slice(0, 12));
  },
});
