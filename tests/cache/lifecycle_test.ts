/** Sequences' lives: shared, recycled, reordered and overtaken pages; misuse and faults that leave everything as it was. */
import assert from "node:assert/strict";
import {
  BASE_LIMITS,
  type CacheOptions,
  type CoupletError,
  type CoupletErrorCode,
  createCache,
  createProfile,
  planCache,
  requiredFeatures,
  restoreSequence,
  snapshotSequence,
  type Step,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { sumUp } from "../../src/cache/profile.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { CacheModel } from "../helpers/cache_model.ts";
import { refuses } from "../helpers/refusals.ts";

const device = await requestTestDevice();

const options: CacheOptions = {
  shape: { layers: 2, queryHeads: 2, keyValueHeads: 1, headDim: 64 },
  policy: { keys: "c8b10", values: "c2b4" },
  keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
  tiers: { sinks: 2, window: 9 },
  capacity: { sequences: 4, tokens: 700, sequenceTokens: 600, stepTokens: 80, appendTokens: 40 },
};

const sliding: CacheOptions = {
  ...options,
  capacity: { ...options.capacity, tokens: 2400 },
  shape: { ...options.shape, slidingWindow: [0, 70] },
};

Deno.test("Cache.encodeFork() shares pages until one of the two writes to them", async () => {
  const model = await CacheModel.create(device, options, "fork");
  const { cache } = model;
  const first = model.create();
  for (const tokens of [40, 40, 40, 31]) await model.append([{ pair: first, tokens }]);
  assert.equal(cache.codedTokens(first.device), 140);
  const { free } = cache.stats().pages;
  const second = model.fork(first);
  assert.deepEqual(cache.pages(second.device, 0), cache.pages(first.device, 0));
  assert.deepEqual(cache.stats().pages.shared, 3);
  assert.equal(cache.stats().pages.free, free);
  // Both write to the third page in one step: one of them gets a copy, the other keeps it.
  await model.append([{ pair: first, tokens: 3 }, { pair: second, tokens: 2 }]);
  assert.equal(cache.stats().pages.free, free - 1);
  assert.equal(cache.stats().pages.shared, 2);
  await model.checkRecords();
  model.destroy();
});

Deno.test("Cache.encodeReorder() goes on from the parents in a cache that is full, copying only beams taken twice", async () => {
  const model = await CacheModel.create(device, options, "beams");
  const { cache } = model;
  let beams = Array.from({ length: 4 }, () => model.create());
  await model.append(beams.slice(0, 2).map((pair) => ({ pair, tokens: 40 })));
  await model.append(beams.slice(2).map((pair) => ({ pair, tokens: 33 })));
  await model.append(beams.slice(0, 2).map((pair) => ({ pair, tokens: 40 })));
  for (const parents of [[1, 1, 0, 3], [0, 1, 2, 3], [2, 2, 2, 2], [3, 1]]) {
    const before = beams.map(({ device }) => device);
    beams = model.reorder(beams, parents);
    parents.forEach((parent, i) => {
      const kept = parents.indexOf(parent) === i;
      assert.equal(beams[i]!.device === before[parent], kept, `beam ${i}`);
    });
    await model.append(beams.slice(0, 2).map((pair) => ({ pair, tokens: 5 })));
    model.checkPages();
  }
  await model.checkRecords();
  const sequences = beams.map((beam) => beam.device);
  const encoder = device.createCommandEncoder();
  refuses("usage", () => cache.encodeReorder(encoder, sequences, [0, 2]));
  refuses("usage", () => cache.encodeReorder(encoder, [sequences[0]!, sequences[0]!], [0, 1]));
  refuses("capacity", () => cache.encodeReorder(encoder, sequences, [0, 0, 0, 0, 0]));
  assert.equal(cache.stats().sequences, 2);
  model.destroy();
});

Deno.test("Cache.encodeReorder() refuses beams whose last step was not appended to every layer, and changes nothing", async () => {
  const model = await CacheModel.create(device, options, "unfinished beams");
  const { cache } = model;
  const [first, second] = [model.create(), model.create()];
  await model.append([{ pair: first, tokens: 5 }, { pair: second, tokens: 7 }]);
  const beams = [first.device, second.device];
  cache.beginStep([{ sequence: second.device, tokens: 1 }]);
  const before = cache.stats();
  const encoder = device.createCommandEncoder();
  for (const parents of [[0, 0], [0, 1], [1, 1]]) {
    refuses("usage", () => cache.encodeReorder(encoder, beams, parents));
  }
  assert.deepEqual(cache.stats(), before);
  cache.truncate(second.device, 7);
  await model.append([{ pair: first, tokens: 1 }, { pair: second, tokens: 1 }]);
  model.destroy();
});

/** Lengths that 150 tokens are rolled back to: within a step, within the ring, beyond it, within a record and a page. */
const ROLLBACKS: readonly number[] = [111, 102, 99, 93, 71, 66, 65, 2, 1];

Deno.test("Cache goes on after any rollback, forked, restored, reordered and rolled back again", async () => {
  const capacity = { ...options.capacity, sequences: 5, tokens: 1200, stepTokens: 160 };
  const model = await CacheModel.create(device, { ...options, capacity }, "rollbacks");
  const original = model.create();
  for (const tokens of [40, 40, 40, 30]) await model.append([{ pair: original, tokens }]);
  for (const length of ROLLBACKS) {
    const shorter = model.fork(original);
    model.truncate(shorter, length);
    const [forked, restored] = [model.fork(shorter), await model.restore(shorter)];
    await model.append([
      { pair: shorter, tokens: 20 },
      { pair: forked, tokens: 3 },
      { pair: restored, tokens: 1 },
    ]);
    model.truncate(shorter, length + 2);
    const beams = model.reorder([shorter, forked, restored], [0, 0, 2]);
    await model.append(beams.map((pair, i) => ({ pair, tokens: 1 + 11 * i })));
    await model.checkRecords();
    model.checkPages();
    for (const pair of beams) model.free(pair);
  }
  // What the others wrote, the original never had.
  await model.append([{ pair: original, tokens: 2 }]);
  await model.checkRecords();
  model.destroy();
});

Deno.test("Sliding-window layers recycle pages, take exact rollbacks and refuse others", async () => {
  const model = await CacheModel.create(device, sliding, "sliding");
  const { cache } = model;
  const [full, recycling] = cache.stats().pools;
  assert.ok(recycling!.total < full!.total, "the pool behind the window is smaller");
  const pair = model.create();
  const fork = async () => {
    for (const tokens of [40, 40, 1, 40, 40, 40]) await model.append([{ pair, tokens }]);
    return model.fork(pair);
  };
  const older = await fork();
  for (const tokens of [40, 7, 40, 40]) {
    await model.append([{ pair, tokens }, { pair: older, tokens: 1 }]);
    model.checkPages();
  }
  const { first, pages } = cache.pages(pair.device, 1);
  assert.ok(first >= 2 && first % 2 === 0, "whole tiles were given up");
  assert.equal(cache.pages(pair.device, 0).first, 0);
  assert.ok(pages.length < cache.pages(pair.device, 0).pages.length);

  const length = cache.length(pair.device);
  refuses("usage", () => cache.truncate(pair.device, 100));
  assert.equal(cache.length(pair.device), length);
  model.truncate(pair, length - 40);
  await model.append([{ pair, tokens: 3 }]);
  await model.checkRecords();

  const bytes = await snapshotSequence(cache, pair.device);
  const restored = await model.restore(pair);
  assert.deepEqual(await snapshotSequence(cache, restored.device), bytes);
  await model.append([{ pair, tokens: 4 }, { pair: restored, tokens: 9 }]);
  model.checkPages();
  await model.checkRecords();

  model.truncate(pair, 0);
  assert.deepEqual(cache.pages(pair.device, 1), { first: 0, pages: [] });
  for (const tokens of [40, 30, 30]) await model.append([{ pair, tokens }]);
  model.checkPages();
  await model.checkRecords();
  for (const one of [...model.alive]) model.free(one);
  assert.equal(cache.stats().pages.free, cache.stats().pages.total);
  model.destroy();
});

Deno.test("Snapshots hold the heads of a layer that lies in several buffers", async () => {
  const wide: CacheOptions = {
    ...sliding,
    shape: { ...sliding.shape, queryHeads: 3, keyValueHeads: [3, 1] },
    capacity: { ...options.capacity, tokens: 100_000 },
  };
  const whole = await CacheModel.create(device, wide, "wide");
  // One head of 2 bits is 16 bytes a token.
  const plan = planCache({
    ...wide,
    limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: 100_000 * 16 * 2.5 },
    kernels: manifest,
  });
  const split = await CacheModel.create(device, wide, "wide", { plan });
  assert.deepEqual(split.cache.buffers(0).parts.length, 2);
  for (const model of [whole, split]) {
    const pair = model.create();
    for (const tokens of [40, 40, 40, 13]) await model.append([{ pair, tokens }]);
    await model.checkRecords();
  }
  const bytes = await snapshotSequence(whole.cache, whole.alive[0]!.device);
  assert.deepEqual(await snapshotSequence(split.cache, split.alive[0]!.device), bytes);
  const restored = await restoreSequence(split.cache, bytes);
  assert.deepEqual(await snapshotSequence(split.cache, restored), bytes);
  whole.destroy();
  split.destroy();
});

