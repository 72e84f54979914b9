/** Context shift: tokens leave a sequence in its middle, beside the float64 cache and beside sequences that never had them. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  createCache,
  dropGranularity,
  encodeDrop,
  mropeSections,
  planCache,
  type SchemeId,
  type Sequence,
  type Side,
  SIDES,
  snapshotSequence,
  type TokenRange,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { countBuffers } from "../helpers/count_buffers.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { seededRandom } from "../../src/base/random.ts";
import { CacheModel, type Pair } from "../helpers/cache_model.ts";
import { uploadBuffer } from "../helpers/cache_oracle.ts";
import { gridCodebooks, gridVectors } from "../helpers/grid_numbers.ts";
import { refusal, refuses } from "../helpers/refusals.ts";

const device = await requestTestDevice();

const ROPE = { layout: "half", theta: 10000 } as const;

const CAPACITY = {
  sequences: 4,
  tokens: 1400,
  sequenceTokens: 640,
  stepTokens: 100,
  appendTokens: 50,
};

/** One layer of a scheme, with the rest as usual. */
function optionsOf(
  keys: SchemeId,
  values: SchemeId,
  rest: Partial<CacheOptions> = {},
): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: 64 },
    policy: { keys, values },
    keys: { space: "pre-rope", rope: ROPE },
    tiers: { sinks: 3, window: 20 },
    capacity: CAPACITY,
    ...rest,
  };
}

/** Whose tokens may be dropped, with how many at a time. */
const CASES: readonly {
  readonly name: string;
  readonly options: CacheOptions;
  readonly unit: number;
}[] = [
  { name: "tokens coded one by one", options: optionsOf("c8b8", "u8b8"), unit: 64 },
  {
    name: "as many tokens as the ring has slots, so that exact ones stay in theirs",
    options: optionsOf("c8b8", "c4b8", { tiers: { sinks: 3, window: 14 } }),
    unit: 64,
  },
  { name: "blocks of tokens", options: optionsOf("kc2", "kt2"), unit: 64 },
  {
    name: "half-precision codes, no sinks and no window",
    options: optionsOf("f16", "t1b2", { tiers: { sinks: 0, window: 0 } }),
    unit: 64,
  },
  {
    name: "sliding windows beside full attention, and shared keys",
    options: optionsOf("c8b8", "c4b8", {
      shape: {
        layers: 3,
        queryHeads: 2,
        keyValueHeads: [1, 2, 1],
        headDim: [64, 128, 64],
        slidingWindow: [0, 48, 0],
        sharesWith: [null, null, 0],
      },
    }),
    unit: 128,
  },
  {
    name: "anchored keys",
    options: optionsOf("c8b8", "c8b8", {
      keys: { space: "anchored", rope: ROPE, anchor: { radians: 0.07 } },
    }),
    unit: 128,
  },
  {
    name: "layers without a rotary embedding",
    options: optionsOf("c8b8", "c8b8", {
      shape: { layers: 2, queryHeads: 2, keyValueHeads: 1, headDim: 64 },
      policy: { keys: "c8b8", values: "c8b8", layers: { 1: { keys: "u8b8", values: "u8b8" } } },
      keys: { space: "pre-rope", rope: [ROPE, null] },
    }),
    unit: 64,
  },
];

/** A cache of one layer, and vectors for 360 tokens of it. */
async function createModel(appendTokens: number) {
  const options = optionsOf("c8b8", "u8b8", { capacity: { ...CAPACITY, appendTokens } });
  const random = seededRandom("never had");
  const plan = planCache({ ...options, kernels: manifest });
  const cache = await createCache({ device, plan, codebooks: gridCodebooks(options, random) });
  return { cache, keys: gridVectors(random, 360 * 64), values: gridVectors(random, 360 * 64) };
}

async function grow(model: CacheModel, pair: Pair, tokens: number): Promise<void> {
  for (let left = tokens; left > 0; left -= 50) {
    model.record(model.begin([{ pair, tokens: Math.min(left, 50) }]));
  }
  await model.flush();
}

