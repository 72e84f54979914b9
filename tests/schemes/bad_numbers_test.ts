/** Keys and values that binary16 cannot hold, or that lie far from all others: what becomes of them, and what they reach. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  type CoupletError,
  createCache,
  OPTIONAL_FEATURES,
  parseScheme,
  planCache,
  type RopeParameters,
  rotate,
  type SchemeId,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { seededRandom } from "../../src/base/random.ts";
import { fromFloat16Array, roundToFloat16 } from "../../src/base/float16.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";
import { blockLimits } from "../../src/schemes/outliers.ts";
import { requestAdapter, requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { compareWithReference, largestDifference, uploadBuffer } from "../helpers/cache_oracle.ts";
import { normal } from "../helpers/normal.ts";
import type { BadNumber, Move } from "../helpers/reference_run.ts";

const { adapter } = await requestAdapter();
const device = await requestTestDevice({
  requiredFeatures: OPTIONAL_FEATURES.filter((feature) => adapter.features.has(feature)),
});

const rope: RopeParameters = {
  layout: "half",
  theta: 10000,
  // Nothing turns, so that f32 is exact.
  inverseFrequencies: new Array<number>(32).fill(0),
};

function optionsOf(
  keys: SchemeId,
  values: SchemeId,
  over: Partial<CacheOptions> = {},
): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
    policy: { keys, values },
    keys: { space: "as-scored" },
    tiers: { sinks: 3, window: 5 },
    capacity: { sequences: 1, tokens: 200, sequenceTokens: 200, stepTokens: 40, appendTokens: 40 },
    ...over,
  };
}

/** Tokens that leave the window in whole blocks, and queries at every stage. */
const MOVES: readonly Move[] = [
  { tokens: { 0: 40 } },
  { tokens: { 0: 40 } },
  { tokens: { 0: 40 } },
  { truncate: 0, length: 112 },
  { tokens: { 0: 30 } },
  { tokens: { 0: 1 } },
];

const NUMBERS = [NaN, Infinity, -Infinity, 1e30, -70000, 65519];

/** A bad number in each of some channels: in a sink, in tokens that are coded later, and in one that is taken back. */
function badNumbers(sides: readonly ("keys" | "values")[]): BadNumber[] {
  return sides.flatMap((side) =>
    [1, 20, 45, 115].flatMap((position, i) =>
      NUMBERS.map((number, j): BadNumber => ({
        number,
        side,
        sequence: 0,
        position,
        channel: 17 * j + 5 * i + (side === "keys" ? 3 : 0),
      }))
    )
  );
}

/** Schemes whose records f32 and float64 make alike, bad numbers or not. */
const CASES: readonly [keys: SchemeId, values: SchemeId, over?: Partial<CacheOptions>][] = [
  ["f16", "f16"],
  ["f16", "f16", { keys: { space: "pre-rope", rope } }],
  ["f16", "u8b8"],
  ["f16", "u4b8"],
  ["f16", "kc2"],
  ["f16", "kt2"],
  ["f16", "kh2"],
  ["f16", "kc2p8"],
  ["f16", "kc1p2"],
  ["f16", "zc3"],
  ["f16", "q4"],
  ["f16", "q8"],
];

for (const [keys, values, over] of CASES) {
  const space = over?.keys?.space ?? "as-scored";
  Deno.test(`${keys}/${values} ${space}: values that f16 cannot hold are kept as the reference keeps them, and every other channel is right`, async () => {
    const { outputs } = await compareWithReference(device, {
      options: optionsOf(keys, values, over),
      moves: MOVES,
      bad: badNumbers(["values"]),
    });
    // Channel by channel, because what is right where values are 65504 may be wrong elsewhere.
    for (let channel = 0; channel < 64; channel++) {
      const own = (numbers: Float32Array) => numbers.filter((_, i) => i % 64 === channel);
      const error = largestDifference(
        outputs.map(({ wanted, found }) => ({ wanted: own(wanted), found: own(found) })),
      );
      assert.ok(error < 2e-5, `channel ${channel}: the largest difference is ${error}`);
    }
  });
}

