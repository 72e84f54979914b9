/** A step is whole or void: given up at any point, among any others, it leaves every sequence as if it had never begun. */
import assert from "node:assert/strict";
import { type CacheOptions, type CoupletErrorCode, snapshotSequence } from "../../mod.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { CacheModel, type Pair } from "../helpers/cache_model.ts";
import { refuses } from "../helpers/refusals.ts";

const device = await requestTestDevice();

const shape = { layers: 2, queryHeads: 2, keyValueHeads: 1, headDim: 64 };

const base: CacheOptions = {
  shape,
  policy: { keys: "c8b10", values: "c2b4" },
  keys: { space: "as-scored" },
  tiers: { sinks: 2, window: 9 },
  capacity: { sequences: 5, tokens: 1200, sequenceTokens: 400, stepTokens: 150, appendTokens: 50 },
};

/** What steps are given up in. */
const KINDS: Readonly<Record<string, CacheOptions>> = {
  "records of a token and of two": base,
  "exact tokens": {
    ...base,
    policy: { keys: "f16", values: "f16" },
    tiers: { sinks: 0, window: 0 },
  },
  "blocks of tokens": { ...base, policy: { keys: "u8b8", values: "kt2" } },
  "sliding windows": { ...base, shape: { ...shape, slidingWindow: [0, 48] } },
};

/** Tokens that a sequence has before: none, in the exact tier, in the middle of a page, at its edge, behind several. */
const LENGTHS: readonly number[] = [0, 8, 60, 75, 230];

function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

/** Adds `count` tokens, in steps as large as may be. */
async function grow(model: CacheModel, pair: Pair, count: number): Promise<void> {
  const { appendTokens } = model.options.capacity;
  for (let left = count; left > 0; left -= appendTokens) {
    await model.append([{ pair, tokens: Math.min(left, appendTokens) }]);
  }
}

/** How a step of a sequence that shares its pages with another is given up. */
const WAYS: Readonly<
  Record<string, (model: CacheModel, pair: Pair, length: number) => void | Promise<void>>
> = {
  "before any layer": (model, pair, length) => {
    model.begin([{ pair, tokens: 20 }]);
    model.truncate(pair, length);
  },
  "after one layer": (model, pair, length) => {
    model.record(model.begin([{ pair, tokens: 20 }]), [1]);
    model.truncate(pair, length);
  },
  "after all layers": (model, pair, length) => {
    model.record(model.begin([{ pair, tokens: 20 }]));
    model.truncate(pair, length);
  },
  "after all layers, its commands never submitted": (model, pair, length) =>
    model.drop(() => {
      model.record(model.begin([{ pair, tokens: 20 }]));
      model.truncate(pair, length);
    }),
  "with the one before it, which one layer has": (model, pair, length) => {
    const first = model.begin([{ pair, tokens: 20 }]);
    const second = model.begin([{ pair, tokens: 30 }]);
    model.record(first, [0], false);
    model.record(second, [0], false);
    model.truncate(pair, length);
  },
  "after a refusal": (model, pair, length) => {
    const step = model.begin([{ pair, tokens: 20 }]);
    refuses(
      "usage",
      () =>
        model.encode((target) =>
          model.cache.encodeAppend(target, step.device, 7, {
            keys: { buffer: model.cache.buffers(0).parts[0]!.exact },
            values: { buffer: model.cache.buffers(0).parts[0]!.exact },
          })
        ),
    );
    model.truncate(pair, length);
  },
};

