/** Keys of models that add a constant to single channels, such as the bias of Qwen2's projection: before and after their rotary embedding. */
import assert from "node:assert/strict";
import {
  attend,
  type CacheOptions,
  createCache,
  type KeyOptions,
  parseScheme,
  planCache,
  type RopeParameters,
  rotate,
  schemeCodec,
  type SchemeId,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { seededRandom } from "../../src/base/random.ts";
import { fromFloat16Array, roundToFloat16 } from "../../src/base/float16.ts";
import { findWaves, waveAt, waveCount } from "../../src/schemes/waves.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { deviceRecords, uploadBuffer } from "../helpers/cache_oracle.ts";
import { normal } from "../helpers/kmeans.ts";

const device = await requestTestDevice();

const TOKENS = 192;
const BLOCK = 64;

interface Biased {
  readonly headDim: number;
  readonly rope: RopeParameters;
  /** Channels with the bias. */
  readonly channels: readonly number[];
  readonly bias: number;
}

/** Keys before their rotary embedding, `[TOKENS][headDim]`, of one head. */
function biasedKeys({ headDim, channels, bias }: Biased): Float64Array[] {
  const random = seededRandom(`bias ${headDim}`);
  return Array.from({ length: TOKENS }, () =>
    Float64Array.from(
      { length: headDim },
      (_, channel) => normal(random) + (channels.includes(channel) ? bias : 0),
    ));
}

/** The keys as they are handed over. */
function handedOver(biased: Biased, space: KeyOptions["space"]): Float32Array<ArrayBuffer> {
  const keys = biasedKeys(biased).map((key, token) =>
    space === "pre-rope" ? key : rotate(key, token, biased.rope)
  );
  return Float32Array.from(keys.flatMap((key) => [...key]), roundToFloat16);
}

const half: RopeParameters = { layout: "half", theta: 1e6 };
const interleaved: RopeParameters = { layout: "interleaved", theta: 500000, rotaryDim: 64 };

const CASES: readonly [id: SchemeId, space: KeyOptions["space"], biased: Biased][] = [
  ["u8b8", "as-scored", { headDim: 128, rope: half, channels: [5, 20, 40, 60], bias: 230 }],
  ["u4b8", "as-scored", { headDim: 128, rope: interleaved, channels: [0, 9, 31, 100], bias: -700 }],
  ["u8b8", "as-scored", { headDim: 64, rope: half, channels: [0, 3, 33], bias: 900 }],
  ["u4b8", "as-scored", { headDim: 256, rope: half, channels: [2, 70, 127, 130], bias: 60 }],
  ["u8b8", "pre-rope", { headDim: 128, rope: half, channels: [5, 37, 69, 101], bias: 230 }],
  ["u4b8", "pre-rope", { headDim: 64, rope: half, channels: [60], bias: -1000 }],
];

for (const [id, space, biased] of CASES) {
  const { headDim, bias } = biased;
  const name =
    `${id} ${space} at d${headDim}, a bias of ${bias} in ${biased.channels.length} channels`;
  Deno.test(`${name}: keys are coded as well as without, in every channel, and attended to as they are decoded`, async () => {
    const errors: number[] = [];
    for (const amount of [0, bias]) {
      const given = handedOver({ ...biased, bias: amount }, space);
      const found = await runCache(id, space, biased, given);
      errors.push(found.error);
      assert.ok(
        found.decodedOff < 1e-6 * (1 + Math.abs(amount)),
        `decoded ${found.decodedOff} off`,
      );
      // Larger scores have fewer digits behind the point.
      const tolerance = 2e-5 * (1 + Math.abs(amount) / 50);
      assert.ok(found.attentionOff < tolerance, `attention is ${found.attentionOff} off`);
    }
    const [without, with_] = errors as [number, number];
    assert.ok(with_ < 1.1 * without, `the mean squared error is ${with_}, and ${without} without`);
  });
}

/** Codes keys on the device and attends to them. */
async function runCache(
  id: SchemeId,
  space: KeyOptions["space"],
  { headDim, rope, channels }: Biased,
  keys: Float32Array<ArrayBuffer>,
) {
  const keyOptions: KeyOptions = space === "pre-rope" ? { space, rope } : { space };
  const options: CacheOptions = {
    shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim },
    policy: { keys: id, values: "f16" },
    keys: keyOptions,
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: TOKENS,
      sequenceTokens: TOKENS,
      stepTokens: TOKENS,
      appendTokens: TOKENS,
    },
  };
  const cache = await createCache({ device, plan: planCache({ ...options, kernels: manifest }) });
  const sequence = cache.createSequence();
  const random = seededRandom("queries");
  const values = Float32Array.from(
    { length: TOKENS * headDim },
    () => roundToFloat16(normal(random)),
  );
  // Queries that see little of the bias, so that scores are not all of one token, and all of them something.
  const queries = Float32Array.from(
    { length: TOKENS * 2 * headDim },
    (_, i) => normal(random) * (channels.includes(i % headDim) ? 0.01 : 1),
  );
  const output = uploadBuffer(device, new Float32Array(queries.length));
  const read = uploadBuffer(device, new Float32Array(keys.length));
  const encoder = device.createCommandEncoder();
  const step = cache.beginStep([{ sequence, tokens: TOKENS }]);
  const bind = (data: Float32Array<ArrayBuffer>) => ({ buffer: uploadBuffer(device, data) });
  cache.encodeAppend(encoder, step, 0, { keys: bind(keys), values: bind(values) });
  cache.encodeAttend(encoder, step, 0, { queries: bind(queries), output: { buffer: output } });
  cache.encodeRead(encoder, sequence, 0, {
    side: "keys",
    first: 0,
    count: TOKENS,
    output: { buffer: read },
  });
  device.queue.submit([encoder.finish()]);
  const [found, decoded, [records]] = await Promise.all([
    readBuffer(device, output).then((bytes) => new Float32Array(bytes)),
    readBuffer(device, read).then((bytes) => new Float32Array(bytes)),
    deviceRecords(device, cache, sequence, 0, "keys"),
  ]);
  cache.destroy();

  const scheme = parseScheme(id);
  const { words } = scheme.layout(headDim);
  const centroids = fromFloat16Array(scheme.codebookSpec!.definition!(headDim));
  const wanted = Float64Array.from(
    Array.from({ length: TOKENS }, (_, token) => {
      const first = Math.floor(token / BLOCK);
      const record = records!.subarray(first * words, (first + 1) * words);
      return [
        ...schemeCodec(scheme).decode(record, token % BLOCK, headDim, {
          centroids,
          scored: space === "as-scored",
          ...(space === "pre-rope"
            ? { turn: (vector, index, way) => rotate(vector, way * (first * BLOCK + index), rope) }
            : {}),
        }),
      ];
    }).flat(),
  );
  const exact = attend({
    queryHeads: 2,
    keyValueHeads: 1,
    headDim,
    queries,
    firstPosition: 0,
    exact: { keys, values },
    coded: { keys: wanted, values },
    tiers: options.tiers,
    block: BLOCK,
    keySpace: keyOptions,
  }).output;
  const off = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
  return {
    error: decoded.reduce((sum, value, i) => sum + (value - keys[i]!) ** 2, 0) / decoded.length,
    decodedOff: off(decoded, wanted),
    attentionOff: off(found, exact),
  };
}

