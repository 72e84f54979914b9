/** Rollbacks to any length, also inside blocks of tokens that are no longer held exactly, beside the float64 cache. */
import assert from "node:assert/strict";
import { type CacheOptions, encodeRollback, type SchemeId, snapshotSequence } from "../../mod.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { CacheModel, type Pair } from "../helpers/cache_model.ts";
import { refusal } from "../helpers/refusals.ts";

const device = await requestTestDevice();

const ROPE = { layout: "half", theta: 10000 } as const;

function optionsOf(
  keys: SchemeId,
  values: SchemeId,
  space: "pre-rope" | "as-scored",
  rest: Partial<CacheOptions> = {},
): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 2, keyValueHeads: 2, headDim: 64 },
    policy: { keys, values },
    keys: space === "as-scored" ? { space } : { space, rope: ROPE },
    tiers: { sinks: 2, window: 9 },
    capacity: {
      sequences: 3,
      tokens: 900,
      sequenceTokens: 400,
      stepTokens: 40,
      appendTokens: 40,
    },
    ...rest,
  };
}

/** Blocks, and what the device and float64 code alike, to the bit. */
const CASES: readonly {
  readonly name: string;
  readonly options: CacheOptions;
  readonly isExact: boolean;
}[] = [
  { name: "evenly spaced levels", options: optionsOf("kc2", "kt2", "pre-rope"), isExact: true },
  { name: "u8b8, keys pre-rope", options: optionsOf("u8b8", "u8b8", "pre-rope"), isExact: false },
  { name: "u4b8, keys as scored", options: optionsOf("u4b8", "u4b8", "as-scored"), isExact: false },
  {
    name: "blocks beside other layers, and sliding windows",
    options: optionsOf("kc2", "kt2", "pre-rope", {
      shape: {
        layers: 2,
        queryHeads: 2,
        keyValueHeads: 1,
        headDim: 64,
        slidingWindow: [0, 200],
      },
      policy: { keys: "kc2", values: "kt2", layers: { 1: { keys: "c8b8", values: "f16" } } },
    }),
    isExact: true,
  },
  {
    name: "steps of fewer tokens than a block has",
    options: optionsOf("kc2", "u4b8", "pre-rope", {
      capacity: {
        sequences: 3,
        tokens: 900,
        sequenceTokens: 400,
        stepTokens: 12,
        appendTokens: 12,
      },
    }),
    isExact: false,
  },
];

async function grow(model: CacheModel, pair: Pair, tokens: number): Promise<void> {
  const { appendTokens } = model.options.capacity;
  for (let left = tokens; left > 0; left -= appendTokens) {
    model.record(
      model.begin([{ pair, tokens: Math.min(left, appendTokens) }]),
      model.layers,
      false,
    );
  }
  await model.flush();
}

for (const { name, options, isExact } of CASES) {
  Deno.test(`encodeRollback of ${name} keeps any length, and agrees with float64`, async () => {
    const model = await CacheModel.create(device, options, name);
    const pair = model.create();
    await grow(model, pair, 333);
    const fork = model.fork(pair);
    for (const length of [270, 203, 150]) {
      model.rollback(pair, length);
      await model.flush();
      model.poison();
      // What queries see, before and after the block is complete again.
      model.record(model.begin([{ pair, tokens: 1 }]));
      await model.flush();
      await grow(model, pair, 40);
      model.record(model.begin([{ pair, tokens: 5 }]));
    }
    // The fork still has its tokens, and can be restored and then cut.
    const restored = await model.restore(fork);
    model.rollback(restored, 190);
    model.record(model.begin([{ pair: restored, tokens: 9 }, { pair: fork, tokens: 1 }]));
    await model.flush();
    if (isExact) await model.checkRecords();
    model.checkPages();
    model.destroy();
  });
}

Deno.test("encodeRollback of up to appendTokens tokens is truncate(), and tells what is not as if never written", async () => {
  const options = optionsOf("u8b8", "kt2", "pre-rope");
  const model = await CacheModel.create(device, options, "numbers");
  const pair = model.create();
  await grow(model, pair, 300);
  const roll = (sequence: Pair, length: number) =>
    model.encode((target) => encodeRollback(model.cache, target, sequence.device, length));
  const [rolled, truncated] = [model.fork(pair), model.fork(pair)];
  assert.equal(roll(rolled, 260), 0);
  model.cache.truncate(truncated.device, 260);
  await model.flush();
  const [found, wanted] = await Promise.all(
    [rolled, truncated].map(({ device }) => snapshotSequence(model.cache, device)),
  );
  assert.deepEqual(found, wanted);
  // Exact are tokens from 300 - 112 on. Of 198 tokens past the sinks, 128 would be coded.
  assert.equal(roll(pair, 200), 300 - 112 - 2 - 128);
  assert.equal(model.cache.codedTokens(pair.device), 128);
  // What was decoded counts as held exactly.
  assert.equal(roll(pair, 199), 0);
  model.destroy();
});