for (const [kind, options] of Object.entries(KINDS)) {
  Deno.test(`A step given up leaves no trace: ${kind}`, async (t) => {
    for (const [way, giveUp] of Object.entries(WAYS)) {
      await t.step(way, async () => {
        const model = await CacheModel.create(device, options, way);
        model.poison();
        for (const length of LENGTHS) {
          const pair = model.create();
          await grow(model, pair, length);
          const other = model.fork(pair);
          const { stats } = model.cache;
          await model.flush();
          const before = stats.call(model.cache);
          const saved = await snapshotSequence(model.cache, pair.device);
          await giveUp(model, pair, length);
          await model.flush();
          model.poison();
          assert.deepEqual(model.cache.stats(), before);
          const bytes = await snapshotSequence(model.cache, pair.device);
          // Once a layer was given the step, what lies a ring before it is not held exactly any more.
          if (/^before|refusal/.test(way)) assert.ok(isEqual(bytes, saved), "the same snapshot");
          // Its fork goes on, and so does the sequence, in pages that they share no more.
          await model.append([{ pair: other, tokens: 30 }, { pair, tokens: 25 }]);
          await model.checkRecords();
          model.free(pair);
          model.free(other);
        }
        model.destroy();
      });
    }
  });
}

Deno.test("Cache.truncate() comes back to a page that a fork has gone on to write from an earlier token", async () => {
  const model = await CacheModel.create(device, base, "come back");
  const pair = model.create();
  await grow(model, pair, 60);
  const fork = model.fork(pair);
  // The first takes a copy of the page, and leaves it to the fork, which writes to it from an earlier token on.
  model.record(model.begin([{ pair, tokens: 20 }]), [0]);
  model.truncate(fork, 40);
  model.record(model.begin([{ pair: fork, tokens: 40 }]));
  model.truncate(pair, 60);
  await model.checkRecords();
  await model.append([{ pair, tokens: 9 }, { pair: fork, tokens: 3 }]);
  await model.checkRecords();
  model.destroy();
});

Deno.test("Cache.truncate() keeps what a step had coded, where one that was given up has overwritten the exact tier", async () => {
  for (const forked of [false, true]) {
    const model = await CacheModel.create(device, base, "overwritten");
    const pair = model.create();
    await grow(model, pair, 4);
    if (forked) model.fork(pair);
    await model.append([{ pair, tokens: 23 }]);
    // One layer is given tokens that reach round the ring, to the first tokens that were coded.
    model.record(model.begin([{ pair, tokens: 49 }]), [0]);
    model.truncate(pair, 27);
    model.truncate(pair, 3);
    assert.equal(model.cache.codedTokens(pair.device), 1);
    await model.checkRecords();
    await model.append([{ pair, tokens: 40 }]);
    await model.checkRecords();
    model.checkPages();
    model.destroy();
  }
});

Deno.test("Cache forgets tokens that were drafted, verified and rejected", async () => {
  const model = await CacheModel.create(
    device,
    { ...base, tiers: { sinks: 2, window: 4 } },
    "draft",
  );
  const [drafted, plain] = [model.create(), model.create()];
  let length = 0;
  for (let round = 0; round < 30; round++) {
    const accepted = round % 6;
    model.record(model.begin([{ pair: drafted, tokens: 6 }]));
    length += accepted + 1;
    model.truncate(drafted, Math.min(length, model.cache.length(drafted.device)));
  }
  await model.flush();
  assert.equal(model.cache.length(drafted.device), length);
  await grow(model, plain, 5);
  await model.checkRecords();
  model.checkPages();
  model.destroy();
});

Deno.test("Cache.encodeReorder() of 200 beams gives each its parent's tokens", async () => {
  const options: CacheOptions = {
    ...base,
    shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 64 },
    policy: { keys: "f16", values: "f16" },
    tiers: { sinks: 0, window: 2 },
    capacity: {
      sequences: 200,
      tokens: 200 * 64,
      sequenceTokens: 64,
      stepTokens: 64,
      appendTokens: 8,
    },
  };
  const model = await CacheModel.create(device, options, "beams");
  let beams = [model.create(), model.create(), model.create()];
  await model.append(beams.map((pair) => ({ pair, tokens: 8 })));
  beams = model.reorder(beams, Array.from({ length: 200 }, (_, i) => i % 3));
  for (let first = 0; first < 200; first += 64) {
    model.record(model.begin(beams.slice(first, first + 64).map((pair) => ({ pair, tokens: 1 }))));
  }
  beams = model.reorder(beams, Array.from({ length: 200 }, (_, i) => (i * 7) % 199));
  for (let first = 0; first < 200; first += 64) {
    model.record(model.begin(beams.slice(first, first + 64).map((pair) => ({ pair, tokens: 1 }))));
  }
  await model.checkRecords();
  model.checkPages();
  model.destroy();
});

