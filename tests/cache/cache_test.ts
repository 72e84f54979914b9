import assert from "node:assert/strict";
import {
  BASE_LIMITS,
  type CacheOptions,
  type CachePlan,
  type CodebookSet,
  CoupletError,
  createCache,
  type KernelInfo,
  layerShape,
  parseScheme,
  planCache,
  schemeCodec,
  type Sequence,
  unpackRecords,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { roundToGrid } from "../../src/codebooks/grid.ts";
import { fromFloat16Array, toFloat16Array } from "../../src/base/float16.ts";
import { seededRandom } from "../../src/base/random.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import {
  compareWithReference,
  deviceRecords,
  headCentroids,
  type Offer,
  uploadBuffer,
} from "../helpers/cache_oracle.ts";
import { gridCodebooks, gridVectors } from "../helpers/grid_numbers.ts";
import type { Move, Scenario } from "../helpers/reference_run.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { refuses } from "../helpers/refusals.ts";
import { tunedPlan } from "../helpers/tuned_plan.ts";

const device = await requestTestDevice();

const TOLERANCE = 2e-5;

const base: CacheOptions = {
  shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "c8b8", values: "c4b8" },
  keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
  tiers: { sinks: 4, window: 16 },
  capacity: {
    sequences: 2,
    tokens: 400,
    sequenceTokens: 300,
    stepTokens: 128,
    appendTokens: 100,
  },
};

/** Room for so many tokens that a layer's records exceed small bindings. */
const LONG = { ...base.capacity, tokens: 100_000 };

/** One token, then prompts in chunks that end on, before and behind page edges, and rollbacks. */
const PROMPTS: readonly Move[] = [
  { tokens: { 0: 1 } },
  { tokens: { 0: 99, 1: 29 } },
  { tokens: { 0: 48, 1: 35 } },
  { tokens: { 0: 1, 1: 1 } },
  { truncate: 0, length: 83 },
  { tokens: { 0: 65, 1: 63 } },
  { truncate: 1, length: 0 },
  { tokens: { 0: 1, 1: 7 } },
];

/** Sequences of many tiles, the last one incomplete. */
const MANY_TILES: readonly Move[] = [
  ...Array.from({ length: 13 }, () => ({ tokens: { 0: 100 }, silent: true })),
  { tokens: { 0: 1, 1: 1 } },
  { tokens: { 0: 50 } },
  { truncate: 0, length: 1300 },
  { tokens: { 0: 1 } },
];

/** As many tokens as make the planner take the largest tiles. */
const LARGE_TILES = { ...base.capacity, tokens: 4500, sequenceTokens: 4200 };

/** Steps so small that tables of q.centroid fit a small binding, over the edge of a page. */
const SMALL_STEPS: readonly Move[] = [
  ...Array.from({ length: 5 }, () => ({ tokens: { 0: 20, 1: 7 }, silent: true })),
  { tokens: { 0: 20, 1: 5 } },
  { tokens: { 0: 1, 1: 1 } },
  { truncate: 0, length: 96 },
  { tokens: { 1: 20, 0: 7 } },
];

/** How a scenario must attend. The planner is given no other way, because what it estimates to be the least moves. */
interface Takes {
  /** What the names of the kernels that score match. */
  readonly scoring?: RegExp;
  /** Whether they read a table that another kernel fills. */
  readonly table?: boolean;
  /** What the names of the kernels that mix match. */
  readonly mixing?: RegExp;
  /** Pages of a coded tile. */
  readonly span?: number;
  /** Buffers that each layer's records lie in. */
  readonly parts?: number;
}

/** What a host may ask for, beyond the defaults; each with prompts of many tokens and single ones. */
const SCENARIOS: Readonly<
  Record<string, Partial<CacheOptions & Scenario & Offer & { readonly takes: Takes }>>