for (const { name, options, unit } of CASES) {
  Deno.test(`encodeDrop on ${name} agrees with float64, with forks, snapshots, further steps and rollbacks`, async () => {
    const model = await CacheModel.create(device, options, name);
    assert.equal(dropGranularity(model.cache.plan), unit);
    const { sinks } = options.tiers;
    const pair = model.create();
    await grow(model, pair, 417);
    const fork = model.fork(pair);
    const free = model.cache.stats().pages.free;
    model.dropTokens(pair, { from: sinks, to: sinks + unit });
    assert.equal(model.cache.length(pair.device), 417 - unit);
    // The fork has them still.
    assert.equal(model.cache.stats().pages.free, free);
    await model.flush();
    model.poison();
    model.record(model.begin([{ pair, tokens: 7 }, { pair: fork, tokens: 3 }]));
    model.free(fork);
    const restored = await model.restore(pair);
    // Into what was restored, before any step of it.
    if (
      model.cache.codedTokens(restored.device) >= unit && options.shape.slidingWindow === undefined
    ) {
      model.dropTokens(restored, { from: sinks, to: sinks + unit });
    }
    model.truncate(pair, model.cache.length(pair.device) - 30);
    model.record(model.begin([{ pair, tokens: 50 }, { pair: restored, tokens: 1 }]));
    // In the same submit as what comes before and after.
    if (options.shape.slidingWindow === undefined) {
      model.dropTokens(pair, { from: sinks + 64, to: sinks + 64 + unit });
    }
    model.record(model.begin([{ pair, tokens: 33 }]));
    await model.flush();
    await model.checkRecords();
    model.checkPages();
    model.destroy();
  });
}

Deno.test("encodeDrop leaves what a sequence holds that never had the tokens, bit for bit", async () => {
  for (const appendTokens of [1, 50]) {
    const { cache, ...model } = await createModel(appendTokens);
    const [shifted, plain] = [cache.createSequence(), cache.createSequence()];
    const give = (sequence: Sequence, tokens: readonly number[]) => {
      for (let at = 0; at < tokens.length; at += appendTokens) {
        const own = tokens.slice(at, at + appendTokens);
        const step = cache.beginStep([{ sequence, tokens: own.length }]);
        const encoder = device.createCommandEncoder();
        const of = (side: Float32Array<ArrayBuffer>) => ({
          buffer: uploadBuffer(
            device,
            Float32Array.from(own.flatMap((token) => [...side.slice(token * 64, token * 64 + 64)])),
          ),
        });
        cache.encodeAppend(encoder, step, 0, { keys: of(model.keys), values: of(model.values) });
        device.queue.submit([encoder.finish()]);
      }
    };
    const all = Array.from({ length: 360 }, (_, token) => token);
    give(shifted, all.slice(0, 350));
    give(plain, [...all.slice(0, 67), ...all.slice(195, 350)]);
    const encoder = device.createCommandEncoder();
    encodeDrop(cache, encoder, shifted, { from: 67, to: 195 });
    device.queue.submit([encoder.finish()]);
    for (const sequence of [shifted, plain]) give(sequence, all.slice(350));
    const [found, wanted] = await Promise.all(
      [shifted, plain].map((sequence) => snapshotSequence(cache, sequence)),
    );
    assert.deepEqual(found, wanted);
    cache.destroy();
  }
});

Deno.test("encodeDrop: after a rollback behind the range, what lies before it is seen by its codes", async () => {
  // Exact tokens reach 90 back from the end: those before the range are overwritten.
  const options = optionsOf("c8b8", "u8b8", { tiers: { sinks: 3, window: 40 } });
  const model = await CacheModel.create(device, options, "before the range");
  const pair = model.create();
  await grow(model, pair, 300);
  const to = 3 + Math.floor(model.cache.codedTokens(pair.device) / 64) * 64;
  model.dropTokens(pair, { from: to - 64, to });
  model.truncate(pair, to - 64 + 5);
  model.record(model.begin([{ pair, tokens: 7 }]));
  await model.flush();
  model.destroy();
});

Deno.test("encodeDrop takes one buffer, which the cache destroys", async () => {
  const buffers = countBuffers(device);
  const { cache, keys, values } = await createModel(50);
  const { alive } = buffers;
  const host = [keys, values].map((data) => ({ buffer: uploadBuffer(device, data) }));
  const sequence = cache.createSequence();
  for (const _ of Array(4)) {
    const encoder = device.createCommandEncoder();
    const step = cache.beginStep([{ sequence, tokens: 50 }]);
    cache.encodeAppend(encoder, step, 0, { keys: host[0]!, values: host[1]! });
    device.queue.submit([encoder.finish()]);
  }
  const encoder = device.createCommandEncoder();
  encodeDrop(cache, encoder, sequence, { from: 3, to: 67 });
  encodeDrop(cache, encoder, sequence, { from: 3, to: 67 });
  device.queue.submit([encoder.finish()]);
  assert.equal(buffers.alive, alive + host.length + 1);
  await device.queue.onSubmittedWorkDone();
  cache.destroy();
  assert.equal(buffers.alive, host.length);
});

