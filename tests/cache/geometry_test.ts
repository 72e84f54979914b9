/** Layers that differ in their heads, head dimensions, scales and rotary embeddings, beside the float64 reference. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  planCache,
  restoreSequence,
  type RopeParameters,
  snapshotSequence,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithReference } from "../helpers/cache_oracle.ts";
import { feed, gridCache } from "../helpers/snapshots.ts";
import type { Move } from "../helpers/reference_run.ts";

const device = await requestTestDevice();

const TOLERANCE = 2e-5;

const LOCAL: RopeParameters = { layout: "half", theta: 10000 };
const GLOBAL: RopeParameters = { layout: "half", theta: 1e6 };

const base: CacheOptions = {
  shape: { layers: 3, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "c8b8", values: "c4b8" },
  keys: { space: "pre-rope", rope: LOCAL },
  tiers: { sinks: 4, window: 16 },
  capacity: { sequences: 2, tokens: 400, sequenceTokens: 300, stepTokens: 128, appendTokens: 100 },
};

/** Prompts over page edges, single tokens, and a rollback. */
const MOVES: readonly Move[] = [
  { tokens: { 0: 99, 1: 29 } },
  { tokens: { 0: 48, 1: 35 } },
  { truncate: 0, length: 83 },
  { tokens: { 0: 1, 1: 1 } },
];

/** What layers differ in. */
const SCENES: Readonly<Record<string, Partial<CacheOptions>>> = {
  "head dimensions": { shape: { ...base.shape, headDim: [64, 128, 64] } },
  "head dimensions, as scored": {
    shape: { ...base.shape, headDim: [128, 64, 64] },
    keys: { space: "as-scored" },
  },
  "query and KV heads": {
    shape: { ...base.shape, queryHeads: [4, 8, 6], keyValueHeads: [2, 1, 6] },
  },
  "scales": { scale: [0.1, 0.3, 0.05] },
  "rotary embeddings": { keys: { space: "pre-rope", rope: [LOCAL, GLOBAL, LOCAL] } },
  "rotary embeddings, one without": {
    keys: { space: "pre-rope", rope: [{ ...LOCAL, rotaryDim: 32 }, null, GLOBAL] },
  },
  "everything": {
    shape: {
      layers: 3,
      queryHeads: [4, 8, 4],
      keyValueHeads: [2, 1, 4],
      headDim: [64, 128, 128],
      slidingWindow: [40, 0, 40],
    },
    policy: { keys: "f16", values: "u4b8", layers: { 1: { keys: "c8b8", values: "c8b8" } } },
    keys: { space: "pre-rope", rope: [LOCAL, null, GLOBAL] },
    scale: [0.1, 0.2, 0.3],
  },
};

for (const [name, change] of Object.entries(SCENES)) {
  Deno.test(`layers that differ in ${name} equal float64`, async () => {
    const options = { ...base, ...change };
    const logits = [options.shape.queryHeads].flat();
    const { error, plan } = await compareWithReference(device, {
      options,
      moves: MOVES,
      sinkLogits: Float32Array.from(
        {
          length: logits.length > 1
            ? logits.reduce((a, b) => a + b)
            : options.shape.layers * logits[0]!,
        },
        (_, i) => i / 4 - 1,
      ),
    });
    assert.ok(error < TOLERANCE, `error ${error}`);
    assert.ok(plan.bytes.total > 0);
  });
}

Deno.test("planCache counts every layer's own channels, and says where they differ", () => {
  const plan = (headDim: number | readonly number[]) =>
    planCache({ ...base, shape: { ...base.shape, headDim }, kernels: manifest });
  const [small, mixed, large] = [plan(64), plan([64, 64, 128]), plan(128)];
  for (const kind of ["codes", "exact", "codebooks"] as const) {
    assert.equal(3 * mixed.bytes[kind], 2 * small.bytes[kind] + large.bytes[kind]);
  }
  assert.match(mixed.describe(), /layer 2: 2 KV heads of 128 channels for 4 query heads/);
  assert.match(small.describe(), /layer 2: 2 KV heads$/m);
});

Deno.test("snapshots of layers that differ are restored, and refused where layers differ otherwise", async () => {
  const create = (change: Partial<CacheOptions> = {}) =>
    gridCache(device, { ...base, ...SCENES.everything, ...change });
  const [cache, restoring, other] = await Promise.all([
    create(),
    create(),
    create({ scale: [0.1, 0.2, 0.4] }),
  ]);
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 60, { step: 30 });
  const bytes = await snapshotSequence(cache, sequence);
  const restored = await restoreSequence(restoring, bytes);
  const next = { attend: true };
  assert.deepEqual(
    await feed(device, restoring, restored, 1, next),
    await feed(device, cache, sequence, 1, next),
  );
  await assert.rejects(restoreSequence(other, bytes), { code: "snapshot" });
  for (const one of [cache, restoring, other]) one.destroy();
});

/** What a plan refuses, and words of the error. */
const REFUSED: Readonly<Record<string, readonly [Partial<CacheOptions>, RegExp]>> = {
  "a list of another length": [
    { shape: { ...base.shape, headDim: [64, 64] } },
    /2 numbers of head dimensions for 3 layers/,
  ],
  "too few rotary embeddings": [
    { keys: { space: "pre-rope", rope: [LOCAL] } },
    /1 numbers of rotary embeddings \(keys\.rope\) for 3 layers/,
  ],
  "query heads that do not divide": [
    { shape: { ...base.shape, queryHeads: [4, 3, 4] } },
    /3 query heads do not divide among the 2 KV heads of layer 1/,
  ],
  "a list of rotary embeddings of anchored keys": [
    { keys: { space: "anchored", rope: [LOCAL, LOCAL, LOCAL] as never } },
    /keys\.rope/,
  ],
  "anchored keys of several head dimensions": [
    { keys: { space: "anchored", rope: LOCAL }, shape: { ...base.shape, headDim: [64, 128, 64] } },
    /head dimension/,
  ],
  "a scale that is none": [{ scale: [1, 0, 1] }, /scale/],
};

for (const [name, [change, words]] of Object.entries(REFUSED)) {
  Deno.test(`planCache refuses ${name}`, () => {
    assert.throws(() => planCache({ ...base, ...change, kernels: manifest }), {
      code: "shape",
      message: words,
    });
  });
}