/** Bindings that cannot be used, by tensor, and the error each must give. */
const BINDINGS: readonly [
  what: string,
  code: CoupletErrorCode,
  name: "keys" | "values" | "queries" | "output",
  binding: (good: Record<string, GPUBufferBinding>, model: CacheModel) => GPUBufferBinding,
][] = [
  ["a buffer without usage STORAGE", "usage", "keys", () => ({
    buffer: device.createBuffer({ size: 65536, usage: 0x08 }),
  })],
  [
    "an offset that is not aligned",
    "usage",
    "values",
    ({ values }) => ({ ...values!, offset: 128 }),
  ],
  ["a buffer that is too small", "shape", "keys", () => ({
    buffer: device.createBuffer({ size: 256, usage: 0x80 }),
  })],
  ["a range beyond the buffer", "shape", "values", ({ values }) => ({ ...values!, size: 1 << 20 })],
  ["a range that is too small", "shape", "queries", ({ queries }) => ({ ...queries!, size: 512 })],
  ["the cache's own records", "usage", "output", (_, { cache }) => ({
    buffer: cache.buffers(0).parts[0]!.keyRecords,
  })],
  ["output over queries", "usage", "output", ({ queries }) => ({ ...queries!, offset: 256 })],
];

Deno.test("Cache refuses bindings that cannot be used, and nothing is corrupted", async () => {
  const model = await CacheModel.create(device, options, "bindings");
  const { cache } = model;
  const pair = model.create();
  await model.append([{ pair, tokens: 40 }]);
  const step = cache.beginStep([{ sequence: pair.device, tokens: 20 }]);
  const buffer = () => ({ buffer: device.createBuffer({ size: 65536, usage: 0x80 | 0x08 }) });
  const good = { keys: buffer(), values: buffer(), queries: buffer(), output: buffer() };
  const encoder = device.createCommandEncoder();
  const record = (given: typeof good, name: string) =>
    name === "keys" || name === "values"
      ? cache.encodeAppend(encoder, step, 0, given)
      : cache.encodeAttend(encoder, step, 0, given);
  for (
    const [, code, name, binding] of BINDINGS.filter(([, , name]) => /keys|values/.test(name))
  ) {
    refuses(code, () => record({ ...good, [name]: binding(good, model) }, name));
  }
  // What was refused left no trace: the same step still runs, and gives what it must.
  await model.run(step, [{ pair, tokens: 20 }]);
  for (
    const [, code, name, binding] of BINDINGS.filter(([, , name]) => !/keys|values/.test(name))
  ) {
    refuses(code, () => record({ ...good, [name]: binding(good, model) }, name));
  }
  await model.append([{ pair, tokens: 7 }]);
  await model.checkRecords();
  model.destroy();
});

