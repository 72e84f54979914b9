/** Caches whose keys are coded in blocks of 32 tokens, and schemes of evenly spaced levels: beside the reference, bit for bit. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  CoupletError,
  createCache,
  createReferenceCache,
  parseScheme,
  planCache,
  type SchemeId,
  snapshotSequence,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { fromFloat16Bits } from "../../src/base/float16.ts";
import { seededRandom } from "../../src/base/random.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { CacheModel } from "../helpers/cache_model.ts";
import {
  compareWithReference,
  deviceRecords,
  referenceRecords,
  uploadBuffer,
} from "../helpers/cache_oracle.ts";
import { gridCodebooks, gridVectors } from "../helpers/grid_numbers.ts";
import type { Move } from "../helpers/reference_run.ts";

const device = await requestTestDevice();

function optionsOf(
  keys: SchemeId,
  values: SchemeId,
  { headDim = 64, sinks = 3, window = 16 }: Partial<
    Record<"headDim" | "sinks" | "window", number>
  > = {},
): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim },
    policy: { keys, values },
    keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
    tiers: { sinks, window },
    capacity: {
      sequences: 4,
      tokens: 600,
      sequenceTokens: 300,
      stepTokens: 80,
      appendTokens: 50,
    },
  };
}

/** Steps that end before, on and behind the edges of blocks and pages, two sequences apart, and rollbacks into the exact tier. */
const MOVES: readonly Move[] = [
  { tokens: { 0: 1 } },
  { tokens: { 0: 49, 1: 31 } },
  { tokens: { 0: 17, 1: 1 } },
  { tokens: { 0: 50 }, silent: true },
  { tokens: { 0: 2, 1: 50 } },
  { truncate: 0, length: 71 },
  { tokens: { 0: 30, 1: 5 } },
  { truncate: 1, length: 0 },
  { tokens: { 0: 1, 1: 40 } },
];

/** Keys by channel and values by token, of the same scheme or not, at every kind of window. */
const CASES: readonly [
  keys: SchemeId,
  values: SchemeId,
  sizes?: Parameters<typeof optionsOf>[2],
][] = [
  ["kc2", "kt2", { window: 0, sinks: 0 }],
  ["kc4", "kt4", { window: 16 }],
  ["kc2", "kt2", { window: 40 }],
  ["kc2", "c8b10", { window: 0 }],
  ["q8", "kc4", { window: 9 }],
  ["kc4", "u8b8", { window: 5 }],
  ["kc2p8", "kh2", { window: 16 }],
  ["kc1p4", "kc2p4", { window: 0 }],
  ["kc1p2", "zc3", { window: 5 }],
  ["n8b8", "n4b8", { window: 0, sinks: 0 }],
  ["n16b4x4", "kc2", { window: 40 }],
  // Tokens of three groups, of which two share a record.
  ["q4", "q4", { headDim: 96 }],
  ["f16", "q8", { headDim: 96, window: 0 }],
];

/** The pairs that share a kernel. */
const FUSED: readonly string[] = ["kc2/kt2", "kc4/kt4", "kc2p8/kh2", "kc1p2/zc3", "q4/q4"];

for (const [keys, values, sizes = {}] of CASES) {
  const options = optionsOf(keys, values, sizes);
  const { window, sinks } = options.tiers;
  Deno.test(`${keys} keys, ${values} values, window ${window}, sinks ${sinks}: the cache agrees with float64`, async () => {
    const { plan, error } = await compareWithReference(device, { options, moves: MOVES });
    const fused = plan.layers[0]!.decode.attend !== undefined;
    assert.equal(fused, FUSED.includes(`${keys}/${values}`));
    assert.ok(error < 2e-5, `the largest difference is ${error}`);
  });
}

Deno.test("Forks, reorderings, rollbacks and snapshots keep whole blocks, beside layers coded token by token", async () => {
  const one = optionsOf("kc2", "kt2");
  const options: CacheOptions = {
    ...one,
    shape: { ...one.shape, layers: 2 },
    policy: { ...one.policy, layers: { 1: { keys: "q4", values: "kc4" } } },
  };
  const model = await CacheModel.create(device, options, "blocks");
  const { cache } = model;
  const append = (...entries: [pair: (typeof model.alive)[number], tokens: number][]) =>
    model.append(entries.map(([pair, tokens]) => ({ pair, tokens })));
  const first = model.create();
  // 19 tokens are sinks and window: 128 - 19 = 109 have aged, and three blocks are coded.
  for (const tokens of [50, 50, 28]) await append([first, tokens]);
  assert.equal(cache.codedTokens(first.device), 96);
  const fork = model.fork(first);
  // Both complete the block in the second half of the page they share, with tokens of their own.
  await append([first, 19], [fork, 20]);
  assert.equal(cache.codedTokens(fork.device), 128);
  assert.notEqual(cache.pages(first.device, 0).pages[1], cache.pages(fork.device, 0).pages[1]);
  assert.equal(cache.pages(first.device, 0).pages[0], cache.pages(fork.device, 0).pages[0]);
  await model.checkRecords();

  // What was coded last is exact still, and is coded again with other tokens.
  model.truncate(fork, 120);
  assert.equal(cache.codedTokens(fork.device), 96);
  await append([fork, 40]);

  const bytes = await snapshotSequence(cache, fork.device);
  const restored = await model.restore(fork);
  assert.deepEqual(await snapshotSequence(cache, restored.device), bytes);
  await append([restored, 33], [fork, 1]);

  const [left, right] = model.reorder([first, fork], [1, 1]);
  await append([left!, 30], [right!, 31]);
  // Long coded: half a block would be left, and its exact tokens are gone.
  assert.throws(
    () => cache.truncate(left!.device, 3 + 80),
    (error) => error instanceof CoupletError && error.code === "usage",
  );
  model.truncate(left!, 3 + 64);
  await append([left!, 50]);
  model.checkPages();
  await model.checkRecords();
  model.destroy();
});