Deno.test("findWaves() finds what a bias became, and nothing in keys without", () => {
  for (const headDim of [64, 128]) {
    const biased: Biased = { headDim, rope: half, channels: [5, 20], bias: 80 };
    for (const amount of [0, 80]) {
      const keys = biasedKeys({ ...biased, bias: amount }).slice(0, BLOCK)
        .map((key, token) => rotate(key, token, half));
      const waves = findWaves(keys, 2.5);
      const pairs = biased.channels.flatMap((channel) => [channel, channel + headDim / 2]);
      // A pair that has hardly turned yet is loud in one of its channels alone.
      assert.ok(waves.every(({ channel }) => amount > 0 && pairs.includes(channel)));
      assert.ok(waves.length <= waveCount(headDim));
      if (amount === 0) continue;
      assert.ok(waves.length >= 3);
      for (const wave of waves) {
        const pair = wave.channel % (headDim / 2);
        for (let token = 0; token < BLOCK; token++) {
          const angle = token * half.theta ** ((-2 * pair) / headDim);
          const turned = amount * (wave.channel === pair ? Math.cos(angle) : Math.sin(angle));
          assert.ok(Math.abs(waveAt(wave, token, BLOCK) - turned) < 1, `channel ${wave.channel}`);
        }
      }
    }
  }
});
