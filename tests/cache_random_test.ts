/** Any operations in any order, against the float64 cache. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { CacheOptions } from "../mod.ts";
import { requestTestDevice } from "../tools/adapter.ts";
import { CacheModel, type Pair } from "./cache_model.ts";
import { refuses } from "./refusals.ts";

const options = {
  shape: { layers: 2, queryHeads: 2, keyValueHeads: [1, 2], headDim: 64, slidingWindow: [0, 48] },
  tiers: { sinks: 2, window: 9 },
  capacity: {
    sequences: 5,
    tokens: 700,
    sequenceTokens: 400,
    stepTokens: 150,
    appendTokens: 50,
  },
} satisfies Partial<CacheOptions>;

/** What is run. */
interface Case {
  readonly name: string;
  readonly options: CacheOptions;
  /** Lists of operations that are run, 40 in each on average. */
  readonly runs: number;
  /** When a slow adapter stops, */
  readonly milliseconds: number;
  /** and the fewest operations till then, lest it tests nothing. */
  readonly operations: number;
}

const CASES: readonly Case[] = [
  {
    name: "Cache",
    options: {
      ...options,
      // Records of one token and of two, so that a page is copied with half a record in it.
      policy: { keys: "c8b10", values: "c2b4", layers: { 1: { keys: "c1b1", values: "f16" } } },
      keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
    },
    runs: 30,
    milliseconds: 75_000,
    operations: 200,
  },
  {
    name: "Cache of blocks of tokens",
    options: {
      ...options,
      policy: { keys: "u8b8", values: "t1b2", layers: { 1: { keys: "t1b3", values: "u4b8" } } },
      // Unrotated, so that numbers are exact in f32 and coded as in float64.
      keys: { space: "as-scored" },
    },
    runs: 10,
    milliseconds: 20_000,
    operations: 50,
  },
];

const device = await requestTestDevice();

/** One operation; sequences are chosen by their number among those alive, modulo. */
type Operation =
  | { readonly kind: "append"; readonly tokens: readonly [which: number, count: number][] }
  | { readonly kind: "fork" | "restore" | "free"; readonly which: number }
  | { readonly kind: "reorder"; readonly parents: readonly number[] }
  | { readonly kind: "truncate"; readonly which: number; readonly back: number };

const which = fc.nat(20);

const operation: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("append" as const),
      tokens: fc.array(
        fc.tuple(which, fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 50 }))),
        { minLength: 1, maxLength: 3 },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("fork" as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restore" as const), which }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("free" as const), which }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("reorder" as const),
      parents: fc.array(which, { minLength: 1, maxLength: 5 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("truncate" as const),
      which,
      // Within a step, beyond it, and all.
      back: fc.oneof(fc.nat(50), fc.nat(150), fc.constant(400)),
    }),
  },
);

/** Whether every pool has room for so many more pages, so that exhaustion (tested elsewhere) does not end the run. */
function hasRoom({ cache }: CacheModel, pages: number): boolean {
  return cache.stats().pools.every(({ free }) => free >= pages);
}

async function apply(model: CacheModel, operation: Operation): Promise<void> {
  const { cache, alive } = model;
  const full = alive.length === options.capacity.sequences;
  const at = (index: number) => alive[index % alive.length];
  if (operation.kind === "append") {
    const counts = new Map<Pair, number>();
    for (const [index, count] of operation.tokens) {
      const pair = at(index);
      if (pair === undefined) return;
      const tokens = Math.min(count, options.capacity.sequenceTokens - cache.length(pair.device));
      if (tokens > 0) counts.set(pair, tokens);
    }
    if (counts.size === 0 || !hasRoom(model, 2 * counts.size)) return;
    await model.append([...counts].map(([pair, tokens]) => ({ pair, tokens })));
    return;
  }
  if (operation.kind === "reorder") {
    if (alive.length === 0) return;
    const parents = operation.parents.map((parent) => parent % alive.length);
    model.reorder(alive, parents);
    return;
  }
  const pair = at(operation.which);
  if (operation.kind === "fork") {
    if (full) return;
    if (pair === undefined) model.create();
    else model.fork(pair);
  } else if (pair !== undefined && operation.kind === "restore") {
    if (full || !hasRoom(model, cache.pages(pair.device, 0).pages.length)) return;
    await model.restore(pair);
  } else if (pair !== undefined && operation.kind === "free") {
    model.free(pair);
  } else if (pair !== undefined && operation.kind === "truncate") {
    const length = cache.length(pair.device);
    const kept = Math.max(0, length - operation.back);
    if (!model.losesTokens(pair, kept)) return model.truncate(pair, kept);
    refuses("usage", () => cache.truncate(pair.device, kept));
    assert.equal(cache.length(pair.device), length);
    // As far as a sliding window and blocks allow for certain.
    model.truncate(pair, Math.max(kept, length - options.capacity.appendTokens));
  }
}

for (const { name, options, runs, milliseconds, operations } of CASES) {
  Deno.test(`${name} agrees with float64 whatever is appended, forked, reordered, restored, truncated and freed`, async () => {
    let steps = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(operation, { minLength: 20, maxLength: 60, size: "max" }),
        fc.nat(),
        async (list, seed) => {
          const model = await CacheModel.create(device, options, seed);
          const { cache } = model;
          model.create();
          for (const operation of list) {
            await apply(model, operation);
            steps++;
            for (const pair of model.alive) {
              assert.equal(cache.length(pair.device), model.reference.length(pair.reference));
            }
            model.checkPages();
          }
          await model.checkRecords();
          for (const pair of [...model.alive]) model.free(pair);
          const { pages } = cache.stats();
          assert.equal(pages.free, pages.total);
          model.destroy();
        },
      ),
      { seed: 20260517, numRuns: runs, interruptAfterTimeLimit: milliseconds },
    );
    console.log(`${steps} operations`);
    assert.ok(steps > operations, "an adapter this slow tests too little");
  });
}
