import assert from "node:assert/strict";
import { rotate } from "@couplet/kv";
import { onlyRope } from "../../../examples/engine/mod.ts";
import { questionTokens } from "../../../examples/vision/answers.ts";
import { VisionHost } from "../../../examples/vision/host.ts";
import { spanSamples } from "../../../examples/vision/span_samples.ts";
import { readVideos } from "../../../examples/vision/videos.ts";
import { loadVisionModel } from "../../../examples/vision/vision_model.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import { largestDifference } from "../../helpers/llama.ts";
import { VISION_FIXTURE } from "../../helpers/vision.ts";

const model = await loadVisionModel(VISION_FIXTURE);
const { headDim, queryHeads, keyValueHeads, layers } = model.text.config;
const { parameters: rope } = onlyRope(model.text.config);
const videos = (await readVideos(`${VISION_FIXTURE}/calibration.safetensors`, model)).slice(0, 2);
const device = await requestTestDevice();
const host = await VisionHost.create({ device, model, spans: {}, textTokens: 96 });

Deno.test("VisionHost.queries are as they score: the same text behind a longer video is turned further", async () => {
  const { pixels, questions } = videos[0]!;
  const tokenIds = questionTokens(questions);
  async function queriesBehind(read: Uint8Array) {
    const seen = await host.read(read);
    const queries = await host.queries(seen, tokenIds);
    host.forget(seen);
    return { queries, tokens: seen.tokens };
  }
  const { queries: far, tokens } = await queriesBehind(pixels);
  const { queries: near, tokens: fewer } = await queriesBehind(pixels.subarray(0, 4 * 56 * 56));
  assert.equal(far.length, layers);
  assert.equal(far[0]!.length, tokenIds.length * queryHeads * headDim);
  // In the first layer queries depend on their own tokens alone.
  const turned: number[] = [];
  for (let at = 0; at < near[0]!.length; at += headDim) {
    const vector = near[0]!.subarray(at, at + headDim);
    turned.push(
      ...rotate(vector, tokens - fewer, rope),
    );
  }
  assert.ok(largestDifference(far[0]!, turned) < 1e-3);
  assert.ok(largestDifference(far[0]!, near[0]!) > 0.1);
  // Turned back by their own positions, two of the same token are the same.
  const first = far[0]!.subarray(0, headDim);
  const back = rotate(first, -1 - tokens, rope);
  const other = tokenIds.indexOf(tokenIds[0]!, 1);
  const again = far[0]!.subarray(
    other * queryHeads * headDim,
    other * queryHeads * headDim + headDim,
  );
  const otherBack = rotate(again, -1 - tokens - other, rope);
  assert.ok(largestDifference(back, otherBack) < 1e-3);
});

Deno.test("spanSamples have the keys and values of all videos, and scales of keys where queries weigh them", async () => {
  const read = (weighting: "none" | "query") => spanSamples(host, device, model, videos, weighting);
  const plain = await read("none");
  const weighted = await read("query");
  assert.deepEqual(
    plain.map(({ layer, side }) => [layer, side]),
    Array.from({ length: layers }, (_, layer) => [[layer, "keys"], [layer, "values"]]).flat(),
  );
  for (const [i, { values, scale }] of plain.entries()) {
    assert.equal(values.length, 2 * 256 * keyValueHeads * headDim);
    assert.deepEqual(weighted[i]!.values, values);
    assert.equal(scale, undefined);
  }
  for (const { side, scale } of weighted) {
    assert.equal(scale !== undefined, side === "keys");
    if (scale === undefined) continue;
    assert.equal(scale.length, keyValueHeads * headDim);
    const squares = scale.reduce((sum, one) => sum + one * one, 0) / scale.length;
    assert.ok(Math.abs(squares - 1) < 1e-4);
  }
  // The queries of layer 2 ask more of some channels than of others.
  const scale = weighted[4]!.scale!;
  assert.ok(Math.max(...scale) > 2 * Math.min(...scale));
  host.destroy();
  device.destroy();
});