Deno.test("Cache refuses steps out of order or void", async () => {
  const model = await CacheModel.create(device, options, "order");
  const { cache } = model;
  const [pair, other] = [model.create(), model.create()];
  const [a, b] = [pair.device, other.device];
  const buffer = () => ({ buffer: device.createBuffer({ size: 65536, usage: 0x80 | 0x08 }) });
  const tensors = { keys: buffer(), values: buffer(), queries: buffer(), output: buffer() };
  const encoder = device.createCommandEncoder();
  const append = (step: Step, layer: number) => cache.encodeAppend(encoder, step, layer, tensors);
  const attend = (step: Step, layer: number) => cache.encodeAttend(encoder, step, layer, tensors);

  const first = cache.beginStep([{ sequence: a, tokens: 3 }, { sequence: b, tokens: 1 }]);
  const second = cache.beginStep([{ sequence: a, tokens: 2 }]);
  refuses("usage", () => append(second, 0));
  append(first, 0);
  refuses("usage", () => append(first, 0));
  refuses("usage", () => attend(first, 1));
  append(second, 0);
  refuses("usage", () => attend(first, 0));
  attend(second, 0);
  refuses("usage", () => cache.encodeFork(encoder, a));
  // A step is taken back whole, or once every layer has it; those before it go on.
  refuses("usage", () => cache.truncate(a, 4));
  cache.truncate(a, 3);
  refuses("usage", () => append(second, 1));
  append(first, 1);
  attend(first, 1);
  refuses("usage", () => attend(first, 0));
  // What is taken back of one sequence leaves a step to the others.
  const both = cache.beginStep([{ sequence: a, tokens: 2 }, { sequence: b, tokens: 1 }]);
  append(both, 0);
  cache.truncate(a, 3);
  append(both, 1);
  attend(both, 1);
  assert.equal(cache.length(b), 2);
  const third = cache.beginStep([{ sequence: a, tokens: 1 }]);
  for (let i = 0; i < 70; i++) cache.beginStep([{ sequence: b, tokens: 1 }]);
  append(third, 0);
  cache.truncate(b, 2);
  // No layer may be further ahead of the others than can be taken back.
  append(third, 1);
  const long = cache.beginStep([{ sequence: a, tokens: 40 }]);
  const longer = cache.beginStep([{ sequence: a, tokens: 1 }]);
  append(long, 0);
  refuses("usage", () => append(longer, 0));
  append(long, 1);
  append(longer, 0);
  cache.truncate(a, 44);
  cache.freeSequence(b);
  refuses("usage", () => cache.freeSequence(b));
  refuses("usage", () => cache.encodeFork(encoder, b));
  cache.truncate(a, 0);
  model.reference.truncate(pair.reference, 0);
  model.alive = [pair];
  await model.append([{ pair, tokens: 40 }]);
  await model.checkRecords();
  model.checkPages();
  model.destroy();
});