> = {
  "codes alone": { tiers: { sinks: 0, window: 0 } },
  "sinks without a window": { tiers: { sinks: 7, window: 0 } },
  "a window without sinks": { tiers: { sinks: 0, window: 33 } },
  "sinks and window beyond the sequence": { tiers: { sinks: 90, window: 250 } },
  "sinks beyond a page": { tiers: { sinks: 70, window: 5 } },
  "sinks beyond a tile": { tiers: { sinks: 130, window: 5 } },
  "one query head a KV head": {
    shape: { layers: 1, queryHeads: 2, keyValueHeads: 2, headDim: 64 },
  },
  "one KV head for eight query heads": {
    shape: { layers: 1, queryHeads: 8, keyValueHeads: 1, headDim: 64 },
  },
  "three query heads a KV head": {
    shape: { layers: 1, queryHeads: 6, keyValueHeads: 2, headDim: 64 },
  },
  "twelve query heads a KV head": {
    shape: { layers: 1, queryHeads: 12, keyValueHeads: 1, headDim: 64 },
  },
  "interleaved rotary pairs": {
    keys: { space: "pre-rope", rope: { layout: "interleaved", theta: 500000 } },
  },
  "partial rotary embedding": {
    keys: { space: "pre-rope", rope: { layout: "half", theta: 10000, rotaryDim: 48 } },
  },
  "partial interleaved rotary embedding": {
    keys: { space: "pre-rope", rope: { layout: "interleaved", theta: 100, rotaryDim: 16 } },
  },
  "a position offset": {
    keys: { space: "pre-rope", rope: { layout: "half", theta: 10000, positionOffset: 1000 } },
  },
  "explicit frequencies": {
    keys: {
      space: "pre-rope",
      rope: {
        layout: "half",
        theta: 1,
        inverseFrequencies: Array.from({ length: 32 }, (_, i) => 2 / (i + 1)),
      },
    },
  },
  "a sliding window": {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64, slidingWindow: 40 },
  },
  "a sliding window shorter than the exact one": {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64, slidingWindow: 9 },
  },
  "sliding and full layers": {
    shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 64, slidingWindow: [150, 0] },
    tiers: { sinks: 0, window: 0 },
  },
  "KV heads by layer": {
    shape: { layers: 2, queryHeads: 4, keyValueHeads: [1, 4], headDim: 64 },
    policy: { keys: "c8b8", values: "c8b8" },
  },
  "layers in several buffers": {
    shape: { layers: 1, queryHeads: 6, keyValueHeads: 3, headDim: 64 },
    capacity: LONG,
    limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: LONG.tokens * 16 * 2 },
    scaled: true,
    takes: { parts: 3 },
  },
  "centroids in workgroup memory and layers in several buffers": {
    shape: { layers: 1, queryHeads: 6, keyValueHeads: 3, headDim: 64 },
    capacity: LONG,
    limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: LONG.tokens * 16 * 2 },
    features: new Set(["staged"]),
    takes: { scoring: /^score_/, mixing: /_staged$/, parts: 3 },
  },
  "tables of q.centroid and layers in several buffers": {
    shape: { layers: 1, queryHeads: 6, keyValueHeads: 3, headDim: 64 },
    keys: { space: "as-scored" },
    policy: { keys: "c1b4", values: "c1b2" },
    capacity: { ...LONG, tokens: 200_000, stepTokens: 28, appendTokens: 20 },
    limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: 200_000 * 32 * 2 },
    moves: SMALL_STEPS,
    takes: { scoring: /_table$/, table: true, parts: 3 },
  },
  "learned sinks": { sinkLogits: Float32Array.of(0.5, -3, 8, 2) },
  "learned sinks by layer": {
    shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
    sinkLogits: Float32Array.of(0.5, -3, 8, 2, 5, 1, -2, 7),
  },
  "a softcap": { softcap: 3 },
  "a softmax scale": { scale: 0.31 },
  "channel scales": { scaled: true },
  "keys as scored": { keys: { space: "as-scored" }, takes: { scoring: /_plain$/, table: false } },
  "a learned side and another, by layer": {
    shape: { layers: 4, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
    policy: {
      keys: "c4b8",
      values: "f16",
      layers: { 2: { keys: "f16", values: "c4b8" }, 3: { keys: "f16", values: "c4b8" } },
    },
  },
  "a learned side and a universal one, by layer": {
    shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
    policy: { keys: "c4b8", values: "u8b8" },
  },
  "a scheme of each kind by layer": {
    shape: { layers: 3, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
    policy: {
      keys: "c8b10",
      values: "c2b2",
      layers: { 1: { keys: "f16", values: "c16b12" }, 2: { keys: "c1b1", values: "f16" } },
    },
  },
  "tiles of four pages": {
    capacity: { ...base.capacity, tokens: 2100, sequenceTokens: 2000 },
    moves: MANY_TILES,
    takes: { span: 4 },
  },
  "tiles of eight pages": { capacity: LARGE_TILES, moves: MANY_TILES, takes: { span: 8 } },
  "tiles of eight pages, keys as scored": {
    keys: { space: "as-scored" },
    policy: { keys: "c4b8", values: "f16" },
    capacity: LARGE_TILES,
    moves: MANY_TILES,
    takes: { scoring: /_plain$/, table: false, span: 8 },
  },
  "tiles of eight pages, a sliding window": {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64, slidingWindow: 700 },
    capacity: LARGE_TILES,
    moves: MANY_TILES,
    takes: { span: 8 },
  },
  "tiles of eight pages, universal codes": {
    policy: { keys: "u8b8", values: "u8b8" },
    keys: { space: "as-scored" },
    capacity: LARGE_TILES,
    moves: MANY_TILES,
    takes: { scoring: /^attend_u8b8_u8b8_/, span: 8 },
  },
  "tiles of eight pages, means by page": {
    policy: { keys: "n8b8", values: "n8b8" },
    capacity: LARGE_TILES,
    moves: MANY_TILES,
    takes: { scoring: /^attend_n8b8_n8b8_/, span: 8 },
  },
  "tiles of eight pages, means by page, a sliding window": {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64, slidingWindow: 700 },
    policy: { keys: "n8b8", values: "n8b8" },
    keys: { space: "as-scored" },
    capacity: LARGE_TILES,
    moves: MANY_TILES,
    takes: { scoring: /^attend_n8b8_n8b8_d64_plain$/, table: false, span: 8 },
  },
  "tiles of eight pages, means by page and tables of q.centroid": {
    policy: { keys: "n8b8", values: "n8b8" },
    keys: { space: "as-scored" },
    capacity: { ...LARGE_TILES, stepTokens: 100 },
    moves: MANY_TILES,
    takes: { scoring: /_table$/, table: true, span: 8 },
  },
  "tiles of eight pages, means by page, values apart": {
    policy: { keys: "n8b8", values: "n4b8" },
    keys: { space: "as-scored" },
    capacity: LARGE_TILES,
    moves: MANY_TILES,
    takes: { scoring: /^score_n8b8_d64_plain$/, table: false, span: 8 },
  },
  "means by page beside values without": {
    policy: { keys: "n8b8", values: "f16" },
    capacity: LARGE_TILES,
    moves: MANY_TILES,
    takes: { scoring: /^score_n8b8_/, span: 8 },
  },
  "means by page of values alone": {
    policy: { keys: "f16", values: "n8b8" },
    capacity: LARGE_TILES,
    moves: MANY_TILES,
    takes: { scoring: /^score_f16_/, span: 8 },
  },
  "means by page, partial rotary embedding": {
    policy: { keys: "n16b8x2", values: "n8b8" },
    keys: { space: "pre-rope", rope: { layout: "half", theta: 10000, rotaryDim: 48 } },
  },
  "means by page, partial interleaved rotary embedding": {
    policy: { keys: "n16b8x2", values: "n8b8" },
    keys: { space: "pre-rope", rope: { layout: "interleaved", theta: 100, rotaryDim: 16 } },
  },
  "records of eight tokens": {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 80 },
    policy: { keys: "c8b10", values: "c16b12" },
  },
  "single bits": { policy: { keys: "c1b1", values: "c1b1" } },
  "tables of q.centroid": {
    keys: { space: "as-scored" },
    policy: { keys: "c1b4", values: "c1b2" },
    takes: { scoring: /_table$/, table: true },
  },
  "tables of q.centroid in workgroup memory": {
    keys: { space: "as-scored" },
    policy: { keys: "c1b2", values: "c1b2" },
    takes: { scoring: /_lut$/, table: false },
  },
};

