/** Families of models in the engine, beside forward passes written in Python from the published code. */
import assert from "node:assert/strict";
import {
  type CodebookSet,
  createCache,
  createReferenceCache,
  type KeySpace,
  planCache,
  type Policy,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { learnCodebooks } from "../../../examples/engine/codebooks.ts";
import { createGradientEngine } from "../../../examples/engine/gradients.ts";
import { modelRopes } from "../../../examples/engine/layer_ropes.ts";
import {
  type Checkpoint,
  createEngine,
  MODEL_TYPES,
  modelCacheInit,
  modelCacheOptions,
  onlyRope,
  plannedEngineOptions,
} from "../../../examples/engine/mod.ts";
import {
  embedTokens,
  referenceForward,
  referenceNetwork,
} from "../../../examples/engine/reference.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import { largestDifference, withBindings } from "../../helpers/llama.ts";
import { loadRandomModel, type RandomModel, randomModels } from "../../helpers/random_model.ts";

/** Of the largest logit: logits are stored in float32. */
const STORED = 1e-7;

/**
 * Of the largest logit: keys and values held as float16 are off by 2^-12 of themselves, which softmax
 * and some layers make several times as much. What is wrong in any layer's attention makes ten times it.
 */
const HALF = 0.008;

/** Of the largest logit: codes of vectors computed in float32 and in float64 are the same but for ties. */
const CODED = 0.01;

/** What codes of these models change at least, of the largest logit. */
const COMPRESSED = 0.1;

/** Fewer than models see at most, and more than a page, so that every tier and window is in use. */
const TIERS = { sinks: 4, window: 8 };

const device = await requestTestDevice();
const models = randomModels();

interface Coding {
  readonly policy: Policy;
  readonly codebooks?: CodebookSet;
}

const EXACT: Coding = { policy: { keys: "f16", values: "f16" } };

/** Logits with the library's cache on a device, in two steps. */
async function deviceLogits(
  checkpoint: Checkpoint,
  tokenIds: readonly number[],
  { policy, codebooks }: Coding,
  keySpace: KeySpace = "pre-rope",
  engineDevice = device,
): Promise<Float32Array> {
  const plan = planCache({
    ...modelCacheOptions(checkpoint.config, keySpace),
    policy,
    tiers: TIERS,
    capacity: { sequences: 1, tokens: 128, sequenceTokens: 128, stepTokens: 48, appendTokens: 48 },
    limits: device.limits,
    kernels: manifest,
  });
  const cache = await createCache({
    device,
    plan,
    ...modelCacheInit(checkpoint),
    ...(codebooks ? { codebooks } : {}),
  });
  const engine = await createEngine({
    device: engineDevice,
    checkpoint,
    cache,
    ...plannedEngineOptions(plan, checkpoint.config),
  });
  const sequence = engine.createSequence();
  const { logits } = await engine.forward([{ sequence, tokenIds }], { logits: "all" });
  engine.destroy();
  cache.destroy();
  return logits![0]!;
}

/** Logits with the float64 cache, and the rest of the network in float64. */
function referenceLogits(
  checkpoint: Checkpoint,
  tokenIds: readonly number[],
  { policy, codebooks }: Coding,
): Float64Array {
  const cache = createReferenceCache({
    ...modelCacheOptions(checkpoint.config),
    policy,
    tiers: TIERS,
    capacity: { appendTokens: tokenIds.length },
    ...modelCacheInit(checkpoint),
    ...(codebooks ? { codebooks } : {}),
  });
  const sequence = cache.createSequence();
  const step = cache.beginStep([{ sequence, tokens: tokenIds.length }]);
  const embedded = embedTokens(checkpoint, tokenIds);
  return referenceNetwork(checkpoint, embedded, (layer, { queries, keys, values }) => {
    cache.append(step, layer, {
      keys: Float32Array.from(keys),
      values: Float32Array.from(values),
    });
    return Float64Array.from(cache.attend(step, layer, { queries: Float32Array.from(queries) }));
  });
}

/** Rows whose two largest logits differ by more than `gap`, and the largest of each. */
function likeliest(
  logits: ArrayLike<number>,
  vocabulary: number,
  gap: number,
): Map<number, number> {
  const found = new Map<number, number>();
  for (let row = 0; row * vocabulary < logits.length; row++) {
    const own = Array.from({ length: vocabulary }, (_, i) => logits[row * vocabulary + i]!);
    const [first, second] = own.toSorted((a, b) => b - a) as [number, number];
    if (first - second > gap) found.set(row, own.indexOf(first));
  }
  return found;
}

function largest(logits: Float32Array): number {
  return logits.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0);
}

function named(name: string): RandomModel {
  return models.find((model) => model.name === name)!;
}

Deno.test("families: every one that the engine runs has a model", () => {
  const tried = new Set(models.map(({ config }) => config.model_type));
  assert.deepEqual([...tried].sort(), [...MODEL_TYPES].sort());
});

