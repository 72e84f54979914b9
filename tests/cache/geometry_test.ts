/** Layers that differ in their heads, head dimensions, scales and rotary embeddings, beside the float64 reference. */
import assert from "node:assert/strict";
import {
  BASE_LIMITS,
  type CacheOptions,
  type KernelInfo,
  planCache,
  restoreSequence,
  type RopeParameters,
  snapshotSequence,
} from "../../mod.ts";
import { generateKernels } from "../../codegen/generate.ts";
import { seededRandom } from "../../src/base/random.ts";
import { manifest } from "../../generated/manifest.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { compareWithReference, type Offer, uploadBuffer } from "../helpers/cache_oracle.ts";
import { withGenerated } from "../helpers/generated_kernels.ts";
import { gridCodebooks } from "../helpers/grid_numbers.ts";
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
const SCENES: Record<string, Partial<CacheOptions & Offer>> = {
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
  "head dimensions, up to 512": {
    shape: { ...base.shape, headDim: [512, 256, 512] },
    policy: {
      keys: "c4b8",
      values: "c4b8",
      layers: { 2: { keys: "f16", values: "f16" } },
    },
  },
  "head dimensions, up to 512, of other schemes": {
    shape: { ...base.shape, headDim: [512, 256, 512] },
    policy: { keys: "c4b8", values: "f16" },
  },
  "head dimensions, up to 512, as scored": {
    shape: { ...base.shape, headDim: [512, 256, 512] },
    policy: { keys: "c4b8", values: "c4b8", layers: { 2: { keys: "f16", values: "c4b8" } } },
    keys: { space: "as-scored" },
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

/** Keys and values of different channels, and a layer that shares them. */
const SIDES: CacheOptions = {
  ...base,
  shape: {
    layers: 5,
    queryHeads: 4,
    keyValueHeads: [2, 1, 2, 2, 1],
    headDim: [96, 64, 128, 128, 64],
    valueHeadDim: [64, 128, 128, 64, 128],
    sharesWith: [null, null, null, null, 1],
    slidingWindow: [40, 0, 40, 40, 0],
  },
  policy: {
    keys: "c8b8",
    values: "c4b8",
    layers: {
      1: { keys: "u4b8", values: "u4b8" },
      3: { keys: "f16", values: "n16b8x2" },
    },
  },
};
SCENES["channels of keys and values"] = SIDES;
SCENES["channels of keys and values, as scored, in several buffers"] = {
  ...base,
  shape: { ...base.shape, layers: 2, headDim: 128, valueHeadDim: [64, 128] },
  policy: { keys: "c8b8", values: "f16" },
  keys: { space: "as-scored" },
  capacity: { ...base.capacity, tokens: 100_000 },
  limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: 2 ** 25 },
};
SCENES["channels of keys and values, anchored"] = {
  ...base,
  shape: { ...base.shape, layers: 2, valueHeadDim: [128, 64] },
  keys: { space: "anchored", rope: LOCAL },
};

/** Gemma 4 in small: sliding and global layers of other heads, and layers without keys and values of their own. */
const SHARING: CacheOptions = {
  ...base,
  shape: {
    layers: 5,
    queryHeads: [4, 4, 4, 8, 4],
    keyValueHeads: [2, 1, 2, 1, 2],
    headDim: [64, 128, 64, 128, 64],
    slidingWindow: [40, 0, 40, 0, 40],
    sharesWith: [null, null, null, 1, 2],
  },
  policy: { keys: "c8b8", values: "c4b8", layers: { 2: { keys: "f16", values: "u4b8" } } },
  keys: { space: "pre-rope", rope: [LOCAL, GLOBAL, LOCAL, GLOBAL, LOCAL] },
  scale: [0.1, 0.2, 0.1, 0.15, 0.1],
};
SCENES["whose keys and values they have"] = SHARING;
SCENES["whose keys and values they have, in several buffers"] = {
  ...base,
  shape: { ...base.shape, sharesWith: [null, null, 0] },
  policy: { keys: "c8b8", values: "f16" },
  capacity: { ...base.capacity, tokens: 100_000 },
  limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: 2 ** 24 },
};