/** The names of the kernels of both ways to attend that score. */
function scoringNames({ layers }: CachePlan): string[] {
  return layers.flatMap(({ decode, prefill }) =>
    [decode, prefill].map(({ attend, score }) => (attend ?? score)!.name)
  );
}

/** All kernels, but for those that score in another way than is to be taken. */
function offered({ scoring = /^/, mixing = /^/ }: Takes): KernelInfo[] {
  return manifest.filter(({ name }) =>
    /^(score|attend)_/.test(name) ? scoring.test(name) : !/^mix_/.test(name) || mixing.test(name)
  );
}

function checkTaken(plan: CachePlan, { scoring = /^/, mixing, table, span, parts }: Takes): void {
  for (const name of scoringNames(plan)) assert.match(name, scoring);
  for (const layer of plan.layers) {
    if (parts !== undefined) assert.equal(layer.parts.length, parts);
    for (const way of [layer.decode, layer.prefill]) {
      if (table !== undefined) assert.equal(way.table !== undefined, table);
      if (span !== undefined) assert.equal(way.span, span);
      if (mixing !== undefined) assert.match(way.mix!.name, mixing);
    }
  }
}

for (const [name, scenario] of Object.entries(SCENARIOS)) {
  const { moves = PROMPTS, scaled = false, sinkLogits, limits, takes = {}, ...more } = scenario;
  Deno.test(`Cache agrees with float64 with ${name}`, async () => {
    const options = { ...base, ...more };
    const offer = { kernels: offered(takes), ...(limits === undefined ? {} : { limits }) };
    const { span } = takes;
    const { plan, error } = await compareWithReference(device, {
      options,
      moves,
      scaled,
      ...offer,
      ...(sinkLogits === undefined ? {} : { sinkLogits }),
      ...(span === undefined
        ? {}
        : { tuning: tunedPlan(device, { ...options, ...offer }, () => ({ span })) }),
    });
    checkTaken(plan, takes);
    assert.ok(error < TOLERANCE, `the largest difference is ${error}`);
  });
}

