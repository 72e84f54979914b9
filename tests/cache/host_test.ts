/** What a cache decides on the host's side, at any sizes: pages, pools and rollbacks. Nothing is computed. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Cache,
  createCache,
  planCache,
  restoreSequence,
  type Sequence,
  snapshotSequence,
  type Step,
} from "../../mod.ts";
import {
  cacheOf,
  codedOf,
  device,
  fork,
  grow,
  HostModel,
  kernels,
  PAGE,
  ringOf,
  seenFrom,
  type Sizes,
} from "../helpers/host_model.ts";
import { refuses } from "../helpers/refusals.ts";

/** Sizes around those at which tiles are given up, for every kind of block. */
const SLIDING: readonly Sizes[] = ([1, 32, 64] as const).flatMap((block) =>
  [8, 48, 127, 200].flatMap((slidingWindow) =>
    [1, 16, 65, 100].flatMap((window) =>
      [1, 10, 50].map((appendTokens): Sizes => ({
        block,
        slidingWindows: [slidingWindow],
        sinks: 2,
        window,
        appendTokens,
        sequences: 2,
        sequenceTokens: 450,
      }))
    )
  )
);

Deno.test("Cache: pools behind sliding windows have room for any step, little more, and what a rollback of a step needs", async () => {
  for (const sizes of SLIDING) {
    const { appendTokens, sequenceTokens } = sizes;
    const what = JSON.stringify(sizes);
    const cache = await cacheOf(sizes);
    const pair = [cache.createSequence(), cache.createSequence()];
    const step = (tokens: number) => grow(cache, pair.map((sequence) => ({ sequence, tokens })));
    const truncate = (length: number) => {
      for (const sequence of pair) {
        cache.truncate(sequence, length);
        assert.equal(cache.codedTokens(sequence), codedOf(sizes, length), `${what} at ${length}`);
      }
    };
    let leastFree = Infinity;
    let length = 0;
    while (length < sequenceTokens) {
      const most = Math.min(length + appendTokens, sequenceTokens);
      for (const back of new Set([1, Math.ceil((most - length) / 2), most - length])) {
        step(most - length);
        leastFree = Math.min(leastFree, cache.stats().pages.free);
        truncate(most - back);
        truncate(length);
      }
      const next = length % 3 === 0 ? most - length : 1;
      step(next);
      length += next;
    }
    assert.ok(cache.pages(pair[0]!, 0).first > 0, "pages were given up");
    assert.ok(leastFree < 12, `${leastFree} pages were never used: ${what}`);
  }
});

Deno.test("Cache: a pool has room for its tokens, however they are divided among sequences", async () => {
  const sizes: Sizes = {
    block: 1,
    slidingWindows: [0],
    sinks: 0,
    window: 0,
    appendTokens: 300,
    sequences: 4,
    sequenceTokens: 300,
    tokens: 300,
  };
  for (
    const lengths of [[300], [65, 65, 65, 65], [1, 1, 1, 257], [129, 1, 65, 65], [75, 75, 75, 75]]
  ) {
    const cache = await cacheOf(sizes);
    for (const tokens of lengths) grow(cache, [{ sequence: cache.createSequence(), tokens }]);
    assert.equal(cache.stats().tokens, lengths.reduce((sum, tokens) => sum + tokens, 0));
  }
});

Deno.test("Cache takes as many tokens, entries and sequences as are planned, and not one more", async () => {
  const sizes: Sizes = {
    block: 1,
    slidingWindows: [0],
    sinks: 1,
    window: 2,
    appendTokens: 10,
    sequences: 66,
    sequenceTokens: 25,
    tokens: 66 * 25,
  };
  const cache = await cacheOf(sizes);
  const sequences = Array.from({ length: 66 }, () => cache.createSequence());
  refuses("capacity", () => cache.createSequence());
  const entries = (count: number, tokens: number) =>
    sequences.slice(0, count).map((sequence) => ({ sequence, tokens }));
  refuses("capacity", () => cache.beginStep(entries(65, 1)));
  refuses("capacity", () => cache.beginStep(entries(1, 11)));
  grow(cache, entries(64, 10));
  grow(cache, entries(1, 10));
  refuses("capacity", () => cache.beginStep(entries(1, 6)));
  grow(cache, entries(1, 5));
  refuses("capacity", () => cache.beginStep(entries(1, 1)));
  assert.equal(cache.length(sequences[0]!), 25);

  const narrow = await cacheOf({ ...sizes, stepTokens: 15 });
  const [one, other] = [narrow.createSequence(), narrow.createSequence()];
  const pair = (tokens: number) => [{ sequence: one, tokens: 10 }, { sequence: other, tokens }];
  refuses("capacity", () => narrow.beginStep(pair(6)));
  grow(narrow, pair(5));
});

