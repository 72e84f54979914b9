/** Caches of keys that turn by three positions of a token: beside the reference, and what sequences keep of positions. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  CoupletError,
  dropGranularity,
  mropeSections,
  planCache,
  restoreSequence,
  type RopeParameters,
  type SchemeId,
  snapshotSequence,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithReference } from "../helpers/cache_oracle.ts";
import { type Move, ReferenceRun } from "../helpers/reference_run.ts";
import { feed, gridCache } from "../helpers/snapshots.ts";
import { TOLERANCES } from "../helpers/tolerances.ts";

const device = await requestTestDevice();

interface Case {
  readonly keys: SchemeId;
  readonly values: SchemeId;
  readonly headDim: 64 | 128;
  readonly rope: RopeParameters;
  readonly slidingWindow?: number;
  /** The kernel that attends, or that scores. */
  readonly kernel: string;
}

function optionsOf({ keys, values, headDim, rope, slidingWindow = 0 }: Case): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim, slidingWindow },
    policy: { keys, values },
    keys: { space: "pre-rope", rope },
    tiers: { sinks: 3, window: 5 },
    capacity: {
      sequences: 3,
      tokens: 900,
      sequenceTokens: 700,
      stepTokens: 205,
      appendTokens: 200,
    },
  };
}

/** The positions of a picture of rows and columns behind `first` of text, as Qwen2-VL counts them. */
function picture(first: number, rows: number, columns: number): number[] {
  const tokens = Array.from({ length: rows * columns }, (_, token) => token);
  return [
    ...tokens.map(() => first),
    ...tokens.map((token) => first + Math.floor(token / columns)),
    ...tokens.map((token) => first + token % columns),
  ];
}

/** Text, pictures in the coded and the exact tier, positions far beyond a token's place, and a rollback over a picture. */
const MOVES: readonly Move[] = [
  { tokens: { 0: 9 }, silent: true },
  { tokens: { 0: 192 }, silent: true, positions: { 0: picture(9, 12, 16) } },
  { tokens: { 0: 60, 1: 6 }, positions: { 1: picture(550, 2, 3) } },
  { tokens: { 0: 1, 1: 1 } },
  { tokens: { 0: 100 }, silent: true, positions: { 0: picture(86, 10, 10) } },
  { truncate: 0, length: 300 },
  { tokens: { 0: 60, 1: 2 }, positions: { 0: picture(400, 15, 4) } },
  { tokens: { 0: 2, 1: 2 } },
];

const CONSECUTIVE: Case = {
  keys: "c8b8",
  values: "c8b8",
  headDim: 64,
  rope: { layout: "half", theta: 1e6, sections: mropeSections([8, 12, 12]) },
  kernel: "attend_c8b8_c8b8_d64_mrope",
};

const CASES: readonly Case[] = [
  CONSECUTIVE,
  {
    keys: "c4b8",
    values: "c8b8",
    headDim: 128,
    rope: {
      layout: "half",
      theta: 5e6,
      sections: mropeSections([24, 20, 20], { interleaved: true }),
    },
    kernel: "attend_c4b8_c8b8_d128_mrope",
  },
  {
    keys: "f16",
    values: "c8b8",
    headDim: 64,
    rope: {
      layout: "interleaved",
      theta: 10000,
      rotaryDim: 32,
      sections: mropeSections([4, 6, 6]),
    },
    slidingWindow: 150,
    kernel: "score_f16_d64_mrope",
  },
];

for (const one of CASES) {
  const { keys, values, headDim, rope } = one;
  Deno.test(`${keys} keys, ${values} values at d${headDim}, ${rope.layout} over sections: the cache agrees with float64`, async () => {
    const { plan, error } = await compareWithReference(device, {
      options: optionsOf(one),
      moves: MOVES,
      kernels: manifest,
    });
    const { attend, score } = plan.layers[0]!.decode;
    assert.equal((attend ?? score)!.name, one.kernel);
    assert.ok(error < TOLERANCES.f32, `the largest difference is ${error}`);
  });
}

Deno.test("without positions, sections turn as one position does, to the last bit of the reference", () => {
  const { rope } = CONSECUTIVE;
  const { sections: _, ...plain } = rope;
  const moves: readonly Move[] = [{ tokens: { 0: 7, 1: 2 } }, { truncate: 0, length: 4 }, {
    tokens: { 0: 3, 1: 1 },
  }];
  const outputs = [rope, plain].map((rope) =>
    new ReferenceRun({ options: optionsOf({ ...CONSECUTIVE, rope }), moves }).moves
      .flatMap(({ layers }) => layers.map(({ attention }) => attention!.output))
  );
  assert.deepEqual(outputs[0], outputs[1]);
});

