/** Keys and values of models that add constants to channels, such as the bias of Qwen2's projections: before and after the rotary embedding. */
import assert from "node:assert/strict";
import {
  attend,
  type CacheOptions,
  type CoupletError,
  createCache,
  type KeyOptions,
  parseScheme,
  planCache,
  type Policy,
  type RopeParameters,
  rotate,
  schemeCodec,
  type SchemeId,
} from "../../mod.ts";
import { layerKeys } from "../../src/plan/options.ts";
import { manifest } from "../../generated/manifest.ts";
import { seededRandom } from "../../src/base/random.ts";
import { fromFloat16Array, roundToFloat16 } from "../../src/base/float16.ts";
import { findWaves, waveAt, waveCount } from "../../src/schemes/waves.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { deviceRecords, uploadBuffer } from "../helpers/cache_oracle.ts";
import { normal } from "../helpers/normal.ts";

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

/** The keys, or values, as they are handed over. */
function handedOver(
  biased: Biased,
  space: KeyOptions["space"] | "values",
): Float32Array<ArrayBuffer> {
  const keys = biasedKeys(biased).map((key, token) =>
    space === "as-scored" ? rotate(key, token, biased.rope) : key
  );
  return Float32Array.from(keys.flatMap((key) => [...key]), roundToFloat16);
}

const half: RopeParameters = { layout: "half", theta: 1e6 };
const interleaved: RopeParameters = { layout: "interleaved", theta: 500000, rotaryDim: 64 };

/** All channels of a head. */
const all = (headDim: number) => Array.from({ length: headDim }, (_, channel) => channel);

const CASES: readonly [
  id: SchemeId,
  space: KeyOptions["space"] | "values",
  biased: Biased,
][] = [
  ["u8b8", "as-scored", { headDim: 128, rope: half, channels: [5, 20, 40, 60], bias: 230 }],
  ["u4b8", "as-scored", { headDim: 128, rope: interleaved, channels: [0, 9, 31, 100], bias: -700 }],
  ["u8b8", "as-scored", { headDim: 64, rope: half, channels: [0, 3, 33], bias: 2000 }],
  ["u4b8", "as-scored", { headDim: 256, rope: half, channels: [2, 70, 127, 130], bias: 60 }],
  ["u4b8", "as-scored", { headDim: 64, rope: half, channels: [5, 31], bias: 10 }],
  ["u8b8", "pre-rope", { headDim: 128, rope: half, channels: [5, 37, 69, 101], bias: 2000 }],
  ["u4b8", "pre-rope", { headDim: 64, rope: half, channels: [60], bias: -1000 }],
  ["u4b8", "pre-rope", { headDim: 64, rope: interleaved, channels: all(64), bias: 2000 }],
  ["u8b8", "values", { headDim: 128, rope: half, channels: [7], bias: 2000 }],
  ["u4b8", "values", { headDim: 64, rope: half, channels: all(64), bias: -2000 }],
];

for (const [id, space, biased] of CASES) {
  const { headDim, bias, channels } = biased;
  const vectors = space === "values" ? "values" : `keys ${space}`;
  const name = `${id} ${vectors} at d${headDim}, a bias of ${bias} in ${channels.length} channels`;
  Deno.test(`${name}: they are coded as well as without, in every channel, and attended to as they are decoded`, async () => {
    const errors: number[] = [];
    for (const amount of [0, bias]) {
      const given = handedOver({ ...biased, bias: amount }, space);
      const found = await runCache(id, space, biased, given);
      errors.push(found.error);
      assert.ok(
        found.decodedOff < 1e-6 * (1 + Math.abs(amount)),
        `decoded ${found.decodedOff} off`,
      );
      // Larger numbers have fewer digits behind the point.
      const tolerance = 2e-5 * (1 + Math.abs(amount) / 20);
      assert.ok(found.attentionOff < tolerance, `attention is ${found.attentionOff} off`);
      assert.equal(found.drownedBlocks, 0);
    }
    const [without, with_] = errors as [number, number];
    assert.ok(with_ < 1.1 * without, `the mean squared error is ${with_}, and ${without} without`);
  });
}

/** A cache of one sequence whose tokens are all coded. */
function optionsOf(
  policy: Policy,
  space: KeyOptions["space"],
  { headDim, rope }: Pick<Biased, "headDim" | "rope">,
): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim },
    policy,
    keys: space === "as-scored" ? { space } : { space, rope } as KeyOptions,
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: TOKENS,
      sequenceTokens: TOKENS,
      stepTokens: TOKENS,
      appendTokens: TOKENS,
    },
  };
}

