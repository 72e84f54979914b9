import assert from "node:assert/strict";
import {
  calibrate,
  CoupletError,
  type CoupletErrorCode,
  createCache,
  planCache,
  type SchemeId,
} from "../../../mod.ts";
import { manifest } from "../../../generated/manifest.ts";
import type { CalibrationSamples, CodebookSet, ValueRotation } from "../../../mod.ts";
import {
  type Checkpoint,
  createEngine,
  foldRotations,
  loadModel,
  modelCacheOptions,
  plannedEngineOptions,
  rotateValues,
} from "../../../examples/engine/mod.ts";
import { referenceForward } from "../../../examples/engine/reference.ts";
import { weightedSamples } from "../../../examples/engine/weighted_samples.ts";
import {
  decodeCodebooks,
  encodeCodebooks,
  estimateSensitivities,
  valueRotation,
} from "../../../mod.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import {
  FIXTURE,
  type Json,
  largestDifference,
  randomTensors,
  readExpected,
  singleFile,
  TINY,
  withModel,
} from "../../helpers/llama.ts";

const device = await requestTestDevice();
const fixture = await loadModel(FIXTURE);
const { tokenIds } = readExpected();

/** Rotations of each layer's values in a float64 run. */
function rotationsOf({ config, weights }: Checkpoint, tokens: readonly number[]): ValueRotation[] {
  const { keyValueHeads, headDim } = config;
  return referenceForward({ config, weights }, tokens).values.map((values, layer) =>
    valueRotation(
      {
        layer,
        side: "values",
        keyValueHeads,
        headDim,
        values: Float32Array.from(values),
      } satisfies CalibrationSamples,
    )
  );
}

function isError(code: CoupletErrorCode, part: string): (error: unknown) => boolean {
  return (error) =>
    error instanceof CoupletError && error.code === code && error.message.includes(part);
}

const MODELS: Record<string, Json> = {
  "three query heads to a KV head": TINY,
  "biases of the value projection": { ...TINY, model_type: "qwen2" },
  "biases of all projections": { ...TINY, attention_bias: true },
  "head norms": { ...TINY, model_type: "qwen3" },
};

for (const [name, config] of Object.entries(MODELS)) {
  Deno.test(`foldRotations leaves what a model computes as it was: ${name}`, async () => {
    await withModel(singleFile(config, randomTensors(config, "F16")), async (folder) => {
      const checkpoint = await loadModel(folder);
      const tokens = Array.from({ length: 40 }, (_, i) => (i * i * 7 + i) % 300);
      const rotations = rotationsOf(checkpoint, tokens);
      const before = referenceForward(checkpoint, tokens);
      const after = referenceForward(foldRotations(checkpoint, rotations), tokens);
      // Weights are rounded to float32 once more, and logits of random weights are some tens.
      assert.ok(largestDifference(before.logits, after.logits) < 1e-4);
      rotations.forEach(({ headDim, keyValueHeads, axes }, layer) => {
        const values = before.values[layer]!;
        const wanted = values.map((_, at) => {
          const channel = at % headDim;
          const row = (Math.floor(at / headDim) % keyValueHeads) * headDim + channel;
          let sum = 0;
          for (let i = 0; i < headDim; i++) {
            sum += axes[row * headDim + i]! * values[at - channel + i]!;
          }
          return sum;
        });
        assert.ok(largestDifference(after.values[layer]!, wanted) < 1e-4);
        assert.ok(largestDifference(after.values[layer]!, values) > 0.1);
      });
    });
  });
}

Deno.test("foldRotations rotates the layers it is given alone", () => {
  const [, second] = rotationsOf(fixture, tokenIds);
  const { layers } = foldRotations(fixture, [second!]).weights;
  assert.deepEqual(
    layers.map((layer, i) => layer === fixture.weights.layers[i]),
    [true, false, true, true],
  );
});