Deno.test("forks and snapshots have their sequence's positions", async () => {
  const options = optionsOf(CONSECUTIVE);
  const cache = await gridCache(device, options);
  const sequence = cache.createSequence();
  const other = cache.createSequence();
  const positions = picture(3, 10, 7);
  await feed(device, cache, sequence, 70, { positions });
  await feed(device, cache, other, 70);
  const bytes = await snapshotSequence(cache, sequence);
  const encoder = device.createCommandEncoder();
  const fork = cache.encodeFork(encoder, sequence);
  device.queue.submit([encoder.finish()]);

  const restoring = await gridCache(device, options);
  const restored = await restoreSequence(restoring, bytes);
  const found = await feed(device, cache, sequence, 2, { attend: true });
  assert.deepEqual(await feed(device, cache, fork, 2, { attend: true }), found);
  assert.notDeepEqual(await feed(device, cache, other, 2, { attend: true }), found);
  assert.deepEqual(await snapshotSequence(restoring, restored), bytes, "before any command");
  assert.deepEqual(await feed(device, restoring, restored, 2, { attend: true }), found);
});

Deno.test("restoreSequence() refuses positions beyond the planned sequences", async () => {
  const options = optionsOf(CONSECUTIVE);
  const cache = await gridCache(device, options);
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 1, { positions: [0, 250, 0] });
  const bytes = await snapshotSequence(cache, sequence);
  const capacity = { ...options.capacity, sequenceTokens: 250 };
  await assert.rejects(
    restoreSequence(await gridCache(device, { ...options, capacity }), bytes),
    (error) => error instanceof CoupletError && /not 3 x 1 numbers below 250/.test(error.message),
  );
});

Deno.test("a step that is given up leaves no positions, whether it was recorded or not", async () => {
  const cache = await gridCache(device, optionsOf(CONSECUTIVE));
  const [kept, undone] = [cache.createSequence(), cache.createSequence()];
  for (const sequence of [kept, undone]) {
    await feed(device, cache, sequence, 30, { positions: picture(0, 5, 6) });
  }
  cache.beginStep([{ sequence: undone, tokens: 4, positions: Array(12).fill(400) }]);
  cache.truncate(undone, 30);
  await feed(device, cache, undone, 3, { positions: Array(9).fill(500) });
  cache.truncate(undone, 30);
  const found = await feed(device, cache, undone, 5, { attend: true });
  assert.deepEqual(found, await feed(device, cache, kept, 5, { attend: true }));
});

Deno.test("beginStep() refuses positions that are not three places for each token, and changes nothing", async () => {
  const cache = await gridCache(device, optionsOf(CONSECUTIVE));
  const { sections: _, ...plain } = CONSECUTIVE.rope;
  const without = await gridCache(device, optionsOf({ ...CONSECUTIVE, rope: plain }));
  const rows = [
    [cache, [0, 1], /not 3 x 1 numbers below 700/],
    [cache, [0, 0, 700], /not 3 x 1/],
    [cache, [0, -1, 0], /not 3 x 1/],
    [cache, [0, 0.5, 0], /not 3 x 1/],
    [cache, {}, /not 3 x 1/],
    [without, [0, 0, 0], /not 0 x 1/],
  ] as const;
  for (const [own, positions, why] of rows) {
    const sequence = own.createSequence();
    const begin = () =>
      own.beginStep([{ sequence, tokens: 1, positions: positions as ArrayLike<number> }]);
    assert.throws(
      begin,
      (error) => error instanceof CoupletError && error.code === "shape" && why.test(error.message),
    );
    assert.equal(own.length(sequence), 0);
    own.freeSequence(sequence);
  }
});

Deno.test("planCache() refuses sections that no kernel turns by, and says how to hand the keys over", () => {
  const rows: readonly [Partial<CacheOptions>, RegExp][] = [
    [{ policy: { keys: "u8b8", values: "c8b8" } }, /score u8b8.*as they are scored/s],
    [{ policy: { keys: "c2b8", values: "c8b8" } }, /score c2b8.*as they are scored/s],
    [{ keys: { space: "anchored", rope: CONSECUTIVE.rope } }, /keys\.rope\.sections/],
    [
      { keys: { space: "pre-rope", rope: { layout: "half", theta: 1, sections: [0, 1, 2] } } },
      /3 frequencies or sections were given.*Give 32/s,
    ],
    [
      {
        keys: {
          space: "pre-rope",
          rope: { layout: "half", theta: 1, sections: Array(32).fill(3) },
        },
      },
      /keys\.rope\.sections/,
    ],
  ];
  for (const [changed, why] of rows) {
    assert.throws(
      () => planCache({ ...optionsOf(CONSECUTIVE), ...changed, kernels: manifest }),
      (error) => error instanceof CoupletError && why.test(error.message),
    );
  }
});

Deno.test("dropGranularity() refuses tokens with positions of their own", () => {
  const plan = planCache({ ...optionsOf(CONSECUTIVE), kernels: manifest });
  assert.throws(
    () => dropGranularity(plan),
    (error) => error instanceof CoupletError && /positions of their own/.test(error.message),
  );
});