/** Codes keys or values on the device and attends to them. */
async function runCache(
  id: SchemeId,
  space: KeyOptions["space"] | "values",
  { headDim, rope, channels }: Biased,
  biased: Float32Array<ArrayBuffer>,
) {
  const side = space === "values" ? "values" : "keys";
  const policy: Policy = { keys: "f16", values: "f16", [side]: id };
  const options = optionsOf(policy, space === "pre-rope" ? space : "as-scored", { headDim, rope });
  const cache = await createCache({ device, plan: planCache({ ...options, kernels: manifest }) });
  const sequence = cache.createSequence();
  const random = seededRandom("queries");
  const others = Float32Array.from(
    { length: TOKENS * headDim },
    () => roundToFloat16(normal(random)),
  );
  const [keys, values] = side === "keys" ? [biased, others] : [others, biased];
  // Queries that see little of the bias, so that scores are not all of one token, and all of them something.
  const seen = side === "keys" ? 0.01 / Math.sqrt(channels.length) : 1;
  const queries = Float32Array.from(
    { length: TOKENS * 2 * headDim },
    (_, i) => normal(random) * (channels.includes(i % headDim) ? seen : 1),
  );
  const output = uploadBuffer(device, new Float32Array(queries.length));
  const read = uploadBuffer(device, new Float32Array(biased.length));
  const encoder = device.createCommandEncoder();
  const step = cache.beginStep([{ sequence, tokens: TOKENS }]);
  const bind = (data: Float32Array<ArrayBuffer>) => ({ buffer: uploadBuffer(device, data) });
  cache.encodeAppend(encoder, step, 0, { keys: bind(keys), values: bind(values) });
  cache.encodeAttend(encoder, step, 0, { queries: bind(queries), output: { buffer: output } });
  cache.encodeRead(encoder, sequence, 0, {
    side,
    first: 0,
    count: TOKENS,
    output: { buffer: read },
  });
  device.queue.submit([encoder.finish()]);
  const [found, decoded, [records], { drownedBlocks }] = await Promise.all([
    readBuffer(device, output).then((bytes) => new Float32Array(bytes)),
    readBuffer(device, read).then((bytes) => new Float32Array(bytes)),
    deviceRecords(device, cache, sequence, 0, side),
    cache.readCounters(),
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
    coded: { keys, values, [side]: wanted },
    tiers: options.tiers,
    block: BLOCK,
    keySpace: layerKeys(options.keys, 0),
  }).output;
  const off = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Array.from(a).reduce((most, value, i) => Math.max(most, Math.abs(value - b[i]!)), 0);
  return {
    error: decoded.reduce((sum, value, i) => sum + (value - biased[i]!) ** 2, 0) / decoded.length,
    decodedOff: off(decoded, wanted),
    attentionOff: off(found, exact),
    drownedBlocks,
  };
}

/** Which keys drown: their scheme, how they are handed over, and the blocks of three that are counted. */
const DROWNED: readonly [
  what: string,
  id: SchemeId,
  space: KeyOptions["space"],
  biased: Biased,
  blocks: number,
][] = [
  ["in half of the channels", "u8b8", "as-scored", {
    headDim: 64,
    rope: half,
    channels: all(32),
    bias: 100,
  }, 3],
  ["in all channels", "u4b8", "as-scored", {
    headDim: 128,
    rope: interleaved,
    channels: all(128),
    bias: 30,
  }, 3],
  ["in all channels", "u4b8", "pre-rope", {
    headDim: 64,
    rope: half,
    channels: all(64),
    bias: 100,
  }, 0],
  ["in all channels", "kc4", "as-scored", {
    headDim: 64,
    rope: half,
    channels: all(64),
    bias: 100,
  }, 0],
];

for (const [what, id, space, biased, blocks] of DROWNED) {
  const { headDim, bias } = biased;
  Deno.test(`Cache.readCounters() counts ${blocks} blocks of ${id} keys ${space} at d${headDim} with a bias of ${bias} ${what}`, async () => {
    const faults: CoupletError[] = [];
    const options = optionsOf({ keys: id, values: "u8b8" }, space, biased);
    const cache = await createCache({
      device,
      plan: planCache({ ...options, kernels: manifest }),
      onFault: (fault) => faults.push(fault),
    });
    const sequence = cache.createSequence();
    // Values have no rotary embedding: their mean is subtracted, whatever it is.
    const tensor = { buffer: uploadBuffer(device, handedOver(biased, space)) };
    // What is coded a second time counts again.
    for (const times of [1, 2]) {
      cache.truncate(sequence, 0);
      const encoder = device.createCommandEncoder();
      const step = cache.beginStep([{ sequence, tokens: TOKENS }]);
      cache.encodeAppend(encoder, step, 0, { keys: tensor, values: tensor });
      device.queue.submit([encoder.finish()]);
      assert.equal((await cache.readCounters()).drownedBlocks, times * blocks);
      assert.equal(cache.stats().drownedBlocks, times * blocks);
      assert.equal(faults.length, blocks > 0 ? times : 0);
    }
    for (const { code, message } of faults) {
      assert.equal(code, "numbers");
      assert.match(message, /bias.*3 blocks of keys drown.*pre-rope/);
    }
    cache.destroy();
  });
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

Deno.test("findWaves() finds a constant of 2,000 in any channel, however little it has turned", () => {
  const rope: RopeParameters = { layout: "half", theta: 10000 };
  for (let channel = 0; channel < 64; channel++) {
    const biased: Biased = { headDim: 64, rope, channels: [channel], bias: 2000 };
    const keys = biasedKeys(biased).slice(0, BLOCK).map((key, token) => rotate(key, token, rope));
    for (const wave of findWaves(keys, 2.5)) {
      keys.forEach((key, token) => key[wave.channel]! -= waveAt(wave, token, BLOCK));
    }
    for (let i = 0; i < 64; i++) {
      const numbers = keys.map((key) => key[i]!);
      const mean = numbers.reduce((sum, number) => sum + number) / BLOCK;
      const variance = numbers.reduce((sum, number) => sum + (number - mean) ** 2, 0) / BLOCK;
      assert.ok(variance < 2, `a constant in channel ${channel} leaves ${variance} in ${i}`);
    }
  }
});