Deno.test("foldRotations makes another model of it: one for each choice of rotations", () => {
  const rotations = rotationsOf(fixture, tokenIds);
  const digests = [rotations, rotations.slice(1), rotations.slice(0, 3)].map((some) =>
    foldRotations(fixture, some).fingerprint.digest
  );
  assert.equal(new Set([fixture.fingerprint.digest, ...digests]).size, 4);
  const turned = foldRotations(fixture, rotations.toReversed());
  assert.equal(turned.fingerprint.digest, digests[0]);
  assert.match(turned.fingerprint.name, /values rotated/);
});

Deno.test("foldRotations refuses rotations of another shape, two for a layer, and a second time", () => {
  const rotations = rotationsOf(fixture, tokenIds);
  const first = rotations[0]!;
  const cases: [Checkpoint, ValueRotation[], CoupletErrorCode, string][] = [
    [fixture, [{ ...first, layer: 4 }], "shape", "layer 4"],
    [fixture, [{ ...first, headDim: 32, keyValueHeads: 4 }], "shape", "4 heads of 32"],
    [fixture, [first, first], "shape", "two rotations"],
    [foldRotations(fixture, rotations), rotations, "usage", "already"],
  ];
  for (const [checkpoint, some, code, part] of cases) {
    assert.throws(() => foldRotations(checkpoint, some), isError(code, part));
  }
});

/** Logits of a run through the library's cache, every token coded. */
async function cachedLogits(
  checkpoint: Checkpoint,
  scheme: SchemeId,
  codebooks?: CodebookSet,
): Promise<Float32Array> {
  const tokens = tokenIds.length;
  const plan = planCache({
    ...modelCacheOptions(checkpoint.config),
    policy: { keys: "f16", values: scheme },
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens,
      sequenceTokens: tokens,
      stepTokens: tokens,
      appendTokens: tokens,
    },
    limits: device.limits,
    kernels: manifest,
  });
  const cache = await createCache({
    device,
    plan,
    model: checkpoint.fingerprint,
    ...(codebooks ? { codebooks } : {}),
  });
  const engine = await createEngine({
    device,
    checkpoint,
    cache,
    ...plannedEngineOptions(plan, checkpoint.config),
  });
  try {
    const sequence = engine.createSequence();
    const { logits } = await engine.forward([{ sequence, tokenIds }], { logits: "all" });
    return logits![0]!;
  } finally {
    engine.destroy();
    cache.destroy();
  }
}

Deno.test("rotateValues: an f16 cache gives the same logits, and codebooks lose less, in their own model alone", async () => {
  const windows = [tokenIds.slice(0, 96)];
  const rotated = await rotateValues({ device, checkpoint: fixture, windows });
  const difference = largestDifference(
    await cachedLogits(rotated, "f16"),
    await cachedLogits(fixture, "f16"),
  );
  assert.ok(difference < 0.03, `${difference}`);

  const losses: number[] = [];
  const sets: CodebookSet[] = [];
  for (const checkpoint of [fixture, rotated]) {
    const samples = await weightedSamples({ device, checkpoint, windows, weighting: "fisher" });
    const set = await calibrate({
      samples,
      schemes: { keys: [], values: ["c4b4"] },
      keySpace: "pre-rope",
      model: checkpoint.fingerprint,
      valueRotations: checkpoint.valueRotations,
      seed: 1,
    });
    sets.push(set);
    losses.push(estimateSensitivities(set, samples).reduce((sum, { loss }) => sum + loss, 0));
  }
  assert.ok(losses[1]! < 0.95 * losses[0]!, `${losses}`);

  const kept = decodeCodebooks(encodeCodebooks(sets[1]!), { model: rotated.fingerprint });
  assert.deepEqual(kept, sets[1]);
  assert.deepEqual(foldRotations(fixture, kept.valueRotations!).fingerprint, rotated.fingerprint);
  assert.ok((await cachedLogits(rotated, "c4b4", kept)).every(Number.isFinite));
  await assert.rejects(cachedLogits(fixture, "c4b4", kept), isError("codebook", "values rotated"));
  await assert.rejects(cachedLogits(rotated, "c4b4", sets[0]), isError("codebook", "tiny-llama"));
});
