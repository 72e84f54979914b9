import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Cache,
  type CacheOptions,
  createCache,
  createReferenceCache,
  planCache,
  type ReferenceCache,
  type ReferenceSequence,
  restoreSequence,
  type Sequence,
  snapshotSequence,
} from "../mod.ts";
import { type Random, seededRandom } from "../src/calibrate/random.ts";
import { requestTestDevice } from "../tools/adapter.ts";
import { gridCodebooks, gridVectors, readBuffer, uploadBuffer } from "./cache_oracle.ts";

const TOLERANCE = 2e-5;

const options: CacheOptions = {
  shape: { layers: 2, queryHeads: 2, keyValueHeads: 1, headDim: 64 },
  // Records of one token and of two, so that a page is copied with half a record in it.
  policy: { keys: "c8b10", values: "c2b4", layers: { 1: { keys: "c1b1", values: "f16" } } },
  keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
  tiers: { sinks: 2, window: 9 },
  capacity: {
    sequences: 5,
    tokens: 700,
    sequenceTokens: 400,
    stepTokens: 150,
    appendTokens: 70,
  },
};

const device = await requestTestDevice();
const codebooks = gridCodebooks(options, seededRandom("random operations"));
const plan = planCache(options);

/** One operation; sequences are chosen by their number among those alive, modulo. */
type Operation =
  | { readonly kind: "append"; readonly tokens: readonly [which: number, count: number][] }
  | { readonly kind: "fork"; readonly which: number }
  | { readonly kind: "restore"; readonly which: number }
  | { readonly kind: "free"; readonly which: number }
  | { readonly kind: "truncate"; readonly which: number; readonly keep: number };

const which = fc.nat(20);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      tokens: fc.array(
        fc.tuple(which, fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 70 }))),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("fork" as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restore" as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("free" as const), which }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("truncate" as const),
      which,
      keep: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
  },
);

/** One sequence in both caches. */
interface Pair {
  readonly device: Sequence;
  readonly reference: ReferenceSequence;
}

/** Both caches, and what is alive in them. */
interface Model {
  readonly cache: Cache;
  readonly reference: ReferenceCache;
  readonly alive: Pair[];
  readonly random: Random;
}

/** Appends to and attends in all layers of both caches, and compares. */
async function append(model: Model, entries: readonly { pair: Pair; tokens: number }[]) {
  const { cache, reference, random } = model;
  const step = cache.beginStep(
    entries.map(({ pair, tokens }) => ({ sequence: pair.device, tokens })),
  );
  const referenceStep = reference.beginStep(
    entries.map(({ pair, tokens }) => ({ sequence: pair.reference, tokens })),
  );
  const { layers, queryHeads, headDim } = options.shape;
  const keyValueHeads = 1;
  const given = Array.from({ length: layers }, () => ({
    keys: gridVectors(random, step.tokens * keyValueHeads * headDim),
    values: gridVectors(random, step.tokens * keyValueHeads * headDim),
    queries: gridVectors(random, step.tokens * queryHeads * headDim).map((x) => x / 4),
  }));
  const encoder = device.createCommandEncoder();
  const outputs = given.map(({ keys, values, queries }, layer) => {
    const output = uploadBuffer(device, new Float32Array(queries.length).fill(NaN));
    cache.encodeAppend(encoder, step, layer, {
      keys: { buffer: uploadBuffer(device, keys) },
      values: { buffer: uploadBuffer(device, values) },
    });
    cache.encodeAttend(encoder, step, layer, {
      queries: { buffer: uploadBuffer(device, queries) },
      output: { buffer: output },
    });
    return output;
  });
  device.queue.submit([encoder.finish()]);
  for (let layer = 0; layer < layers; layer++) {
    const { queries, ...vectors } = given[layer]!;
    reference.append(referenceStep, layer, vectors);
    const wanted = reference.attend(referenceStep, layer, { queries });
    const found = new Float32Array(await readBuffer(device, outputs[layer]!));
    const scale = Math.sqrt(wanted.reduce((sum, x) => sum + x * x, 0) / wanted.length);
    wanted.forEach((value, i) => {
      const error = Math.abs(value - found[i]!) / scale;
      assert.ok(error < TOLERANCE, `layer ${layer}, output ${i} is ${found[i]}, not ${value}`);
    });
  }
}