for (
  const [keys, over] of [
    ["f16", {}],
    ["u8b8", {}],
    ["u4b8", {}],
    ["u8b8", { keys: { space: "pre-rope", rope } }],
    ["kc4", {}],
    ["kt4", {}],
    ["kc2p4", {}],
    ["kc1p4", {}],
    ["q8", {}],
  ] as const
) {
  const space = "keys" in over ? over.keys.space : "as-scored";
  Deno.test(`${keys} ${space}: keys that f16 cannot hold are kept as the reference keeps them`, async () => {
    const { error } = await compareWithReference(device, {
      options: optionsOf(keys, "f16", over),
      moves: MOVES,
      bad: badNumbers(["keys"]),
    });
    // Scores of 65504 times a query have fewer digits.
    assert.ok(error < 2e-3, `the largest difference is ${error}`);
  });
}

for (const variant of ["plain", "rope"]) {
  const name = `attend_f16_f16_d64_${variant}_f16`;
  Deno.test({
    name: `${name} multiplies keys of 65504 in f16 and stays finite`,
    ignore: !device.features.has("shader-f16"),
    fn: async () => {
      const { plan, outputs } = await compareWithReference(device, {
        options: optionsOf("f16", "f16", {
          keys: variant === "rope"
            ? { space: "pre-rope", rope: { layout: "half", theta: 10000 } }
            : { space: "as-scored" },
          scale: 4,
        }),
        kernels: manifest.filter((kernel) =>
          !/^(attend|score)_/.test(kernel.name) || kernel.name === name
        ),
        features: device.features,
        precision: "f16",
        moves: MOVES,
        bad: badNumbers(["keys"]),
      });
      assert.equal(plan.layers[0]!.decode.attend?.name, name);
      // Which of two such keys has the larger score is beyond f16's digits.
      for (const { found } of outputs) assert.ok(found.every(Number.isFinite));
    },
  });
}

for (const dtype of ["f32", "f16"] as const) {
  Deno.test(`Cache.readCounters() counts what was clamped and what was no number, of ${dtype} tensors`, async () => {
    const faults: CoupletError[] = [];
    const options = optionsOf("f16", "f16", { io: { dtype } });
    const cache = await createCache({
      device,
      plan: planCache({ ...options, kernels: manifest }),
      onFault: (fault) => faults.push(fault),
    });
    const sequence = cache.createSequence();
    const append = (keys: Record<number, number>, values: Record<number, number>): void => {
      const [given, other] = [keys, values].map((own) => {
        const numbers = Float32Array.from({ length: 3 * 128 }, (_, i) => own[i] ?? i / 1000);
        return dtype === "f32" ? numbers : new Float32Array(Float16Array.from(numbers).buffer);
      });
      const encoder = device.createCommandEncoder();
      const step = cache.beginStep([{ sequence, tokens: 3 }]);
      const [first, second] = [given, other].map((data) => ({
        buffer: uploadBuffer(device, data!),
      }));
      cache.encodeAppend(encoder, step, 0, { keys: first!, values: second! });
      device.queue.submit([encoder.finish()]);
    };
    const counts = () => {
      const { clamped, notNumbers, drownedBlocks } = cache.stats();
      return { clamped, notNumbers, drownedBlocks };
    };
    append({}, { 5: 65504, 6: -65504, 7: 2 ** -24, 8: -0 });
    const none = { drownedBlocks: 0, skippedTiles: 0, consideredTiles: 0 };
    assert.deepEqual(await cache.readCounters(), { ...none, clamped: 0, notNumbers: 0 });
    assert.equal(faults.length, 0);

    append({ 0: NaN, 1: Infinity, 383: -Infinity }, { 0: -Infinity, 200: NaN, 201: NaN });
    assert.deepEqual(
      counts(),
      { clamped: 0, notNumbers: 0, drownedBlocks: 0 },
      "nothing is known until it is read",
    );
    assert.deepEqual(await cache.readCounters(), { ...none, clamped: 3, notNumbers: 3 });
    assert.deepEqual(await cache.readCounters(), { ...none, clamped: 3, notNumbers: 3 });
    assert.deepEqual(faults.map(({ code }) => code), ["numbers"], "once for each rise");
    assert.match(faults[0]!.message, /3 numbers beyond .* 3 NaNs became 0/);

    append({ 10: dtype === "f32" ? 65505 : Infinity }, {});
    await Promise.all([cache.readCounters(), cache.readCounters()]);
    assert.deepEqual(counts(), { clamped: 4, notNumbers: 3, drownedBlocks: 0 });
    assert.equal(faults.length, 2);

    append({}, { 20: NaN });
    assert.deepEqual(await cache.readCounters(), { ...none, clamped: 4, notNumbers: 4 });
    assert.equal(faults.length, 3);

    const output = uploadBuffer(device, new Float32Array(dtype === "f32" ? 9 * 128 : 9 * 64));
    const encoder = device.createCommandEncoder();
    cache.encodeRead(encoder, sequence, 0, {
      side: "keys",
      first: 0,
      count: 9,
      output: { buffer: output },
    });
    device.queue.submit([encoder.finish()]);
    const bytes = await readBuffer(device, output);
    const found = dtype === "f32" ? new Float32Array(bytes) : new Float16Array(bytes);
    assert.deepEqual(
      [0, 1, 383, 394].map((i) => found[(i === 394 ? 2 : 1) * 384 + (i === 394 ? 10 : i)]),
      [
        0,
        65504,
        -65504,
        65504,
      ],
    );
    cache.destroy();
  });
}