/** Workgroups of each dispatch that attention of a step records; its last merges the splits. */
function attendedGrids(cache: Cache, step: Step): number[][] {
  const grids: number[][] = [];
  const pass = {
    setPipeline() {},
    setBindGroup() {},
    dispatchWorkgroups: (...grid: number[]) => void grids.push(grid),
  } as unknown as GPUComputePassEncoder;
  const tensor = () => ({ buffer: device.createBuffer({ size: 2 ** 23, usage: 0x80 }) });
  cache.encodeAppend(pass, step, 0, { keys: tensor(), values: tensor() });
  grids.length = 0;
  cache.encodeAttend(pass, step, 0, { queries: tensor(), output: tensor() });
  return grids;
}

Deno.test("Cache: the splits of any step are no more than its tiles and the partial results have room for, and use both", async () => {
  const found = { tiles: 0, partials: 0, workgroups: 0 };
  for (const [queryHeads, keyValueHeads] of [[4, 1], [3, 1], [12, 2], [5, 5]] as const) {
    const plan = planCache({
      shape: { layers: 1, queryHeads, keyValueHeads, headDim: 64 },
      policy: { keys: "f16", values: "f16" },
      keys: { space: "as-scored" },
      tiers: { sinks: 4, window: 64 },
      capacity: {
        sequences: 3,
        tokens: 90_000,
        sequenceTokens: 40_000,
        stepTokens: 110,
        appendTokens: 100,
      },
      kernels,
    });
    const cache = await createCache({ device, plan });
    const sequences = [cache.createSequence(), cache.createSequence(), cache.createSequence()];
    const [long, short] = sequences as [Sequence, Sequence, Sequence];
    const row = 17 * 16;
    const most = plan.scratch.partials / row;
    while (cache.length(long) < 36_000) {
      grow(cache, [{ sequence: long, tokens: 100 }]);
    }
    for (const tokens of [1, 2, 3, 5, 7, 11, 17, 40, 75, 100]) {
      for (const others of [0, 1, 2]) {
        const step = cache.beginStep(
          [{ sequence: long, tokens }, { sequence: short, tokens: 1 }, {
            sequence: sequences[2]!,
            tokens: 3,
          }].slice(0, 1 + others),
        );
        const grids = attendedGrids(cache, step);
        const [splits, heads, blocks] = grids[0]!;
        const longest = Math.max(tokens, others === 2 ? 3 : 1);
        assert.deepEqual(grids.at(-1), [queryHeads, longest, 1 + others]);
        assert.equal(heads, keyValueHeads);
        const group = queryHeads / keyValueHeads;
        assert.equal(blocks, (1 + others) * Math.ceil((longest * group) / 4));
        const rows = step.tokens * queryHeads;
        assert.ok(splits! * rows <= most, `${splits} splits of ${rows} rows, of which ${most} fit`);
        const tiles = Math.ceil(cache.length(long) / (8 * PAGE)) + 2;
        assert.ok(splits! <= tiles);
        if (splits === tiles) found.tiles++;
        else if ((splits! + 1) * rows > most) found.partials++;
        else if (splits === Math.ceil(256 / (blocks! * heads!))) found.workgroups++;
        else assert.fail(`${splits} splits of ${tiles} tiles, ${blocks} blocks of ${heads} heads`);
      }
    }
  }
  assert.ok(Object.values(found).every((count) => count > 5), JSON.stringify(found));
});

Deno.test("Cache.truncate() refuses what a sliding window has given up, or a block's exact tokens, and only that", async () => {
  for (const block of [1, 32] as const) {
    const sizes: Sizes = {
      block,
      slidingWindows: [0, 48, 200],
      sinks: 2,
      window: 9,
      appendTokens: 50,
      sequences: 2,
      sequenceTokens: 600,
    };
    const cache = await cacheOf(sizes);
    const sequence = cache.createSequence();
    for (let length = 0; length < 500; length += 50) grow(cache, [{ sequence, tokens: 50 }]);
    const firsts = sizes.slidingWindows.map((_, layer) => cache.pages(sequence, layer).first);
    const found = { refused: 0, taken: 0 };
    for (let length = 0; length < 500; length++) {
      const copy = fork(cache, sequence);
      const coded = codedOf(sizes, length, Math.max(0, 500 - ringOf(sizes)));
      const lost = coded > 0 &&
        sizes.slidingWindows.some((slidingWindow, layer) =>
          Math.min(seenFrom(sizes, slidingWindow, length), coded) < firsts[layer]! * PAGE
        );
      if (lost || coded % block !== 0) {
        refuses("usage", () => cache.truncate(copy, length));
        assert.equal(cache.length(copy), 500);
        found.refused++;
      } else {
        cache.truncate(copy, length);
        assert.equal(cache.codedTokens(copy), coded);
        found.taken++;
      }
      cache.freeSequence(copy);
    }
    assert.ok(found.refused > 50 && found.taken > 50, JSON.stringify(found));
  }
});