/** A device cache of one layer with a sequence, and the errors that misuse gives. */
async function smallCache() {
  const options: CacheOptions = { ...base, policy: { keys: "c8b8", values: "c8b8" } };
  const codebooks = gridCodebooks(options, seededRandom(3));
  const plan = planCache({ ...options, kernels: manifest });
  return { options, codebooks, plan, cache: await createCache({ device, plan, codebooks }) };
}

Deno.test("Cache.stats() adds up to the plan's bytes", async () => {
  const { plan, cache } = await smallCache();
  const { bytes } = cache.stats();
  for (const kind of ["codes", "exact", "codebooks", "tables"] as const) {
    assert.equal(bytes[kind], plan.bytes[kind], kind);
  }
  const { codes, exact, codebooks, tables, scratch } = bytes;
  assert.equal(bytes.total, codes + exact + codebooks + tables + scratch);
  cache.destroy();
});

Deno.test("Cache refuses misuse and stays as it was", async () => {
  const { cache, plan, codebooks } = await smallCache();
  const first = cache.createSequence();
  const second = cache.createSequence();
  refuses("capacity", () => cache.createSequence());
  refuses("usage", () => cache.beginStep([]));
  refuses("capacity", () => cache.beginStep([{ sequence: first, tokens: 101 }]));
  refuses("capacity", () => cache.beginStep([{ sequence: first, tokens: 0 }]));
  refuses(
    "capacity",
    () => cache.beginStep([{ sequence: first, tokens: 65 }, { sequence: second, tokens: 64 }]),
  );
  refuses(
    "usage",
    () => cache.beginStep([{ sequence: first, tokens: 1 }, { sequence: first, tokens: 1 }]),
  );
  refuses("usage", () => cache.truncate(first, 1));
  refuses("usage", () => cache.length({ id: 0 }));
  assert.equal(cache.length(first), 0);

  const step = cache.beginStep([{ sequence: first, tokens: 2 }]);
  const encoder = device.createCommandEncoder();
  const small = device.createBuffer({ size: 256, usage: 0x80 });
  const large = device.createBuffer({ size: 4096, usage: 0x80 });
  const attend = { queries: { buffer: large }, output: { buffer: large } };
  refuses("usage", () => cache.encodeAttend(encoder, step, 0, attend));
  refuses(
    "usage",
    () =>
      cache.encodeAppend(encoder, step, 1, { keys: { buffer: large }, values: { buffer: large } }),
  );
  refuses(
    "shape",
    () =>
      cache.encodeAppend(encoder, step, 0, { keys: { buffer: small }, values: { buffer: large } }),
  );
  const other = await createCache({ device, plan, codebooks });
  refuses("usage", () => other.encodeAttend(encoder, step, 0, attend));
  refuses("usage", () => other.length(first));
  cache.freeSequence(second);
  refuses("usage", () => cache.freeSequence(second));
  refuses("usage", () =>
    cache.encodeRead(encoder, first, 0, {
      side: "keys",
      first: 0,
      count: 1,
      output: { buffer: large },
    }));
  cache.destroy();
  other.destroy();
});