for (const model of models) {
  Deno.test(`families: logits of ${model.name} are the published code's`, async () => {
    const { tokens, logits } = model;
    const checkpoint = await loadRandomModel(model);
    const { config } = checkpoint;
    const scale = largest(logits);
    const exact = referenceForward(checkpoint, tokens).logits;
    assert.ok(largestDifference(exact, logits) < STORED * scale);

    // Where the engine rotates itself, with more than frequencies.
    const { ropes } = modelRopes(config);
    const turns = ropes.length > 1 || ropes[0]!.attentionFactor !== 1;
    for (const space of ["pre-rope", ...(turns ? ["as-scored"] as const : [])] as const) {
      const found = await deviceLogits(checkpoint, tokens, EXACT, space);
      const difference = largestDifference(found, logits) / scale;
      assert.ok(difference < HALF, `keys ${space}: ${difference} of the largest logit`);
      const sure = likeliest(logits, config.vocabularySize, 2 * HALF * scale);
      const same = likeliest(found, config.vocabularySize, 0);
      assert.ok(sure.size > tokens.length / 2);
      for (const [row, token] of sure) assert.equal(same.get(row), token, `token ${row}`);
    }
  });
}

Deno.test("families: experts whose matrices no binding holds", async () => {
  // Of 196 KB, in pieces that end within an expert.
  const model = named("gpt_oss, bf16");
  const { tokens, logits } = model;
  const checkpoint = await loadRandomModel(model);
  const small = withBindings(device, 65536);
  const found = await deviceLogits(checkpoint, tokens, EXACT, "pre-rope", small);
  assert.ok(largestDifference(found, logits) < HALF * largest(logits));
});

for (const name of ["llama, yarn", "gemma3_text", "gpt_oss, mxfp4"]) {
  for (const scheme of name === "gemma3_text" ? ["u8b8", "c4b4"] as const : ["u8b8"] as const) {
    Deno.test(`families: ${name} with a cache in ${scheme} is as in float64`, async () => {
      const model = named(name);
      const { tokens, logits } = model;
      const checkpoint = await loadRandomModel(model);
      const codebooks = scheme === "u8b8" ? undefined : await learnCodebooks({
        device,
        checkpoint,
        tokenIds: Array.from({ length: 256 }, (_, t) => (5 * t * t + t) % 32),
        source: "test",
        schemes: { keys: [scheme], values: [scheme] },
        seed: 1,
      });
      const coding: Coding = {
        policy: { keys: scheme, values: scheme },
        ...(codebooks ? { codebooks } : {}),
      };
      const scale = largest(logits);
      const expected = referenceLogits(checkpoint, tokens, coding);
      const found = await deviceLogits(checkpoint, tokens, coding);
      const difference = largestDifference(found, expected) / scale;
      assert.ok(difference < CODED, `${difference} of the largest logit`);
      const lost = largestDifference(expected, logits) / scale;
      assert.ok(lost > COMPRESSED, `codes change ${lost} of the largest logit`);
    });
  }
}

Deno.test("families: packed experts of another type or without scales are refused", async () => {
  const model = named("gpt_oss, mxfp4");
  const name = "model.layers.*.mlp.experts.down_proj";
  const { [`${name}_scales`]: scales, ...others } = model.tensors;
  const refused = (tensors: RandomModel["tensors"], message: RegExp) =>
    assert.rejects(loadRandomModel({ ...model, tensors }), { code: "file", message });
  await refused(others, /lacks model.layers.0.mlp.experts.down_proj_scales/);
  const wrong = { dtype: "F32", shape: scales!.shape, step: 1 } as const;
  await refused({ ...others, [`${name}_scales`]: wrong }, /down_proj_scales.*its type is F32/);
});

Deno.test("families: what needs Llama's network refuses others, with what differs", async () => {
  const gemma = await loadRandomModel(named("gemma3_text"));
  const yarn = await loadRandomModel(named("llama, yarn"));
  const sinks = await loadRandomModel(named("gpt_oss, bf16"));
  const gradients = (checkpoint: Checkpoint) =>
    createGradientEngine({ device, checkpoint, windowTokens: 32 });
  const code = "usage";
  const message = /gemma3_text.*rotary embedding, sliding windows.*norms of outputs/;
  await assert.rejects(gradients(gemma), { code, message });
  await assert.rejects(gradients(sinks), { code, message: /learned sinks.*experts/ });
  assert.throws(() => onlyRope(gemma.config), { code, message: /layers differ/ });
  assert.throws(() => onlyRope(yarn.config), { code, message: /multiplies them by 1\.13/ });
});

Deno.test("families: plannedEngineOptions refuses a plan without what a model has", async () => {
  const { config } = await loadRandomModel(named("gemma2"));
  const { shape: { slidingWindow: _, ...everything }, ...options } = modelCacheOptions(config);
  const { softcap: _softcap, ...unbounded } = options;
  const { scale: _scale, ...unscaled } = options;
  const full = modelCacheOptions(config).shape;
  for (
    const [own, message] of [
      [{ ...options, shape: everything }, /slidingWindow 0 in layer 0 and the model has 24/],
      [{ ...unbounded, shape: full }, /softcap 0 and the model has 5/],
      [{ ...unscaled, shape: full }, /scale 0\.125 in layer 0 and the model has 0\.144/],
    ] as const
  ) {
    const plan = planCache({
      ...own,
      policy: EXACT.policy,
      tiers: TIERS,
      capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 8, appendTokens: 8 },
      kernels: manifest,
    });
    assert.throws(() => plannedEngineOptions(plan, config), { code: "shape", message });
  }
});