Deno.test("what leaves the cache in f16 is finite, where it is decoded to more than f16 holds", async () => {
  const options = optionsOf("kc2", "kc2", {
    tiers: { sinks: 0, window: 0 },
    io: { dtype: "f16" },
  });
  const cache = await createCache({ device, plan: planCache({ ...options, kernels: manifest }) });
  const sequence = cache.createSequence();
  // Three steps from -65504 to 65504 end at 65536.
  const vectors = Float16Array.from({ length: 32 * 128 }, (_, i) => i < 128 ? -65504 : 65504);
  const queries = Float16Array.from({ length: 32 * 256 }, () => 0);
  const bind = (data: Float16Array<ArrayBuffer>) => ({
    buffer: uploadBuffer(device, new Float32Array(data.buffer)),
  });
  const [read, output] = [bind(vectors), bind(queries)];
  const encoder = device.createCommandEncoder();
  const step = cache.beginStep([{ sequence, tokens: 32 }]);
  cache.encodeAppend(encoder, step, 0, { keys: bind(vectors), values: bind(vectors) });
  cache.encodeAttend(encoder, step, 0, { queries: bind(queries), output });
  cache.encodeRead(encoder, sequence, 0, { side: "values", first: 0, count: 32, output: read });
  device.queue.submit([encoder.finish()]);
  const [found, attended] = await Promise.all(
    [read, output].map(async ({ buffer }) => new Float16Array(await readBuffer(device, buffer))),
  );
  assert.ok(found!.every((number, i) => number === (i < 128 ? -65504 : 65504)));
  // The last token sees one value of -65504 and 31 of 65536.
  assert.ok(attended!.every(Number.isFinite));
  assert.ok(Math.abs(attended!.at(-1)! - 61443) < 64);
  cache.destroy();
});

// ---- what one bad number of a block reaches

const BLOCK_SCHEMES: readonly [id: SchemeId, kind: "values" | "pre-rope" | "as-scored"][] = [
  ["u8b8", "values"],
  ["u8b8", "pre-rope"],
  ["u8b8", "as-scored"],
  ["u4b8", "values"],
  ["u4b8", "pre-rope"],
  ["u4b8", "as-scored"],
  ["kc2", "as-scored"],
  ["kc4", "as-scored"],
];

