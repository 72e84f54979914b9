import assert from "node:assert/strict";
import { CoupletError, planCache } from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import type { DemoOptions } from "../../../examples/demo/arguments.ts";
import { describeMemory, extrapolateMemory } from "../../../examples/demo/memory.ts";
import { residentBytes } from "../../../src/plan/sizes.ts";
import { parseSchemePairs } from "../../../examples/demo/scheme_pairs.ts";
import { planSetups, stepSizes } from "../../../examples/demo/setups.ts";
import { type ModelConfig, parseConfig } from "../../../examples/engine/mod.ts";

const config: ModelConfig = parseConfig(
  JSON.parse(
    await Deno.readTextFile(new URL("../../fixtures/tiny-llama/config.json", import.meta.url)),
  ),
);

const options: DemoOptions = {
  model: "",
  pairs: parseSchemePairs("c8b8,c4b8/c8b8"),
  weights: "none",
  context: 512,
  tokens: 4096,
  calibrationTokens: 4096,
  window: 64,
  sinks: 4,
  generate: 0,
  seed: 1,
};

Deno.test("stepSizes: eight sequences together at most, and no more logits than fit", () => {
  assert.deepEqual(stepSizes(3, config), { batch: 3, chunk: 32 });
  assert.deepEqual(stepSizes(20, config), { batch: 8, chunk: 32 });
  const { batch, chunk } = stepSizes(20, { ...config, vocabularySize: 151936 });
  assert.ok(chunk >= 1 && batch * chunk * 151936 <= 2 ** 24);
});

Deno.test("planSetups gives every pair a cache without tiers and one with", () => {
  const setups = planSetups(config, options, stepSizes(8, config));
  assert.deepEqual(setups.map(({ pair }) => pair.id), ["f16", "c8b8", "c4b8/c8b8"]);
  for (const { pair, codesAlone, withTiers, resident } of setups) {
    assert.deepEqual(codesAlone.tiers, { sinks: 0, window: 0 });
    assert.deepEqual(withTiers.tiers, { sinks: 4, window: 64 });
    assert.equal(withTiers.policy.keys, pair.keys);
    assert.equal(withTiers.policy.values, pair.values);
    assert.equal(resident, pair.id === "f16" ? codesAlone : withTiers);
  }
});

Deno.test("planSetups: without window and sinks both caches are one", () => {
  const none = { ...options, window: 0, sinks: 0 };
  for (const { codesAlone, withTiers } of planSetups(config, none, stepSizes(8, config))) {
    assert.equal(codesAlone, withTiers);
  }
});

Deno.test("describeMemory counts the bits the planner counts", () => {
  for (const { resident } of planSetups(config, options, stepSizes(8, config))) {
    const plan = planCache({ ...resident, kernels: manifest });
    const { effectiveBits, timesSmaller } = describeMemory(
      resident,
      residentBytes(plan.bytes),
      residentBytes(plan.bytes),
    );
    assert.equal(effectiveBits, plan.effectiveBits);
    assert.equal(timesSmaller, 1);
  }
});

Deno.test("extrapolateMemory: bits fall towards the nominal ones as the text grows", () => {
  const [f16, c8b8] = planSetups(config, options, stepSizes(8, config));
  const [at4k, at32k] = extrapolateMemory(c8b8!.resident, f16!.resident);
  assert.deepEqual([at4k!.tokens, at32k!.tokens], [4096, 32768]);
  // 2^8 centroids for keys and for values cost half as much as the codes of 4096 tokens do.
  assert.ok(at4k!.effectiveBits > 1.5 && at4k!.effectiveBits < 2.1);
  assert.ok(at32k!.effectiveBits > 1.06 && at32k!.effectiveBits < 1.2);
  assert.ok(at32k!.timesSmaller > at4k!.timesSmaller);
});

Deno.test("planSetups: a pair that no kernel covers fails in the planner", () => {
  const setups = planSetups(
    config,
    { ...options, pairs: parseSchemePairs("c4b5") },
    stepSizes(8, config),
  );
  assert.throws(
    () => planCache({ ...setups[1]!.codesAlone, kernels: manifest }),
    (error) => error instanceof CoupletError && error.code === "kernel",
  );
});
