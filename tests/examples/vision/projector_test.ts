import assert from "node:assert/strict";
import { embedVideo } from "../../../examples/vision/projector.ts";
import { readVideos } from "../../../examples/vision/videos.ts";
import { loadVisionModel, type VisionModel } from "../../../examples/vision/vision_model.ts";
import { largestDifference } from "../../helpers/llama.ts";
import { readExpectedVision, VISION_FIXTURE } from "../../helpers/vision.ts";

Deno.test("embedVideo gives PyTorch's embeddings", async () => {
  const model = await loadVisionModel(VISION_FIXTURE);
  const [video] = await readVideos(`${VISION_FIXTURE}/examples.safetensors`, model);
  const embedded = embedVideo(model, video!.pixels);
  const expected = readExpectedVision().tensor("visual_embeddings");
  assert.ok(largestDifference(embedded, expected) < 1e-6);
});

Deno.test("embedVideo adds nothing where the model has no tables of places and frames", async () => {
  const model = await loadVisionModel(VISION_FIXTURE);
  const { places: _places, frames: _frames, ...projector } = model.projector;
  const bare: VisionModel = { ...model, projector };
  const black = new Uint8Array(2 * 56 * 56);
  const embedded = embedVideo(bare, black);
  const { hiddenSize } = model.text.config;
  assert.equal(embedded.length, 32 * hiddenSize);
  for (let token = 1; token < 32; token++) {
    const row = embedded.subarray(token * hiddenSize, (token + 1) * hiddenSize);
    assert.deepEqual(row, embedded.subarray(0, hiddenSize));
  }
});

Deno.test("embedVideo knows the exact GELU", async () => {
  const model = await loadVisionModel(VISION_FIXTURE);
  const [video] = await readVideos(`${VISION_FIXTURE}/examples.safetensors`, model);
  const vision = { ...model.vision, activation: "gelu" } as const;
  const exact = embedVideo({ ...model, vision }, video!.pixels);
  const approximate = embedVideo(model, video!.pixels);
  const difference = largestDifference(exact, approximate);
  // The approximation by tanh is off by up to 5e-4 a number, and 256 of them are mixed.
  assert.ok(difference > 1e-6 && difference < 2e-2, `${difference}`);
});

Deno.test("embedVideo refuses pixels that are no whole frames, none or too many", async () => {
  const model = await loadVisionModel(VISION_FIXTURE);
  for (const pixels of [0, 55 * 56, 56 * 56 + 1, 17 * 56 * 56]) {
    assert.throws(() => embedVideo(model, new Uint8Array(pixels)), {
      code: "shape",
      message: /1 to 16 frames of 56 x 56/,
    });
  }
});