Deno.test("Cache runs out of pages without harm, and goes on once some are free", async () => {
  const options: CacheOptions = {
    ...base,
    tiers: { sinks: 0, window: 0 },
    capacity: { ...base.capacity, tokens: 128 },
  };
  const plan = planCache({ ...options, kernels: manifest });
  const codebooks = gridCodebooks(options, seededRandom(4));
  const cache = await createCache({ device, plan, codebooks });
  const [first, second] = [cache.createSequence(), cache.createSequence()];
  for (const tokens of [64, 36]) cache.beginStep([{ sequence: first, tokens }]);
  cache.beginStep([{ sequence: second, tokens: 64 }]);
  assert.equal(cache.stats().pages.free, 0);
  refuses("capacity", () => cache.beginStep([{ sequence: second, tokens: 1 }]));
  assert.equal(cache.length(second), 64);
  cache.truncate(first, 64);
  assert.equal(cache.stats().pages.free, 1);
  cache.beginStep([{ sequence: second, tokens: 1 }]);
  cache.freeSequence(first);
  cache.freeSequence(second);
  assert.equal(cache.stats().pages.free, cache.stats().pages.total);
  cache.destroy();
});

Deno.test("createCache() refuses codebooks that are missing, foreign or of another space", async () => {
  const { plan, codebooks, cache } = await smallCache();
  cache.destroy();
  const cases = [
    { plan },
    { plan, codebooks: { ...codebooks, keySpace: "as-scored" as const } },
    { plan, codebooks, model: { name: "other", digest: "other" } },
    { plan, codebooks: { ...codebooks, codebooks: codebooks.codebooks.slice(1) } },
    {
      plan,
      codebooks: {
        ...codebooks,
        codebooks: codebooks.codebooks.map((book) => ({ ...book, headDim: 128 })),
      },
    },
  ];
  for (const init of cases) {
    await assert.rejects(
      createCache({ device, ...init }),
      (error) => error instanceof CoupletError && error.code === "codebook",
    );
  }
});