Deno.test("encodeDrop refuses what cannot be dropped, names what can, and changes nothing", async () => {
  const { shape: _, ...one } = optionsOf("c8b8", "c8b8");
  const shape = { layers: 2, queryHeads: 2, keyValueHeads: 1, headDim: 64, slidingWindow: [0, 48] };
  const options = { ...one, shape };
  const model = await CacheModel.create(device, options, "refusals");
  const pair = model.create();
  const drop = (range: TokenRange) => {
    const before = model.cache.stats();
    const advice = refusal(
      "usage",
      () => model.encode((target) => encodeDrop(model.cache, target, pair.device, range)),
    );
    assert.deepEqual(model.cache.stats(), before);
    return /Drop tokens (\d+) to (\d+)/.exec(advice)?.slice(1).map(Number);
  };
  await grow(model, pair, 100);
  assert.equal(drop({ from: 3, to: 131 }), undefined, "nothing can be dropped yet");
  await grow(model, pair, 317);
  for (
    const range of [
      { from: 0, to: 128 },
      { from: 3, to: 67 },
      { from: 4, to: 132 },
      { from: 131, to: 3 },
      { from: 3, to: 3 },
      { from: 67, to: 323 },
      { from: 3.5, to: 131.5 },
      { from: -61, to: 67 },
    ]
  ) {
    const [from, to] = drop(range)!;
    const trial = model.fork(pair);
    model.dropTokens(trial, { from: from!, to: to! });
    model.free(trial);
  }
  const step = model.begin([{ pair, tokens: 1 }]);
  model.record(step, [0]);
  assert.equal(drop({ from: 3, to: 131 }), undefined, "a step is not through all layers");
  model.record(step, [1]);
  model.dropTokens(pair, { from: 3, to: 131 });
  // The step attended to tokens where they were.
  const buffer = device.createBuffer({ size: 512, usage: 0x80 });
  refuses(
    "usage",
    () =>
      model.encode((target) =>
        model.cache.encodeAttend(target, step.device, 0, {
          queries: { buffer },
          output: { buffer, offset: 256 },
        })
      ),
  );
  await model.flush();
  model.destroy();
});

/** Plans whose codes depend on positions. */
const POSITIONAL: readonly (readonly [CacheOptions, RegExp])[] = [
  [optionsOf("c8b8", "c8b8", { keys: { space: "as-scored" } }), /pre-rope/],
  [optionsOf("u8b8", "u8b8"), /u8b8 codes the keys of layer 0 with their rotary embedding/],
  [optionsOf("t1b2", "c8b8", { keys: { space: "anchored", rope: ROPE } }), /t1b2/],
  [
    optionsOf("c8b8", "c8b8", {
      keys: { space: "pre-rope", rope: { ...ROPE, sections: mropeSections([8, 12, 12]) } },
    }),
    /positions of their own/,
  ],
];

Deno.test("dropGranularity refuses plans whose codes depend on positions, and says what to plan", () => {
  for (const [options, words] of POSITIONAL) {
    const plan = planCache({ ...options, kernels: manifest });
    assert.match(refusal("usage", () => dropGranularity(plan)), words);
  }
});

Deno.test("encodeDrop's advice for data-free keys works: read what follows, truncate, append it again", async () => {
  const options = optionsOf("u8b8", "u8b8");
  const plan = planCache({ ...options, kernels: manifest });
  const cache = await createCache({ device, plan });
  const sequence = cache.createSequence();
  const random = seededRandom("data-free");
  const encoder = device.createCommandEncoder();
  const append = (sides: Record<Side, GPUBuffer>, from: number, tokens: number) => {
    const step = cache.beginStep([{ sequence, tokens }]);
    const of = (side: Side) => ({ buffer: sides[side], offset: from * 256 });
    cache.encodeAppend(encoder, step, 0, { keys: of("keys"), values: of("values") });
  };
  const vectors = () => uploadBuffer(device, gridVectors(random, 300 * 64));
  const given = { keys: vectors(), values: vectors() };
  for (let at = 0; at < 300; at += 50) append(given, at, 50);
  assert.throws(
    () => encodeDrop(cache, encoder, sequence, { from: 3, to: 131 }),
    /read the tokens behind them, truncate, and append those again/,
  );
  const read = (first: number, count: number) =>
    Object.fromEntries(SIDES.map((side) => {
      const buffer = uploadBuffer(device, new Float32Array(count * 64));
      cache.encodeRead(encoder, sequence, 0, { side, first, count, output: { buffer } });
      return [side, buffer];
    })) as Record<Side, GPUBuffer>;
  const rest = read(131, 169);
  cache.truncate(sequence, 3);
  for (let at = 0; at < 169; at += 50) append(rest, at, Math.min(50, 169 - at));
  const again = read(3, 169);
  device.queue.submit([encoder.finish()]);
  const [wanted, found] = await Promise.all(
    [rest.keys, again.keys].map(async (own) => new Float32Array(await readBuffer(device, own))),
  );
  // Coded twice, at other positions.
  const square = (of: (i: number) => number) => wanted!.reduce((sum, _, i) => sum + of(i) ** 2, 0);
  const error = Math.sqrt(square((i) => found![i]! - wanted![i]!) / square((i) => wanted![i]!));
  assert.ok(error > 0 && error < 0.6, `${error}`);
  cache.destroy();
});