// To where nothing is held exactly, to where the ring holds it, and into the page that the step would have copied.
for (const [tokens, length] of [[203, 81], [203, 120], [235, 213]] as const) {
  Deno.test(`encodeRollback from ${tokens} to ${length} undoes a step that is not submitted, and cuts a block behind it`, async () => {
    const model = await CacheModel.create(device, optionsOf("kc2", "kt2", "pre-rope"), "abandoned");
    const pair = model.create();
    await grow(model, pair, tokens);
    const fork = model.fork(pair);
    // A copy of a page that never gets its content.
    await model.drop(() => model.record(model.begin([{ pair, tokens: 40 }]), model.layers, false));
    model.free(fork);
    model.rollback(pair, length);
    model.record(model.begin([{ pair, tokens: 40 }]));
    await model.flush();
    await model.checkRecords();
    model.checkPages();
    model.destroy();
  });
}

for (const origin of ["fork", "restore"] as const) {
  Deno.test(`encodeRollback undoes the first step after a ${origin} where it is not submitted, and cuts a block before it`, async () => {
    const model = await CacheModel.create(device, optionsOf("kc2", "kt2", "pre-rope"), origin);
    const source = model.create();
    await grow(model, source, 203);
    const pair = await model[origin](source);
    await model.drop(() => model.record(model.begin([{ pair, tokens: 40 }]), model.layers, false));
    model.rollback(pair, 150);
    model.record(model.begin([{ pair, tokens: 40 }]));
    await model.flush();
    await model.checkRecords();
    model.checkPages();
    model.destroy();
  });
}

// Inside the last step that is complete, at its start, and before it.
for (const length of [190, 185, 150]) {
  Deno.test(`encodeRollback to ${length} undoes a step that only some layers were given, behind one that all were`, async () => {
    const shape = { layers: 2, queryHeads: 2, keyValueHeads: 2, headDim: 64 };
    const options = optionsOf("kc2", "kt2", "pre-rope", { shape });
    const model = await CacheModel.create(device, options, "overtaken");
    const pair = model.create();
    await grow(model, pair, 185);
    // The complete step copies a page, and codes what is decoded into the copy.
    model.fork(pair);
    await grow(model, pair, 40);
    model.record(model.begin([{ pair, tokens: 40 }]), [0], false);
    model.rollback(pair, length);
    model.record(model.begin([{ pair, tokens: 40 }]));
    await model.flush();
    await model.checkRecords();
    model.checkPages();
    model.destroy();
  });
}

Deno.test("encodeRollback refuses what layers with a sliding window have freed, names what is kept, and changes nothing", async () => {
  const shape = {
    layers: 2,
    queryHeads: 2,
    keyValueHeads: 1,
    headDim: 64,
    slidingWindow: [0, 48],
  };
  const model = await CacheModel.create(
    device,
    optionsOf("kc2", "kt2", "pre-rope", { shape }),
    "freed",
  );
  const pair = model.create();
  await grow(model, pair, 333);
  const before = model.cache.stats();
  const roll = (length: number) =>
    refusal(
      "usage",
      () => model.encode((target) => encodeRollback(model.cache, target, pair.device, length)),
    );
  roll(334);
  const [, shorter, longer] = /Keep (\d+) tokens, or (\d+)/.exec(roll(150))!.map(Number);
  assert.deepEqual(model.cache.stats(), before);
  const trial = model.fork(pair);
  model.rollback(trial, longer!);
  model.rollback(pair, shorter!);
  model.record(model.begin([{ pair: trial, tokens: 1 }]));
  await model.flush();
  model.destroy();
});

Deno.test("truncate() names encodeRollback() where it would do", async () => {
  const model = await CacheModel.create(device, optionsOf("kc2", "kt2", "pre-rope"), "advice");
  const pair = model.create();
  await grow(model, pair, 300);
  const advice = refusal("usage", () => model.cache.truncate(pair.device, 150));
  assert.match(advice, /takes encodeRollback\(\)\. Keep \d+ tokens, or \d+;/);
  model.rollback(pair, 150);
  await model.flush();
  model.destroy();
});