/** One operation, on one of two caches; sequences are chosen by their number among those alive, modulo. */
type Operation =
  & { readonly cache: 0 | 1; readonly which: number }
  & (
    | { readonly kind: "append"; readonly tokens: readonly number[] }
    | { readonly kind: "create" | "fork" | "restore" | "free" }
    | { readonly kind: "reorder"; readonly parents: readonly number[] }
    | { readonly kind: "truncate"; readonly back: number }
  );

const place = { cache: fc.constantFrom(0 as const, 1 as const), which: fc.nat(20) };

const OPERATIONS: fc.Arbitrary<Operation> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      ...place,
      kind: fc.constant("append" as const),
      tokens: fc.array(fc.oneof(fc.constant(1), fc.nat(49).map((n) => n + 1)), {
        minLength: 1,
        maxLength: 3,
      }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ ...place, kind: fc.constant("create" as const) }) },
  { weight: 2, arbitrary: fc.record({ ...place, kind: fc.constant("fork" as const) }) },
  { weight: 1, arbitrary: fc.record({ ...place, kind: fc.constant("restore" as const) }) },
  { weight: 1, arbitrary: fc.record({ ...place, kind: fc.constant("free" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      ...place,
      kind: fc.constant("reorder" as const),
      parents: fc.array(fc.nat(20), { minLength: 1, maxLength: 6 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      ...place,
      kind: fc.constant("truncate" as const),
      back: fc.oneof(fc.nat(50), fc.nat(150), fc.nat(600)),
    }),
  },
);

async function apply(models: readonly HostModel[], operation: Operation): Promise<void> {
  const model = models[operation.cache]!;
  const other = models[1 - operation.cache]!;
  const { alive, cache, sizes } = model;
  const sequences = [...alive.keys()];
  const at = (index: number) => sequences[index % sequences.length]!;
  const sequence = at(operation.which);
  if (operation.kind === "create" || sequence === undefined) model.create();
  else if (operation.kind === "fork") model.fork(sequence);
  else if (operation.kind === "free") model.free(sequence);
  else if (operation.kind === "truncate") {
    model.truncate(sequence, Math.max(0, alive.get(sequence)!.length - operation.back));
  } else if (operation.kind === "reorder") {
    model.reorder(sequences, operation.parents.map((parent) => parent % sequences.length));
  } else if (operation.kind === "append") {
    const counts = new Map<Sequence, number>();
    operation.tokens.forEach((count, i) => {
      const one = at(operation.which + i);
      const room = sizes.sequenceTokens - alive.get(one)!.length;
      const tokens = Math.min(count, sizes.appendTokens, room);
      if (tokens > 0) counts.set(one, tokens);
    });
    const entries = [...counts].map(([sequence, tokens]) => ({ sequence, tokens }));
    if (entries.length > 0) model.append(entries);
  } else if (operation.kind === "restore") {
    const known = alive.get(sequence)!;
    const bytes = await snapshotSequence(cache, sequence);
    if (other.alive.size === other.sizes.sequences) return;
    const pages = Math.ceil(model.coded(known) / PAGE);
    if (other.cache.stats().pools.some(({ free }) => free < pages)) return;
    const restored = await restoreSequence(other.cache, bytes);
    const oldest = Math.max(
      ...[model, other].map((one) => known.length - ringOf(one.sizes)),
      known.exactFrom,
    );
    other.alive.set(restored, {
      length: known.length,
      exactFrom: oldest > sizes.sinks ? oldest : 0,
    });
    other.check();
  }
  model.check();
}

for (const block of [1, 32] as const) {
  Deno.test(`Cache of blocks of ${block}: lengths, pages and pools are as counted, whatever is begun, forked, reordered, restored, truncated and freed`, async () => {
    const sizes: Sizes = {
      block,
      slidingWindows: [0, 48, 0, 200],
      sinks: 2,
      window: 9,
      appendTokens: 50,
      sequences: 4,
      sequenceTokens: 500,
      tokens: 900,
    };
    await fc.assert(
      fc.asyncProperty(
        fc.array(OPERATIONS, { minLength: 40, maxLength: 120, size: "max" }),
        async (list) => {
          const models = [
            await HostModel.create(sizes),
            await HostModel.create({ ...sizes, appendTokens: 10, tokens: 1200 }),
          ];
          for (const operation of list) await apply(models, operation);
          for (const model of models) {
            for (const sequence of [...model.alive.keys()]) model.free(sequence);
            model.check();
            const { pages } = model.cache.stats();
            assert.equal(pages.free, pages.total);
          }
        },
      ),
      { seed: 20260518, numRuns: 60 },
    );
  });
}
