import assert from "node:assert/strict";
import { createCache, planCache } from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import {
  createEngine,
  modelCacheOptions,
  plannedEngineOptions,
} from "../../../examples/engine/mod.ts";
import {
  attendDensely,
  embedTokens,
  type LayerVectors,
  logSumExp,
  referenceNetwork,
} from "../../../examples/engine/reference.ts";
import { rotateHeads } from "../../../examples/engine/rotate_heads.ts";
import { TOKENS_BEFORE_VIDEO, videoPrompt } from "../../../examples/vision/video_prompt.ts";
import { readVideos } from "../../../examples/vision/videos.ts";
import { loadVisionModel } from "../../../examples/vision/vision_model.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import { readBuffer } from "../../../tools/read_buffer.ts";
import { largestDifference } from "../../helpers/llama.ts";
import { EXPECTED_EXAMPLES, readExpectedVision, VISION_FIXTURE } from "../../helpers/vision.ts";

const model = await loadVisionModel(VISION_FIXTURE);
const videos = await readVideos(`${VISION_FIXTURE}/examples.safetensors`, model);
const expected = readExpectedVision();
const { config } = model.text;

/** An example's prompt and its questions with their answers. */
function example(index: number) {
  const { pixels, questions } = videos[index]!;
  const prompt = videoPrompt(model, pixels);
  const text = questions.flatMap(({ tokenIds, answer }) => [...tokenIds, answer]);
  assert.deepEqual([...prompt.tokenIds, ...text], expected.tokenIds(index));
  return { prompt, text };
}

/** Rows of logits that answer, one after the other. */
function answers(logits: ArrayLike<number>, firstRow = 0): Float64Array {
  const width = config.vocabularySize;
  return Float64Array.from(
    expected.answerRows.flatMap((row) =>
      Array.from({ length: width }, (_, i) => logits[(row - firstRow) * width + i]!)
    ),
  );
}

/** Losses of rows of logits, of the answers that follow them. */
function losses(logits: Float64Array, tokenIds: readonly number[]): Float64Array {
  const width = config.vocabularySize;
  return Float64Array.from(expected.answerRows, (row, i) => {
    const own = logits.subarray(i * width, (i + 1) * width);
    return logSumExp(own) - own[tokenIds[row + 1]!]!;
  });
}

Deno.test("referenceNetwork with a video's embeddings agrees with PyTorch", () => {
  for (let index = 0; index < EXPECTED_EXAMPLES; index++) {
    const { prompt, text } = example(index);
    const tokenIds = [...prompt.tokenIds, ...text];
    const embedded = embedTokens(model.text, tokenIds);
    embedded.set(prompt.embedded.vectors, prompt.embedded.first * config.hiddenSize);
    let last: LayerVectors | undefined;
    const logits = answers(referenceNetwork(model.text, embedded, (layer, vectors) => {
      last = vectors;
      return attendDensely(model.text, layer, vectors);
    }));
    assert.ok(largestDifference(logits, expected.logits(index)) < 2e-5);
    assert.ok(largestDifference(losses(logits, tokenIds), expected.losses(index)) < 2e-5);
    if (index > 0) continue;
    const { keys, values } = last!;
    assert.ok(largestDifference(keys, expected.tensor("keys_pre_rope_last_layer")) < 1e-5);
    assert.ok(largestDifference(values, expected.tensor("values_last_layer")) < 1e-5);
  }
});

for (const keySpace of ["pre-rope", "as-scored"] as const) {
  Deno.test(`engine with a video's embeddings agrees with PyTorch within float16, keys ${keySpace}`, async () => {
    const device = await requestTestDevice();
    const plan = planCache({
      ...modelCacheOptions(config, keySpace),
      policy: { keys: "f16", values: "f16" },
      tiers: { sinks: 0, window: 0 },
      // Fewer tokens in a step than the video has, and no divisor of them.
      capacity: {
        sequences: 1,
        tokens: 353,
        sequenceTokens: 353,
        stepTokens: 100,
        appendTokens: 100,
      },
      limits: device.limits,
      kernels: manifest,
    });
    const cache = await createCache({ device, plan });
    const engine = await createEngine({
      device,
      checkpoint: model.text,
      cache,
      ...plannedEngineOptions(plan, config),
    });
    const { prompt, text } = example(0);
    const visual = prompt.tokenIds.length - TOKENS_BEFORE_VIDEO;
    const buffer = () =>
      device.createBuffer({
        size: visual * config.keyValueHeads * config.headDim * 4,
        usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
      });
    const kept = Array.from(
      { length: config.layers },
      () => ({ keys: buffer(), values: buffer() }),
    );
    const sequence = engine.createSequence();
    await engine.forward([{
      sequence,
      ...prompt,
      kept: { first: TOKENS_BEFORE_VIDEO, tokens: visual, layers: kept },
    }]);
    const result = await engine.forward([{ sequence, tokenIds: text }], { logits: "all" });
    const tokenIds = [...prompt.tokenIds, ...text];
    const logits = answers(result.logits![0]!, prompt.tokenIds.length);
    assert.ok(largestDifference(logits, expected.logits(0)) < 0.05);
    assert.ok(largestDifference(losses(logits, tokenIds), expected.losses(0)) < 0.02);

    // What was kept is what the cache was given.
    const { keys, values } = kept.at(-1)!;
    const width = config.keyValueHeads * config.headDim;
    const given = (name: string) =>
      new Float32Array(expected.tensor(name).subarray(0, prompt.tokenIds.length * width));
    const unrotated = given("keys_pre_rope_last_layer");
    const asGiven = keySpace === "pre-rope"
      ? unrotated
      : rotateHeads(unrotated, [prompt.tokenIds.length], config.keyValueHeads, config);
    for (const [found, all] of [[keys, asGiven], [values, given("values_last_layer")]] as const) {
      const numbers = new Float32Array(await readBuffer(device, found));
      assert.ok(largestDifference(numbers, all.subarray(TOKENS_BEFORE_VIDEO * width)) < 0.02);
    }
    engine.destroy();
    cache.destroy();
    device.destroy();
  });
}