/** One step of eight tokens through a cache, from buffers made by `layOut`. */
async function runOnce(
  io: CacheOptions["io"],
  layOut: (dense: Float32Array<ArrayBuffer>, heads: number) => ArrayBufferView<ArrayBuffer>,
  inPass: boolean,
): Promise<Float32Array> {
  const tokens = 40;
  const capacity = { ...base.capacity, stepTokens: tokens, appendTokens: tokens };
  const options: CacheOptions = { ...base, capacity, ...(io === undefined ? {} : { io }) };
  const random = seededRandom(9);
  const codebooks = gridCodebooks(options, random);
  const cache = await createCache({
    device,
    plan: planCache({ ...options, kernels: manifest }),
    codebooks,
  });
  const { queryHeads, keyValueHeads, headDim } = layerShape(options.shape, 0);
  const buffers = [keyValueHeads, keyValueHeads, queryHeads].map((heads) => {
    const data = layOut(gridVectors(random, tokens * heads * headDim), heads);
    const buffer = device.createBuffer({ size: data.byteLength, usage: 0x80 | 0x04 | 0x08 });
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  });
  const output = device.createBuffer({ size: buffers[2]!.size, usage: 0x80 | 0x04 });
  const step = cache.beginStep([{ sequence: cache.createSequence(), tokens }]);
  const encoder = device.createCommandEncoder();
  const pass = inPass ? encoder.beginComputePass() : undefined;
  const target = pass ?? encoder;
  cache.encodeAppend(target, step, 0, {
    keys: { buffer: buffers[0]! },
    values: { buffer: buffers[1]! },
  });
  cache.encodeAttend(target, step, 0, {
    queries: { buffer: buffers[2]! },
    output: { buffer: output },
  });
  pass?.end();
  device.queue.submit([encoder.finish()]);
  const bytes = await readBuffer(device, output);
  cache.destroy();
  return io?.dtype === "f16" ? Float32Array.from(new Float16Array(bytes)) : new Float32Array(bytes);
}

Deno.test("Cache reads and writes f16 tensors, inside a pass of the host", async () => {
  const wanted = await runOnce(undefined, (dense) => dense, false);
  const found = await runOnce({ dtype: "f16" }, (dense) => Float16Array.from(dense), true);
  const error = Math.max(...found.map((value, i) => Math.abs(value - wanted[i]!)));
  assert.ok(error < 2e-3, `the largest difference is ${error}`);
});

Deno.test("Cache reads and writes head-major tensors", async () => {
  const tokens = 40;
  const { queryHeads, headDim } = layerShape(base.shape, 0);
  const strides = { token: headDim, head: tokens * headDim };
  const transpose = (from: Float32Array, heads: number, toDense: boolean) => {
    const to = new Float32Array(from.length);
    for (let token = 0; token < tokens; token++) {
      for (let head = 0; head < heads; head++) {
        const dense = (token * heads + head) * headDim;
        const major = (head * tokens + token) * headDim;
        const [source, target] = toDense ? [major, dense] : [dense, major];
        to.set(from.subarray(source, source + headDim), target);
      }
    }
    return to;
  };
  const wanted = await runOnce(undefined, (dense) => dense, false);
  const found = await runOnce(
    { keys: strides, queries: strides },
    (dense, heads) => transpose(dense, heads, false),
    false,
  );
  assert.deepEqual(transpose(found, queryHeads, true), wanted);
});

/** What a host may change of a binding that it has passed, and goes on to pass. */
const CHANGES: Readonly<
  Record<string, (binding: GPUBufferBinding, to: GPUBufferBinding) => void>
> = {
  "its buffer": (binding, { buffer }) => Object.assign(binding, { buffer }),
  "its offset": (binding, { offset }) => Object.assign(binding, { offset }),
};