Deno.test("Cache.stats() counts what is held, by layer, side and kind", async () => {
  const model = await CacheModel.create(device, sliding, "stats");
  const { cache } = model;
  assert.equal(cache.stats().slack, cache.stats().bytes.codes);
  assert.equal(cache.stats().effectiveBits, Infinity);
  const pair = model.create();
  for (const tokens of [40, 40, 40]) await model.append([{ pair, tokens }]);
  model.fork(pair);
  const { bytes, layers, slack, effectiveBits, tokens } = cache.stats();
  const coded = 120 - 11;
  assert.equal(tokens, 240);
  // 1.25 and 2 bits of 64 channels in two layers; the fork's tokens take no codes of their own.
  assert.equal(bytes.codes - slack, 2 * coded * (10 + 16));
  assert.equal(effectiveBits, (8 * (bytes.total - bytes.scratch)) / (240 * 2 * 2 * 64));
  for (const kind of ["codes", "exact", "codebooks"] as const) {
    const sum = layers.reduce((all, { keys, values }) => all + keys[kind] + values[kind], 0);
    assert.equal(bytes[kind], sum, kind);
  }
  const buffers = [0, 1].flatMap((layer) => {
    const { parts, codebooks, sinkLogits } = cache.buffers(layer);
    return [
      ...parts.flatMap((part) => [part.keyRecords, part.valueRecords, part.exact, part.parameters]),
      codebooks!,
      sinkLogits,
    ];
  });
  const owned = layers.flatMap(({ keys, values, tables }) => [
    ...Object.values(keys),
    ...Object.values(values),
    tables,
  ]);
  const sum = (sizes: readonly number[]) => sizes.reduce((a, b) => a + b);
  assert.equal(sum(owned), sum(buffers.map(({ size }) => size)));
  model.destroy();
});