/** Squared errors of a block's tokens, coded and decoded, bad channels apart. */
function errors(
  id: SchemeId,
  kind: (typeof BLOCK_SCHEMES)[number][1],
  vectors: readonly Float64Array[],
  wanted: readonly Float64Array[],
  bad: ReadonlySet<string>,
): number[] {
  const scheme = parseScheme(id);
  const decoded = roundTrip(scheme, vectors, {
    centroids: fromFloat16Array(scheme.codebookSpec?.definition?.(64) ?? new Uint16Array()),
    scored: kind === "as-scored",
    ...(kind === "pre-rope"
      ? {
        turn: (vector, token, way) => rotate(vector, way * token, { layout: "half", theta: 1e4 }),
      }
      : {}),
  });
  return decoded.map((vector, token) =>
    vector.reduce(
      (sum, value, channel) =>
        bad.has(`${token} ${channel}`) ? sum : sum + (value - wanted[token]![channel]!) ** 2,
      0,
    )
  );
}

/** What is put where, `[token, channel, number]`. */
const SPOILERS: Readonly<Record<string, readonly (readonly [number, number, number])[]>> = {
  "an infinity": [[9, 20, 65504]],
  "a negative infinity": [[9, 20, -65504]],
  "a number far from all others": [[9, 20, 3000]],
  "several infinities in a channel": [[0, 20, 65504], [9, 20, 65504], [17, 20, -65504], [
    30,
    20,
    65504,
  ]],
  "a whole token of infinities": Array.from(
    { length: 64 },
    (_, i) => [9, i, i % 3 ? 65504 : -65504] as const,
  ),
  "a NaN in a channel with a mean of 700": [[9, 40, 0]],
};

for (const [id, kind] of BLOCK_SCHEMES) {
  for (const [what, spoilers] of Object.entries(SPOILERS)) {
    Deno.test(`${id}, ${kind}: ${what} spoils no other number of its block`, () => {
      const { block } = parseScheme(id);
      const random = seededRandom(`${id} ${kind}`);
      const clean = Array.from({ length: block }, () =>
        Float64Array.from(
          { length: 64 },
          (_, channel) => roundToFloat16(normal(random) + (channel === 40 ? 700 : 0)),
        ));
      const spoilt = clean.map((vector) => vector.slice());
      const bad = new Set<string>();
      for (const [token, channel, number] of spoilers) {
        spoilt[token]![channel] = number;
        bad.add(`${token} ${channel}`);
      }
      const before = errors(id, kind, clean, clean, bad);
      const after = errors(id, kind, spoilt, clean, bad);
      const sum = (numbers: readonly number[]) => numbers.reduce((total, own) => total + own, 0);
      assert.ok(sum(after) < 1.1 * sum(before), `${sum(after)}, and ${sum(before)} without`);
      // Nor the rest of its own token.
      for (const token of new Set(spoilers.map(([token]) => token))) {
        assert.ok(
          after[token]! <= 2 * before[token]! + 1,
          `token ${token}: ${after[token]}, and ${before[token]}`,
        );
      }
    });
  }
}

Deno.test("blockLimits() leave every number alone that lies among others, whatever its distribution", () => {
  const random = seededRandom("ordinary");
  const kinds: readonly ((token: number, channel: number) => number)[] = [
    () => normal(random),
    // Heavy tails: ratios of normal numbers to roots of others.
    () => normal(random) / Math.sqrt(Math.abs(normal(random)) + 0.05),
    (_, channel) => normal(random) * 2 ** (channel % 12 - 6) + (channel % 5 === 0 ? 300 : 0),
    // The same token over and over, and another once.
    (token, channel) => Math.sin(channel) + (token === 31 ? Math.cos(3 * channel) * 5 : 0),
    (token, channel) => Math.sin(channel + token / 1e6) + (token === 31 ? 5 : 0),
    (token, channel) => 200 * Math.cos(token * 0.3 + channel) + normal(random),
    () => 0,
    () => 65504,
  ];
  for (const [kind, number] of kinds.entries()) {
    for (let round = 0; round < 40; round++) {
      const vectors = Array.from(
        { length: 64 },
        (_, token) =>
          Float64Array.from({ length: 64 }, (_, channel) => roundToFloat16(number(token, channel))),
      );
      blockLimits(vectors).channels.forEach(({ low, high }, channel) => {
        for (const vector of vectors) {
          assert.ok(low <= vector[channel]! && vector[channel]! <= high, `kind ${kind}`);
        }
      });
    }
  }
});