for (const [what, change] of Object.entries(CHANGES)) {
  Deno.test(`Cache takes bindings as they are at each call: a host may change ${what}`, async () => {
    const options: CacheOptions = {
      ...base,
      shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 64 },
      policy: { keys: "f16", values: "f16" },
      keys: { space: "as-scored" },
    };
    const cache = await createCache({ device, plan: planCache({ ...options, kernels: manifest }) });
    const sequence = cache.createSequence();
    // The numbers 1 to 4, each for one token of 256 bytes; a range of the one buffer, or a buffer of its own.
    const vectors = (numbers: readonly number[]) =>
      uploadBuffer(
        device,
        Float32Array.from(numbers.flatMap((x) => new Array<number>(64).fill(x))),
      );
    const shared = vectors([1, 2, 3, 4]);
    const place = (number: number): GPUBufferBinding =>
      what === "its offset"
        ? { buffer: shared, offset: 256 * (number - 1), size: 256 }
        : { buffer: vectors([number]), offset: 0, size: 256 };
    const results = what === "its offset" ? vectors([0, 0]) : undefined;
    const result = (i: number): GPUBufferBinding => ({
      buffer: results ?? vectors([0]),
      offset: results === undefined ? 0 : 256 * i,
      size: 256,
    });
    const [keys, values, queries] = [place(1), place(3), place(1)];
    const outputs = [result(0), result(1)];
    const output = { ...outputs[0]! };
    const readings = [result(0), result(1)];
    const reading = { ...readings[0]! };
    for (const i of [0, 1]) {
      if (i === 1) {
        change(keys, place(2));
        change(values, place(4));
        change(queries, place(2));
        change(output, outputs[1]!);
        change(reading, readings[1]!);
      }
      const step = cache.beginStep([{ sequence, tokens: 1 }]);
      const encoder = device.createCommandEncoder();
      cache.encodeAppend(encoder, step, 0, { keys, values });
      cache.encodeAttend(encoder, step, 0, { queries, output });
      device.queue.submit([encoder.finish()]);
      const attended = outputs[i]!;
      const found = new Float32Array(await readBuffer(device, attended.buffer as GPUBuffer));
      const first = (attended.offset ?? 0) / 4;
      // Alone, the first token's value is the output; the second, of keys and queries of 2, outweighs it by exp(16).
      assert.ok(Math.abs(found[first]! - (i === 0 ? 3 : 4)) < 1e-4, `${found[first]}`);
      const reader = device.createCommandEncoder();
      const range = { side: "keys", first: i, count: 1, output: reading } as const;
      cache.encodeRead(reader, sequence, 0, range);
      device.queue.submit([reader.finish()]);
      const read = new Float32Array(await readBuffer(device, readings[i]!.buffer as GPUBuffer));
      assert.equal(read[(readings[i]!.offset ?? 0) / 4], i + 1);
    }
    cache.destroy();
  });
}

/**
 * Codes continuous data, all at once and token by token, which takes different pipelines. f32 may decide otherwise than
 * float64 where two centroids are all but equally near, but always in the same way.
 */
