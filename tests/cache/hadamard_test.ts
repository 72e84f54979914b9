/** Caches of schemes that code rotated vectors: beside the reference, their memory, their plans. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  CoupletError,
  createCache,
  parseScheme,
  planCache,
  restoreSequence,
  type RopeParameters,
  type SchemeId,
  snapshotSequence,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithReference } from "../helpers/cache_oracle.ts";
import type { Move } from "../helpers/reference_run.ts";
import { feed, gridCache } from "../helpers/snapshots.ts";

const device = await requestTestDevice();

function optionsOf(
  keys: SchemeId,
  values: SchemeId,
  headDim: number,
  rope: RopeParameters | undefined,
  layers = 1,
): CacheOptions {
  return {
    shape: { layers, queryHeads: 4, keyValueHeads: 2, headDim },
    policy: { keys, values },
    keys: rope === undefined ? { space: "as-scored" } : { space: "pre-rope", rope },
    tiers: { sinks: 3, window: 5 },
    capacity: {
      sequences: 2,
      tokens: 300,
      sequenceTokens: 200,
      stepTokens: 45,
      appendTokens: 40,
    },
  };
}

/** Growth over the edges of blocks and pages, a rollback that the exact tier covers, and steps of one token. */
const MOVES: readonly Move[] = [
  { tokens: { 0: 40 }, silent: true },
  { tokens: { 0: 30, 1: 1 } },
  { tokens: { 0: 40 }, silent: true },
  { tokens: { 0: 40 }, silent: true },
  { tokens: { 0: 2, 1: 5 } },
  { truncate: 0, length: 141 },
  { tokens: { 0: 20 } },
  { tokens: { 0: 1 } },
];

/** Pairs that share a kernel and pairs that do not, beside learned and uncompressed sides, with every layout of pairs of channels. */
const CASES: readonly [
  keys: SchemeId,
  values: SchemeId,
  headDim: number,
  rope: RopeParameters | undefined,
][] = [
  ["u8b8", "u8b8", 64, { layout: "half", theta: 10000 }],
  ["u8b8", "u4b8", 64, { layout: "interleaved", theta: 10000 }],
  ["u4b8", "u4b8", 64, { layout: "half", theta: 10000, rotaryDim: 32 }],
  ["u4b8", "c8b8", 128, { layout: "half", theta: 10000, rotaryDim: 64, positionOffset: 3 }],
  ["c8b8", "u8b8", 128, { layout: "interleaved", theta: 10000, rotaryDim: 64 }],
  ["f16", "u4b8", 64, undefined],
  ["t1b2", "t1b4", 64, { layout: "interleaved", theta: 10000, rotaryDim: 16 }],
  ["t1b3", "u8b8", 64, undefined],
  ["t1b1", "c4b8", 64, undefined],
  ["v4b8", "v4b8", 64, { layout: "half", theta: 10000 }],
  ["v8b10", "v8b10", 64, undefined],
  ["v8b8", "v4b8", 128, { layout: "interleaved", theta: 10000, rotaryDim: 64, positionOffset: 3 }],
  ["u8b8", "v8b8", 64, { layout: "half", theta: 10000, rotaryDim: 32 }],
  ["v4b8", "c8b8", 128, undefined],
];

/** The pairs that share a kernel. */
const FUSED: readonly string[] = ["u8b8/u8b8", "u4b8/u4b8", "v4b8/v4b8", "v8b10/v8b10"];

for (const [keys, values, headDim, rope] of CASES) {
  const space = rope === undefined
    ? "as scored"
    : `${rope.layout} over ${rope.rotaryDim ?? headDim} channels`;
  Deno.test(`${keys} keys, ${values} values at d${headDim}, ${space}: the cache agrees with float64`, async () => {
    const { plan, error } = await compareWithReference(device, {
      options: optionsOf(keys, values, headDim, rope),
      moves: MOVES,
    });
    const fused = plan.layers[0]!.decode.attend !== undefined;
    assert.equal(fused, FUSED.includes(`${keys}/${values}`));
    assert.ok(error < 2e-5, `the largest difference is ${error}`);
  });
}

for (const [keys, values] of [["t1b3", "t1b2"], ["u8b8", "u4b8"], ["v8b10", "v8b8"]] as const) {
  Deno.test(`restoreSequence() gives what snapshotSequence() took of ${keys}/${values}, metadata included`, async () => {
    const options = optionsOf(keys, values, 64, { layout: "half", theta: 10000 });
    const [source, target] = [await gridCache(device, options), await gridCache(device, options)];
    const sequence = source.createSequence();
    // An odd number of coded tokens, so that a record of two is half full.
    for (const tokens of [40, 40, 40, 21]) await feed(device, source, sequence, tokens);
    const file = await snapshotSequence(source, sequence);
    source.truncate(sequence, 130);
    assert.notDeepEqual(await snapshotSequence(source, sequence), file);
    const restored = await restoreSequence(target, file);
    assert.deepEqual(await snapshotSequence(target, restored), file);
    for (const cache of [source, target]) cache.destroy();
  });
}

/** Layers with universal codebooks, and the bytes all of them take. */
const CODEBOOK_BYTES: readonly [keys: SchemeId, values: SchemeId, bytes: number][] = [
  ["u8b8", "u8b8", 256 * 8 * 2],
  ["u8b8", "u4b8", 256 * 8 * 2 + 256 * 4 * 2],
  ["t1b4", "t1b4", 16 * 2],
  ["f16", "u8b8", 256 * 8 * 2],
];

for (const [keys, values, bytes] of CODEBOOK_BYTES) {
  Deno.test(`${keys}/${values}: six layers share ${bytes} bytes of codebooks, planned and allocated`, async () => {
    const plan = planCache({ ...optionsOf(keys, values, 64, undefined, 6), kernels: manifest });
    const cache = await createCache({ device, plan });
    assert.equal(plan.bytes.codebooks, bytes);
    assert.deepEqual(cache.stats().bytes, plan.bytes);
    const buffers = new Set(
      Array.from({ length: 6 }, (_, layer) => cache.buffers(layer).codebooks!),
    );
    assert.equal(buffers.size, 1);
    assert.equal([...buffers][0]!.size, bytes);
    cache.destroy();
  });
}

Deno.test("planCache() says how many bits a record takes, metadata included", () => {
  for (
    const [id, headDim, bits] of [["u8b8", 64, 1.3828125], ["u4b8", 64, 2.3828125], [
      "u8b8",
      128,
      1.31640625,
    ]] as const
  ) {
    const { words, tokens } = parseScheme(id).layout(headDim);
    assert.equal((words * 32) / tokens / headDim, bits);
    assert.equal(
      planCache({ ...optionsOf(id, id, headDim, undefined), kernels: manifest }).nominalBits,
      bits,
    );
  }
});

Deno.test("planCache() refuses a rotated scheme at a head dimension without a Hadamard matrix", () => {
  for (const headDim of [80, 96]) {
    for (const [keys, values] of [["u8b8", "c8b8"], ["c8b8", "t1b2"]] as const) {
      assert.throws(
        () => planCache({ ...optionsOf(keys, values, headDim, undefined), kernels: manifest }),
        (error) => error instanceof CoupletError && error.code === "shape",
      );
    }
  }
});