for (const kind of ["records of a token and of two", "sliding windows"]) {
  Deno.test(`Restored sequences are put in place by the first commands that need them, whatever was recorded before: ${kind}`, async () => {
    const model = await CacheModel.create(device, KINDS[kind]!, "restored");
    const pair = model.create();
    await grow(model, pair, 200);
    await model.flush();
    const bytes = await snapshotSequence(model.cache, pair.device);
    const kept = model.reference.forkSequence(pair.reference);
    // Its place and pages are used by commands that are recorded, not yet submitted, when the next sequence takes them.
    model.record(model.begin([{ pair, tokens: 40 }]));
    model.free(pair);
    const restored = await model.restoreFrom(bytes, kept);
    assert.ok(isEqual(await snapshotSequence(model.cache, restored.device), bytes));
    model.record(model.begin([{ pair: restored, tokens: 3 }]), [0]);
    model.truncate(restored, 200);
    // A whole step gives up pages behind the window, and does not give them back.
    await model.drop(() => {
      model.record(model.begin([{ pair: restored, tokens: 50 }]));
      model.truncate(restored, 200);
    });
    const fork = model.fork(restored);
    model.record(model.begin([{ pair: fork, tokens: 30 }, { pair: restored, tokens: 5 }]));
    await model.flush();
    model.poison();
    await model.append([{ pair: fork, tokens: 1 }, { pair: restored, tokens: 50 }]);
    await model.checkRecords();
    model.checkPages();
    model.destroy();
  });
}

Deno.test("Cache.encodeRead() and snapshots hold nothing of memory that others left, padding included", async () => {
  for (const options of Object.values(KINDS)) {
    const clean = await CacheModel.create(device, options, "clean");
    const dirty = await CacheModel.create(device, options, "clean");
    dirty.poison();
    const first = dirty.create();
    const steps = [1, 40, 30, 21, 50, 1];
    for (const model of [clean, dirty]) {
      const pair = model === dirty ? dirty.create() : model.create();
      for (const tokens of steps) await model.append([{ pair, tokens }]);
    }
    dirty.free(first);
    dirty.poison();
    const [wanted, found] = await Promise.all(
      [clean, dirty].map(({ cache, alive }) => snapshotSequence(cache, alive[0]!.device)),
    );
    assert.ok(isEqual(found!, wanted!));
    clean.destroy();
    dirty.destroy();
  }
});

/** Calls on a cache that must be refused, by what they do. */
const REFUSALS: readonly [
  name: string,
  code: CoupletErrorCode,
  call: (model: CacheModel, target: GPUCommandEncoder | GPUComputePassEncoder) => unknown,
][] = [
  [
    "a fork where all sequences are alive",
    "capacity",
    ({ cache, alive }, target) => cache.encodeFork(target, alive[0]!.device),
  ],
  [
    "a fork in the middle of a step",
    "usage",
    ({ cache, alive }, target) => cache.encodeFork(target, alive[1]!.device),
  ],
  [
    "a reordering beyond the sequences planned",
    "capacity",
    ({ cache, alive }, target) => cache.encodeReorder(target, [alive[0]!.device], [0, 0, 0]),
  ],
  [
    "a read of a step that was not appended",
    "usage",
    ({ cache, alive }, target) =>
      cache.encodeRead(target, alive[1]!.device, 1, {
        side: "keys",
        first: 0,
        count: 1,
        output: { buffer: device.createBuffer({ size: 1024, usage: 0x80 }) },
      }),
  ],
  [
    "a layer that is not there",
    "usage",
    ({ cache, alive }, target) =>
      cache.encodeRead(target, alive[0]!.device, 2, {
        side: "keys",
        first: 0,
        count: 1,
        output: { buffer: device.createBuffer({ size: 1024, usage: 0x80 }) },
      }),
  ],
];

