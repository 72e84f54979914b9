import assert from "node:assert/strict";
import { calibrate, type KeySpace } from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { loadModel } from "../../../examples/engine/mod.ts";
import { rotateHeads } from "../../../examples/engine/rotate_heads.ts";
import { weightedSamples, type Weighting } from "../../../examples/engine/weighted_samples.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import { FIXTURE, largestDifference, readExpected } from "../../helpers/llama.ts";

const device = await requestTestDevice();
const checkpoint = await loadModel(FIXTURE);
const expected = readExpected();
const { layers } = checkpoint.config;

function samplesWith(weighting: Weighting, keySpace: KeySpace = "pre-rope") {
  return weightedSamples({ device, checkpoint, windows: [expected.tokenIds], weighting, keySpace });
}

/** One layer of an expected tensor. */
function layerOf(name: string, layer: number): Float32Array {
  const all = expected.tensor(name);
  const size = all.length / layers;
  return all.subarray(layer * size, (layer + 1) * size);
}

Deno.test("weightedSamples: keys and values of every layer, without weights where none are wanted", async () => {
  const samples = await samplesWith("none");
  assert.deepEqual(
    samples.map(({ layer, side }) => `${layer} ${side}`),
    Array.from({ length: layers }, (_, layer) => [`${layer} keys`, `${layer} values`]).flat(),
  );
  for (const { layer, side, values, weights, scale } of samples) {
    const wanted = layerOf(side === "keys" ? "keys_pre_rope" : "values", layer);
    assert.ok(largestDifference(values, wanted) < 1e-3);
    assert.equal(weights, undefined);
    assert.equal(scale, undefined);
  }
});

Deno.test("weightedSamples: Fisher weights are PyTorch's gradients squared", async () => {
  for (const { layer, side, weights, scale } of await samplesWith("fisher")) {
    const gradients = layerOf(side === "keys" ? "key_gradients" : "value_gradients", layer);
    const wanted = gradients.map((gradient) => gradient ** 2);
    const largest = Math.max(...wanted);
    assert.ok(largestDifference(weights!, wanted) < 1e-3 * largest);
    assert.equal(scale, undefined);
  }
});

Deno.test("weightedSamples: query scales are the keys' alone, and calibration takes both", async () => {
  const samples = await samplesWith("fisher+query");
  for (const { side, weights, scale } of samples) {
    assert.ok(weights);
    assert.equal(scale !== undefined, side === "keys");
    // Between heads nothing is compared: each has a mean square of one.
    const head = scale?.subarray(0, 64) ?? new Float32Array(64).fill(1);
    assert.ok(Math.abs(head.reduce((sum, one) => sum + one * one, 0) / 64 - 1) < 1e-4);
  }
  const { codebooks } = await calibrate({
    device,
    kernels: manifest,
    samples: samples.slice(0, 2),
    schemes: { keys: ["c4b4"], values: ["c4b4"] },
    keySpace: "pre-rope",
    model: checkpoint.fingerprint,
    seed: 1,
  });
  assert.deepEqual(codebooks.map(({ side, scale }) => [side, scale?.length]), [
    ["keys", 128],
    ["values", undefined],
  ]);
});

Deno.test("weightedSamples without a text is refused", async () => {
  await assert.rejects(
    weightedSamples({ device, checkpoint, windows: [], weighting: "none" }),
    { code: "samples" },
  );
});

Deno.test("weightedSamples: keys as they are scored are rotated, and their gradients with them", async () => {
  const rotated = (name: string, layer: number) =>
    rotateHeads(
      Float32Array.from(layerOf(name, layer)),
      [expected.tokenIds.length],
      checkpoint.config.keyValueHeads,
      checkpoint.config,
    );
  const before = await samplesWith("fisher+query");
  const samples = await samplesWith("fisher+query", "as-scored");
  for (const [i, { layer, side, values, weights, scale }] of samples.entries()) {
    if (side === "values") {
      assert.deepEqual({ values, weights, scale }, {
        values: before[i]!.values,
        weights: before[i]!.weights,
        scale: undefined,
      });
      continue;
    }
    assert.ok(largestDifference(values, rotated("keys_pre_rope", layer)) < 1e-3);
    const wanted = rotated("key_gradients", layer).map((gradient) => gradient ** 2);
    assert.ok(largestDifference(weights!, wanted) < 1e-3 * Math.max(...wanted));
    assert.notDeepEqual(scale, before[i]!.scale);
  }
});