async function checkNearestCentroids(policy: CacheOptions["policy"]): Promise<void> {
  const random = seededRandom(11);
  const options: CacheOptions = { ...base, policy, tiers: { sinks: 0, window: 0 } };
  const noise = (length: number) => Float32Array.from({ length }, () => random.next() * 2 - 1);
  const grid = gridCodebooks(options, random);
  const codebooks: CodebookSet = {
    ...grid,
    codebooks: grid.codebooks.map((book) => ({
      ...book,
      ...roundToGrid(noise(book.centroids.length), book.scheme),
    })),
  };
  const cache = await createCache({
    device,
    plan: planCache({ ...options, kernels: manifest }),
    codebooks,
  });
  const tokens = 100;
  const { keyValueHeads, headDim } = layerShape(options.shape, 0);
  const sequence = cache.createSequence();
  const slow = cache.createSequence();
  const given = {
    keys: noise(tokens * keyValueHeads * headDim),
    values: noise(tokens * keyValueHeads * headDim),
  };
  const [keys, values] = [uploadBuffer(device, given.keys), uploadBuffer(device, given.values)];
  const append = (to: Sequence, first: number, tokens: number) => {
    const step = cache.beginStep([{ sequence: to, tokens }]);
    const offset = first * keyValueHeads * headDim * 4;
    const encoder = device.createCommandEncoder();
    cache.encodeAppend(encoder, step, 0, {
      keys: { buffer: keys, offset },
      values: { buffer: values, offset },
    });
    device.queue.submit([encoder.finish()]);
  };
  append(sequence, 0, tokens);
  for (let token = 0; token < tokens; token++) append(slow, token, 1);
  let nearTies = 0;
  for (const side of ["keys", "values"] as const) {
    const scheme = parseScheme(options.policy[side]);
    const layout = scheme.layout(headDim);
    const records = await deviceRecords(device, cache, sequence, 0, side);
    assert.deepEqual(await deviceRecords(device, cache, slow, 0, side), records);
    for (let head = 0; head < keyValueHeads; head++) {
      const codes = unpackRecords(layout, records[head]!, tokens);
      const centroids = headCentroids(codebooks, 0, side, head, headDim * scheme.centroids);
      for (let token = 0; token < tokens; token++) {
        const at = (token * keyValueHeads + head) * headDim;
        const vector = fromFloat16Array(toFloat16Array(given[side].subarray(at, at + headDim)));
        const record = new Uint32Array(layout.words);
        schemeCodec(scheme).encode([vector], record, 0, { centroids });
        const wanted = unpackRecords(layout, record, 1);
        const found = codes.slice(token * layout.codes, (token + 1) * layout.codes);
        wanted.forEach((code, group) => {
          if (code === found[group]) return;
          nearTies++;
          const distance = (index: number) => {
            let sum = 0;
            for (let i = 0; i < scheme.channels; i++) {
              const channel = group * scheme.channels + i;
              const centroid = centroids[(group * scheme.centroids + index) * scheme.channels + i]!;
              sum += (vector[channel]! - centroid) ** 2;
            }
            return sum;
          };
          const excess = distance(found[group]!) / distance(code) - 1;
          assert.ok(excess < 1e-6, `code ${found[group]} is ${excess} farther than ${code}`);
        });
      }
    }
  }
  console.log(`${nearTies} near ties decided otherwise than in float64`);
  assert.ok(nearTies < 5);
  cache.destroy();
}

for (const [keys, values] of [["c8b8", "c2b4"], ["c16b8", "c4b8"]] as const) {
  Deno.test(`encode finds the nearest centroid of any vectors, near ties apart, however they are cut: ${keys}, ${values}`, () =>
    checkNearestCentroids({ keys, values }));
}

Deno.test("Cache writes the same bytes for a prompt of thousands of tokens, however it is cut", async () => {
  const tokens = 2100;
  const options: CacheOptions = {
    shape: { layers: 1, queryHeads: 2, keyValueHeads: 2, headDim: 64 },
    policy: { keys: "c8b10", values: "c2b4" },
    keys: base.keys,
    tiers: { sinks: 3, window: 50 },
    capacity: {
      sequences: 3,
      tokens: 3 * tokens,
      sequenceTokens: tokens,
      stepTokens: tokens,
      appendTokens: tokens,
    },
  };
  const random = seededRandom("append sizes");
  const codebooks = gridCodebooks(options, random);
  const cache = await createCache({
    device,
    plan: planCache({ ...options, kernels: manifest }),
    codebooks,
  });
  const channels = 2 * 64;
  const keys = uploadBuffer(device, gridVectors(random, tokens * channels));
  const values = uploadBuffer(device, gridVectors(random, tokens * channels));
  const records: Uint32Array[][] = [];
  // Offsets of bindings are multiples of 256 bytes, and a token is 512.
  for (const size of [tokens, 7, 1]) {
    const sequence = cache.createSequence();
    for (let first = 0; first < tokens; first += size) {
      const step = cache.beginStep([{ sequence, tokens: Math.min(size, tokens - first) }]);
      const offset = first * channels * 4;
      const encoder = device.createCommandEncoder();
      cache.encodeAppend(encoder, step, 0, {
        keys: { buffer: keys, offset },
        values: { buffer: values, offset },
      });
      device.queue.submit([encoder.finish()]);
    }
    for (const side of ["keys", "values"] as const) {
      records.push(await deviceRecords(device, cache, sequence, 0, side));
    }
  }
  const [allKeys, allValues, ...others] = records;
  assert.ok(allKeys![0]!.some((word) => word !== 0));
  assert.deepEqual(others, [allKeys, allValues, allKeys, allValues]);
  cache.destroy();
});