Deno.test("Cache refuses calls and leaves the host's encoder, its pass and all sequences as they were", async (t) => {
  const options = { ...base, capacity: { ...base.capacity, sequences: 2 } };
  for (const usesPass of [false, true]) {
    const model = await CacheModel.create(device, options, "refusals");
    model.usesPass = usesPass;
    const [pair, other] = [model.create(), model.create()];
    await model.append([{ pair, tokens: 30 }, { pair: other, tokens: 7 }]);
    const step = model.begin([{ pair: other, tokens: 2 }]);
    model.record(step, [0]);
    for (const [name, code, call] of REFUSALS) {
      await t.step(`${name}, in ${usesPass ? "a pass" : "an encoder"}`, () => {
        const before = model.cache.stats();
        // In one pass with what comes before and after.
        model.encode((target) => refuses(code, () => call(model, target)));
        assert.deepEqual(model.cache.stats(), before);
      });
    }
    model.record(step, [1]);
    await model.append([{ pair, tokens: 4 }, { pair: other, tokens: 1 }]);
    await model.checkRecords();
    model.destroy();
  }
});

Deno.test("Cache refuses to go back into an encoder that a sequence's commands have left", async () => {
  const model = await CacheModel.create(device, base, "encoders");
  const { cache } = model;
  const [pair, other] = [model.create(), model.create()];
  await model.append([{ pair, tokens: 3 }, { pair: other, tokens: 3 }]);
  const [first, second] = [device.createCommandEncoder(), device.createCommandEncoder()];
  const output = { buffer: device.createBuffer({ size: 1024, usage: 0x80 }) };
  const read = (target: GPUCommandEncoder, { device: sequence }: Pair) =>
    cache.encodeRead(target, sequence, 0, { side: "keys", first: 0, count: 1, output });
  read(first, pair);
  read(second, pair);
  refuses("usage", () => read(first, pair));
  read(first, other);
  read(second, pair);
  device.queue.submit([first.finish(), second.finish()]);
  model.destroy();
});

Deno.test("Cache refuses every call after destroy()", async () => {
  const model = await CacheModel.create(device, base, "destroyed");
  const { cache } = model;
  const pair = model.create();
  await model.append([{ pair, tokens: 3 }]);
  const step = cache.beginStep([{ sequence: pair.device, tokens: 1 }]);
  const tensor = { buffer: device.createBuffer({ size: 1024, usage: 0x80 }) };
  const encoder = device.createCommandEncoder();
  cache.destroy();
  const calls: Readonly<Record<string, () => unknown>> = {
    createSequence: () => cache.createSequence(),
    freeSequence: () => cache.freeSequence(pair.device),
    length: () => cache.length(pair.device),
    codedTokens: () => cache.codedTokens(pair.device),
    truncate: () => cache.truncate(pair.device, 0),
    beginStep: () => cache.beginStep([{ sequence: pair.device, tokens: 1 }]),
    encodeFork: () => cache.encodeFork(encoder, pair.device),
    encodeReorder: () => cache.encodeReorder(encoder, [pair.device], [0]),
    encodeAppend: () => cache.encodeAppend(encoder, step, 0, { keys: tensor, values: tensor }),
    encodeAttend: () => cache.encodeAttend(encoder, step, 0, { queries: tensor, output: tensor }),
    encodeRead: () =>
      cache.encodeRead(encoder, pair.device, 0, {
        side: "keys",
        first: 0,
        count: 1,
        output: tensor,
      }),
    buffers: () => cache.buffers(0),
    pages: () => cache.pages(pair.device, 0),
    stats: () => cache.stats(),
  };
  for (const call of Object.values(calls)) refuses("usage", call);
  await assert.rejects(snapshotSequence(cache, pair.device), /destroyed/);
  cache.destroy();
});