async function apply(model: Model, operation: Operation): Promise<void> {
  const { cache, reference, alive } = model;
  const at = (index: number) => alive[index % alive.length];
  if (operation.kind === "append") {
    const counts = new Map<Pair, number>();
    for (const [index, count] of operation.tokens) {
      const pair = at(index);
      if (pair === undefined) return;
      const room = options.capacity.sequenceTokens - cache.length(pair.device);
      const tokens = Math.min(count, room, 50);
      if (tokens > 0) counts.set(pair, tokens);
    }
    // A worst case of pages, so that exhaustion (tested elsewhere) does not end the run.
    const needed = 2 * counts.size;
    if (counts.size === 0 || cache.stats().pages.free < needed) return;
    await append(model, [...counts].map(([pair, tokens]) => ({ pair, tokens })));
    return;
  }
  const pair = at(operation.which);
  if (operation.kind === "fork") {
    if (alive.length === options.capacity.sequences) return;
    if (pair === undefined) {
      alive.push({ device: cache.createSequence(), reference: reference.createSequence() });
      return;
    }
    const encoder = device.createCommandEncoder();
    const fork = cache.encodeFork(encoder, pair.device);
    device.queue.submit([encoder.finish()]);
    alive.push({ device: fork, reference: reference.forkSequence(pair.reference) });
  } else if (pair !== undefined && operation.kind === "restore") {
    const full = alive.length === options.capacity.sequences;
    if (full || cache.stats().pages.free < cache.pages(pair.device, 0).pages.length) return;
    const bytes = await snapshotSequence(cache, pair.device);
    alive.push({
      device: await restoreSequence(cache, bytes),
      reference: reference.forkSequence(pair.reference),
    });
  } else if (pair !== undefined && operation.kind === "free") {
    cache.freeSequence(pair.device);
    reference.freeSequence(pair.reference);
    alive.splice(alive.indexOf(pair), 1);
  } else if (pair !== undefined && operation.kind === "truncate") {
    const length = Math.floor(operation.keep * cache.length(pair.device));
    cache.truncate(pair.device, length);
    reference.truncate(pair.reference, length);
  }
}

Deno.test("Cache agrees with float64 whatever is appended, forked, restored, truncated and freed", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { minLength: 5, maxLength: 30 }),
      fc.nat(),
      async (operations, seed) => {
        const model: Model = {
          cache: await createCache({ device, plan, codebooks }),
          reference: createReferenceCache({ ...options, codebooks }),
          alive: [],
          random: seededRandom(seed),
        };
        const { cache, alive } = model;
        await apply(model, { kind: "fork", which: 0 });
        for (const operation of operations) {
          await apply(model, operation);
          for (const pair of alive) {
            assert.equal(cache.length(pair.device), model.reference.length(pair.reference));
          }
        }
        // No page leaks: with every sequence gone all are free, and before that each is somebody's.
        const used = new Set(alive.flatMap((pair) => cache.pages(pair.device, 0).pages));
        const { pages } = cache.stats();
        assert.equal(pages.free, pages.total - used.size);
        for (const pair of alive) cache.freeSequence(pair.device);
        assert.equal(cache.stats().pages.free, pages.total);
        cache.destroy();
      },
    ),
    { seed: 20260517, numRuns: 40, interruptAfterTimeLimit: 60_000 },
  );
});

Deno.test("Cache.encodeFork() shares pages until one of the two writes to them", async () => {
  const model: Model = {
    cache: await createCache({ device, plan, codebooks }),
    reference: createReferenceCache({ ...options, codebooks }),
    alive: [],
    random: seededRandom("fork"),
  };
  const { cache, alive } = model;
  await apply(model, { kind: "fork", which: 0 });
  for (const count of [70, 70, 11]) {
    await append(model, [{ pair: alive[0]!, tokens: count }]);
  }
  assert.equal(cache.codedTokens(alive[0]!.device), 140);
  const { free } = cache.stats().pages;
  await apply(model, { kind: "fork", which: 0 });
  assert.deepEqual(cache.pages(alive[1]!.device, 0), cache.pages(alive[0]!.device, 0));
  assert.deepEqual(cache.stats().pages.shared, 3);
  assert.equal(cache.stats().pages.free, free);
  // Both write to the third page in one step: one of them gets a copy, the other keeps it.
  await append(model, [{ pair: alive[0]!, tokens: 3 }, { pair: alive[1]!, tokens: 2 }]);
  assert.equal(cache.stats().pages.free, free - 1);
  assert.equal(cache.stats().pages.shared, 2);
  cache.destroy();
});