Deno.test("A lost device surfaces as an event and as errors, and a snapshot goes on elsewhere", async () => {
  const doomed = await requestTestDevice();
  const faults: CoupletError[] = [];
  const model = await CacheModel.create(doomed, options, "lost", {
    onFault: (fault) => faults.push(fault),
  });
  const pair = model.create();
  for (const tokens of [40, 21]) await model.append([{ pair, tokens }]);
  const bytes = await snapshotSequence(model.cache, pair.device);
  doomed.destroy();
  await doomed.lost;
  await Promise.resolve();
  assert.deepEqual(faults.map(({ code }) => code), ["lost"]);
  refuses("lost", () => model.cache.beginStep([{ sequence: pair.device, tokens: 1 }]));
  refuses("lost", () => model.cache.encodeFork(doomed.createCommandEncoder(), pair.device));

  const other = await CacheModel.create(device, options, "elsewhere");
  const restored = await restoreSequence(other.cache, bytes);
  const moved = { device: restored, reference: pair.reference };
  const model2 = Object.assign(other, { reference: model.reference, alive: [moved] });
  await model2.append([{ pair: moved, tokens: 30 }]);
  await model2.checkRecords();
  other.destroy();
});

Deno.test("Running out of memory surfaces as an event until the cache is destroyed", async () => {
  // Not the tests' own device, which fails the test where an error goes uncaught.
  const own = await (await navigator.gpu.requestAdapter())!.requestDevice();
  const faults: CoupletError[] = [];
  const plan = planCache({ ...options, policy: { keys: "f16", values: "f16" }, kernels: manifest });
  const cache = await createCache({ device: own, plan, onFault: (fault) => faults.push(fault) });
  const raise = (error: GPUError) =>
    own.dispatchEvent(new GPUUncapturedErrorEvent("uncapturederror", { error, cancelable: true }));
  raise(new GPUOutOfMemoryError("no room"));
  raise(new GPUValidationError("the host's own"));
  assert.deepEqual(faults.map(({ code }) => code), ["memory"]);
  cache.destroy();
  raise(new GPUOutOfMemoryError("no room"));
  assert.equal(faults.length, 1);
});

Deno.test("Profile measures every kernel of a step, each in a pass of its own", async () => {
  const timed = await requestTestDevice({ requiredFeatures: requiredFeatures({ profile: true }) });
  const profile = createProfile(timed);
  const model = await CacheModel.create(timed, options, "profile", { profile });
  const pair = model.create();
  await model.append([{ pair, tokens: 40 }]);
  const { kernels, missed } = await profile.read();
  assert.equal(missed, 0);
  const families = kernels.map(({ family }) => family).sort();
  const perLayer = ["combine", "encode", "encode", "mix", "score", "store"];
  assert.deepEqual(families, [...perLayer, "page_table"].sort());
  for (const { kernel, dispatches, nanoseconds } of kernels) {
    assert.equal(dispatches, kernel === "page_table" ? 1 : 2, kernel);
    assert.ok(nanoseconds > 0, kernel);
  }
  assert.deepEqual(await profile.read(), { kernels: [], missed: 0 });
  const step = model.cache.beginStep([{ sequence: pair.device, tokens: 1 }]);
  const pass = timed.createCommandEncoder().beginComputePass();
  const tensor = { buffer: timed.createBuffer({ size: 4096, usage: 0x80 }) };
  refuses("usage", () => model.cache.encodeAppend(pass, step, 0, { keys: tensor, values: tensor }));
  refuses("limits", () => createProfile(device));
  profile.destroy();
  model.destroy();
});

Deno.test("sumUp() adds pairs of timestamps by kernel, longest first, and passes over clocks that were reset", () => {
  const kernels = ["store_d64", "combine_d64", "store_d64"];
  assert.deepEqual(sumUp(kernels, [0n, 5n, 10n, 40n, 100n, 60n]), [
    { kernel: "combine_d64", family: "combine", dispatches: 1, nanoseconds: 30 },
    { kernel: "store_d64", family: "store", dispatches: 2, nanoseconds: 5 },
  ]);
});