for (const [name, change] of Object.entries(SCENES)) {
  Deno.test(`layers that differ in ${name} equal float64`, async () => {
    const { limits, ...own } = change;
    const options = { ...base, ...own };
    const logits = [options.shape.queryHeads].flat();
    const { error, plan } = await compareWithReference(device, {
      options,
      ...(limits && { limits }),
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

/** The layers of Gemma 4's text model: five with a sliding window for each global one, the last ten without keys and values. */
const GEMMA_LAYERS = Array.from({ length: 30 }, (_, layer) => ({
  isGlobal: layer % 6 === 5,
  sharesWith: layer < 20 ? null : layer % 6 === 5 ? 17 : 19,
}));

Deno.test("thirty layers, sliding and global ones of other heads and rotary embeddings, ten of which share, equal float64", async () => {
  const each = <T>(global: T, sliding: T) =>
    GEMMA_LAYERS.map(({ isGlobal }) => isGlobal ? global : sliding);
  const { error, plan } = await compareWithReference(device, {
    options: {
      ...base,
      shape: {
        layers: 30,
        queryHeads: 2,
        keyValueHeads: each(1, 2),
        headDim: each(512, 256),
        slidingWindow: each(0, 32),
        sharesWith: GEMMA_LAYERS.map(({ sharesWith }) => sharesWith),
      },
      keys: {
        space: "pre-rope",
        rope: each<RopeParameters>({ ...GLOBAL, rotaryDim: 64 }, LOCAL),
      },
      scale: 0.1,
      policy: { keys: "c4b8", values: "c4b8" },
    },
    moves: [{ tokens: { 0: 60, 1: 20 } }, { tokens: { 0: 40 } }, { tokens: { 0: 1, 1: 1 } }],
  });
  assert.ok(error < TOLERANCE, `error ${error}`);
  assert.equal(plan.layers.filter(({ bytes }) => bytes.keys.codes > 0).length, 20);
});

Deno.test("layers of 32, 112, 160 and 192 channels in one cache, values of others in two, by kernels that the package lacks, equal float64", async () => {
  const headDim = [32, 112, 160, 192];
  const files = generateKernels({ pairs: ["c8b8/c4b8"], headDims: headDim });
  await withGenerated(files, async (kernels) => {
    const { error } = await compareWithReference(device, {
      options: {
        ...base,
        shape: { ...base.shape, layers: 4, headDim, valueHeadDim: [160, 112, 32, 192] },
      },
      moves: MOVES,
      kernels,
    });
    assert.ok(error < TOLERANCE, `error ${error}`);
  });
});

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

Deno.test("planCache takes score and mix where values have other channels, counts both, and says so", () => {
  const plan = (headDim: number, valueHeadDim?: number) =>
    planCache({
      ...base,
      shape: { ...base.shape, headDim, ...(valueHeadDim && { valueHeadDim }) },
      policy: { keys: "c8b8", values: "c8b8" },
      kernels: manifest,
    });
  const [small, large, mixed] = [plan(64), plan(128), plan(128, 64)];
  assert.deepEqual(plan(64, 64).bytes, small.bytes);
  assert.equal(plan(64, 64).describe(), small.describe());
  for (const kind of ["codes", "exact", "codebooks"] as const) {
    assert.equal(mixed.bytes[kind], (small.bytes[kind] + large.bytes[kind]) / 2);
    for (const layer of mixed.layers.keys()) {
      const [own, keys, values] = [mixed, large, small].map(({ layers }) => layers[layer]!.bytes);
      assert.equal(own!.keys[kind], keys!.keys[kind]);
      assert.equal(own!.values[kind], values!.values[kind]);
    }
  }
  for (const attention of mixed.layers.flatMap(({ decode, prefill }) => [decode, prefill])) {
    assert.equal(attention.attend, undefined);
    assert.equal(attention.score?.name, "score_c8b8_d128_rope");
    assert.equal(attention.mix?.name, "mix_c8b8_d64");
  }
  const text = mixed.describe();
  assert.match(text, /layer 2: 2 KV heads of 128 channels \(values 64\) for 4 query heads/);
  assert.match(text, /append: store_d128 \+ store_d64 \+ encode_c8b8_d128 \+ encode_c8b8_d64/);
});

Deno.test("planCache names the kernels that keys of 176 channels and values of 112 lack, and how to generate them", async () => {
  const options = { ...base, shape: { ...base.shape, headDim: 176, valueHeadDim: 112 } };
  const lacks = (kernels: readonly KernelInfo[], words: RegExp) =>
    assert.throws(() => planCache({ ...options, kernels }), { code: "kernel", message: words });
  lacks(manifest, /encode c8b8 at head dimension 176.*--scheme c8b8 --head-dim 176 --out/s);
  const files = generateKernels({ schemes: ["c8b8"], headDims: [176] });
  await withGenerated(files, async (kernels) => {
    lacks(
      [...manifest, ...kernels],
      /encode c4b8 at head dimension 112.*--scheme c4b8 --head-dim 112 --out/s,
    );
    await withGenerated(generateKernels({ schemes: ["c4b8"], headDims: [112] }), (others) => {
      planCache({ ...options, kernels: [...manifest, ...kernels, ...others] });
      return Promise.resolve();
    });
  });
});

Deno.test("Cache refuses to append to a layer that shares, and to attend in it too early; it reads the other's", async () => {
  const cache = await gridCache(device, SHARING);
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 3);
  const step = cache.beginStep([{ sequence, tokens: 1 }]);
  const buffer = uploadBuffer(device, new Float32Array(1024));
  const output = { buffer: uploadBuffer(device, new Float32Array(1024)) };
  const encoder = device.createCommandEncoder();
  const tensors = { keys: { buffer }, values: { buffer } };
  assert.throws(() => cache.encodeAppend(encoder, step, 4, tensors), {
    code: "usage",
    message: /layer 4.*those of layer 2/,
  });
  assert.throws(
    () => cache.encodeAttend(encoder, step, 4, { queries: { buffer }, output }),
    { code: "usage", message: /layer 2, which it shares with/ },
  );
  cache.truncate(sequence, 3);
  const read = async (layer: number) => {
    const output = { buffer: uploadBuffer(device, new Float32Array(128)) };
    const own = device.createCommandEncoder();
    cache.encodeRead(own, sequence, layer, { side: "keys", first: 2, count: 1, output });
    device.queue.submit([own.finish()]);
    return new Float32Array(await readBuffer(device, output.buffer));
  };
  assert.deepEqual(await read(4), await read(2));
  assert.ok((await read(4)).some((number) => number !== 0));
  cache.destroy();
});

Deno.test("layers that share take no bytes but their tables", async () => {
  // Without channel scales, which plans do not know of.
  const codebooks = gridCodebooks(SHARING, seededRandom(1));
  const cache = await gridCache(device, SHARING, { codebooks });
  const { plan } = cache;
  const { bytes, layers } = cache.stats();
  assert.deepEqual(bytes, plan.bytes);
  assert.deepEqual(layers, plan.layers.map((layer) => layer.bytes));
  const nothing = { codes: 0, exact: 0, codebooks: 0 };
  assert.deepEqual([layers[4]!.keys, layers[4]!.values], [nothing, nothing]);
  assert.match(plan.describe(), /layer 4: .*\n *the keys and values of layer 2\n *decode/);
  cache.destroy();
});

const KEPT = { differ: SCENES.everything, share: SHARING, "differ in keys and values": SIDES };

for (const [name, own] of Object.entries(KEPT)) {
  Deno.test(`snapshots and forks of layers that ${name} go on alike, and are refused by other layers`, async () => {
    const create = (change: Partial<CacheOptions> = {}) =>
      gridCache(device, { ...base, ...own, ...change });
    const [cache, restoring, other] = await Promise.all([
      create(),
      create(),
      create({ scale: 0.4 }),
    ]);
    const sequence = cache.createSequence();
    await feed(device, cache, sequence, 60, { step: 30 });
    const bytes = await snapshotSequence(cache, sequence);
    const restored = await restoreSequence(restoring, bytes);
    const encoder = device.createCommandEncoder();
    const fork = cache.encodeFork(encoder, sequence);
    device.queue.submit([encoder.finish()]);
    const next = { attend: true };
    const wanted = await feed(device, cache, sequence, 1, next);
    assert.deepEqual(await feed(device, restoring, restored, 1, next), wanted);
    assert.deepEqual(await feed(device, cache, fork, 1, next), wanted);
    await assert.rejects(restoreSequence(other, bytes), { code: "snapshot" });
    for (const one of [cache, restoring, other]) one.destroy();
  });
}

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
  "sharing with a layer that shares": [
    { shape: { ...base.shape, sharesWith: [null, 0, 1] } },
    /layer 2 shares .* layer 1, which is no earlier layer with its own/,
  ],
  "sharing with a later layer": [
    { shape: { ...base.shape, sharesWith: [1, null, null] } },
    /no earlier layer/,
  ],
  "sharing with a layer that does not exist": [
    { shape: { ...base.shape, sharesWith: [null, null, 7] } },
    /no earlier layer/,
  ],
  "sharing of other channels of values": [
    { shape: { ...base.shape, valueHeadDim: [64, 128, 64], sharesWith: [null, 0, null] } },
    /heads, sliding windows or rotary embeddings differ/,
  ],
  "a list of values' channels of another length": [
    { shape: { ...base.shape, valueHeadDim: [64, 64] } },
    /2 numbers of head dimensions of values for 3 layers/,
  ],
  "a scheme that values of these channels cannot have": [
    { shape: { ...base.shape, valueHeadDim: 96 }, policy: { keys: "u4b8", values: "u4b8" } },
    /head dimension 96/,
  ],
  "sharing of other heads": [
    { shape: { ...base.shape, keyValueHeads: [2, 1, 2], sharesWith: [null, 0, null] } },
    /heads, sliding windows or rotary embeddings differ/,
  ],
  "sharing of another rotary embedding": [
    {
      keys: { space: "pre-rope", rope: [LOCAL, GLOBAL, LOCAL] },
      shape: { ...base.shape, sharesWith: [null, 0, null] },
    },
    /rotary embeddings differ/,
  ],
  "schemes of a layer that shares": [
    {
      shape: { ...base.shape, sharesWith: [null, 0, null] },
      policy: { ...base.policy, layers: { 1: { keys: "f16", values: "f16" } } },
    },
    /policy has schemes/,
  ],
  "sharing that is no list": [{ shape: { ...base.shape, sharesWith: 0 as never } }, /sharesWith/],
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
