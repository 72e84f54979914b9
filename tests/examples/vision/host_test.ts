import assert from "node:assert/strict";
import { questionTokens, readAnswers } from "../../../examples/vision/answers.ts";
import { type SpanPart, VisionHost } from "../../../examples/vision/host.ts";
import { readVideos } from "../../../examples/vision/videos.ts";
import { loadVisionModel } from "../../../examples/vision/vision_model.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import { readBuffer } from "../../../tools/read_buffer.ts";
import { largestDifference } from "../../helpers/llama.ts";
import { readExpectedVision, VISION_FIXTURE } from "../../helpers/vision.ts";

const model = await loadVisionModel(VISION_FIXTURE);
const videos = await readVideos(`${VISION_FIXTURE}/examples.safetensors`, model);

Deno.test("a VisionHost answers as PyTorch does, from ordinary tokens and from spans that keep them exactly", async () => {
  const device = await requestTestDevice();
  const exact = { keys: "f16", values: "f16", tokens: 256, count: 1 } as const;
  const host = await VisionHost.create({
    device,
    model,
    spans: { whole: exact, some: exact, others: exact, coded: { ...exact, keys: "sc1" } },
    textTokens: 96,
  });
  const { pixels, questions } = videos[0]!;
  const seen = await host.read(pixels);
  const tokenIds = questionTokens(questions);
  const ask = async (sequence: Parameters<typeof host.ask>[1]) => {
    const logits = await host.ask(seen, sequence, tokenIds);
    host.free(sequence);
    return logits;
  };
  const ordinary = await ask(host.exact(seen));
  const expected = readExpectedVision();
  const losses = readAnswers(model, questions, ordinary).map(({ loss }) => loss);
  assert.ok(largestDifference(losses, expected.losses(0)) < 0.02);

  const even = Array.from({ length: 128 }, (_, i) => 2 * i);
  const odd = even.map((i) => i + 1);
  const same: readonly (readonly SpanPart[])[] = [
    [{ name: "whole" }],
    [{ name: "some", indices: odd }, { name: "others", indices: even }],
  ];
  for (const parts of same) {
    assert.ok(largestDifference(await ask(host.compress(seen, parts)), ordinary) < 0.02);
  }
  const layers = await Promise.all(seen.layers.map(async ({ keys, values }) => ({
    keys: new Float32Array(await readBuffer(device, keys)),
    values: new Float32Array(await readBuffer(device, values)),
  })));
  assert.ok(largestDifference(await ask(host.substitute(seen, layers)), ordinary) < 0.02);

  for (const parts of [[], [{ name: "some", indices: even }], [{ name: "coded" }]]) {
    assert.ok(largestDifference(await ask(host.compress(seen, parts)), ordinary) > 1);
  }
  // Everything was given back: another video is read, of fewer frames, and forgotten.
  host.forget(seen);
  const short = await host.read(videos[1]!.pixels.subarray(0, 4 * 56 * 56));
  assert.equal(short.tokens, 64);
  const logits = await host.ask(short, host.compress(short, [{ name: "whole" }]), tokenIds);
  assert.ok(logits.every(Number.isFinite));
  host.forget(short);
  host.destroy();
  device.destroy();
});