for (
  const [keys, values, headDim, coded] of [
    // Keys in blocks, values token by token in records of two.
    ["kc4", "t1b3", 64, 224],
    ["q4", "q8", 96, 251],
    ["n8b4x4", "n8b8", 64, 192],
  ] as const
) {
  Deno.test(`${keys} keys and ${values} values at d${headDim} get the same bytes, however a prompt is cut`, async () => {
    const tokens = 275;
    const options = optionsWith(optionsOf(keys, values, { headDim, window: 21 }), tokens);
    const random = seededRandom("cuts");
    const cache = await createCache({
      device,
      plan: planCache({ ...options, kernels: manifest }),
      codebooks: gridCodebooks(options, random),
    });
    const channels = 2 * headDim;
    const given = [0, 1].map(() => uploadBuffer(device, gridVectors(random, tokens * channels)));
    const records: Uint32Array[][] = [];
    for (const size of [tokens, 34, 8, 1]) {
      const sequence = cache.createSequence();
      for (let first = 0; first < tokens; first += size) {
        const step = cache.beginStep([{ sequence, tokens: Math.min(size, tokens - first) }]);
        const [keys, values] = given.map((buffer) => ({ buffer, offset: first * channels * 4 }));
        const encoder = device.createCommandEncoder();
        cache.encodeAppend(encoder, step, 0, { keys: keys!, values: values! });
        device.queue.submit([encoder.finish()]);
      }
      assert.equal(cache.codedTokens(sequence), coded);
      for (const side of ["keys", "values"] as const) {
        records.push(await deviceRecords(device, cache, sequence, 0, side));
      }
    }
    const [allKeys, allValues, ...others] = records;
    assert.ok(allKeys![0]!.some((word) => word !== 0));
    for (let i = 0; i < others.length; i += 2) {
      assert.deepEqual(others.slice(i, i + 2), [allKeys, allValues]);
    }
    cache.destroy();
  });
}

/** The same cache for steps of a whole prompt. */
function optionsWith(options: CacheOptions, tokens: number): CacheOptions {
  const capacity = { sequences: 4, tokens: 4 * tokens, sequenceTokens: tokens };
  return { ...options, capacity: { ...capacity, stepTokens: tokens, appendTokens: tokens } };
}

for (
  const [keys, values] of [
    ["kc2", "kt2"],
    ["kc4", "kt4"],
    ["q4", "q8"],
    ["kc2p8", "kh2"],
    ["kc2p4", "kc2p4"],
    ["kc1p2", "kc1p2"],
    ["kc1p4", "kc1p4"],
    ["zc3", "zc3"],
  ] as const
) {
  Deno.test(`${keys}/${values}: any binary16 numbers are coded as in float64, ties, subnormals and zeros included`, async () => {
    const tokens = 128;
    const options = optionsWith(optionsOf(keys, values, { sinks: 0, window: 0 }), tokens);
    const cache = await createCache({ device, plan: planCache({ ...options, kernels: manifest }) });
    const reference = createReferenceCache(options);
    const [sequence, own] = [cache.createSequence(), reference.createSequence()];
    const random = seededRandom(`any ${keys}`);
    const steps = 2 ** parseScheme(keys).codeBits - 1;
    const vectors = () =>
      Float32Array.from({ length: tokens * 2 * 64 }, (_, i) => {
        const token = Math.floor(i / 128);
        // One number, or it and three of a third: equally good scales of three levels.
        if (i % 16 === 7) return [-1, -1, -1, 3][token % 64] ?? 0;
        // From 2^-24 in steps of 1.5: the smallest step there is less than half way to the first level, and f32 divides it to a half.
        if (token % 32 === 5) return [2 ** -24, 0.75, 1.5 * steps][i % 3]!;
        // By token: a few whole numbers, all bits at random, one exponent, and zeros of either sign.
        const sign = random.next() < 0.5 ? -1 : 1;
        if (token % 4 === 0) return sign * Math.floor(random.next() * 9);
        if (token % 4 === 1) return fromFloat16Bits(Math.floor(random.next() * 0x7bff)) * sign;
        if (token % 4 === 2) return sign * (1 + Math.floor(random.next() * 1024) / 1024);
        return token % 8 === 3 ? sign * 0 : sign * 2 ** -24 * Math.floor(random.next() * 40);
      });
    // In another order, so that a block of tokens has one of these kinds in each channel too.
    const transposed = (numbers: Float32Array) =>
      Float32Array.from(numbers, (_, i) => {
        const [token, head, channel] = [i >> 7, (i >> 6) & 1, i & 63];
        return numbers[(((token & 64) | channel) * 2 + head) * 64 + (token & 63)]!;
      });
    const given = { keys: transposed(vectors()), values: vectors() };
    const step = cache.beginStep([{ sequence, tokens }]);
    const encoder = device.createCommandEncoder();
    cache.encodeAppend(encoder, step, 0, {
      keys: { buffer: uploadBuffer(device, given.keys) },
      values: { buffer: uploadBuffer(device, given.values) },
    });
    device.queue.submit([encoder.finish()]);
    reference.append(reference.beginStep([{ sequence: own, tokens }]), 0, given);
    for (const side of ["keys", "values"] as const) {
      assert.deepEqual(
        await deviceRecords(device, cache, sequence, 0, side),
        referenceRecords(cache, sequence, reference, own, 0, side),
        side,
      );
    }
    cache.destroy();
  });
}
