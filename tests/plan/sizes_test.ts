/** Bytes of a plan's buffers, worked out by hand: what each holds, and no more. */
import assert from "node:assert/strict";
import { type CachePlan, planCache, type PlanOptions, spanKinds } from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { LARGEST_ANCHOR } from "../../src/model/anchors.ts";
import { BASE_LIMITS } from "../../src/plan/limits.ts";
import { refuses } from "../helpers/refusals.ts";

const base: PlanOptions = {
  kernels: manifest,
  shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "c8b8", values: "c4b8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 4, window: 16 },
  capacity: {
    sequences: 2,
    tokens: 400,
    sequenceTokens: 300,
    stepTokens: 128,
    appendTokens: 100,
  },
};

/** Bytes of a step's struct with all its entries, which lies behind the last step that is kept. */
const STEP = 32 + 64 * 32;

/** Five counters: of numbers that were not kept as they were given, of keys, and of tiles. */
const COUNTERS = 20;

/** Parameters and learned sinks of a layer of four query heads. */
const LAYER = 112 + 16;

/** Kernels that score and mix apart, and read no table. */
const PLAIN = manifest.filter(({ name }) =>
  !/^attend_/.test(name) && (!/^score_/.test(name) || /_plain$/.test(name))
);

/** Kernels that read tables of q.centroid. */
const TABLES = manifest.filter(({ name }) =>
  !/^attend_/.test(name) && (!/^score_/.test(name) || /_table$/.test(name))
);

const PLANS: readonly {
  readonly what: string;
  readonly change: Partial<PlanOptions>;
  readonly bytes: Partial<CachePlan["bytes"] & Pick<CachePlan["scratch"], "partials" | "scores">>;
}[] = [
  {
    what: "tokens that are divided among sequences, which each fill a page in part",
    change: {},
    bytes: {
      // 7 pages of all tokens and one more, of 64 tokens of 2 heads.
      codes: 8 * 64 * 2 * (8 + 16),
      // Sinks, window and a step, of keys and values, in two bytes.
      exact: 2 * 2 * (4 + 16 + 100) * 2 * 64 * 2,
      // 256 centroids, a grid of two binary16 numbers a channel.
      codebooks: 2 * 2 * 64 * (256 + 4),
      // 5 pages a sequence; steps lie 256 bytes apart.
      tables: 2 * 5 * 4 + 63 * 256 + STEP + COUNTERS + LAYER,
    },
  },
  {
    what: "keys before their rotary embedding: 128 near rows, and one for each 128 tokens",
    change: { keys: { space: "pre-rope", rope: { layout: "half", theta: 10000, rotaryDim: 32 } } },
    bytes: { tables: (128 + 3 + 1) * 16 * 8 + 2 * 5 * 4 + 63 * 256 + STEP + COUNTERS + LAYER },
  },
  {
    what: "rotary embeddings that layers differ in, a table for each",
    change: {
      shape: { ...base.shape, layers: 2 },
      keys: {
        space: "pre-rope",
        rope: [{ layout: "half", theta: 10000, rotaryDim: 32 }, { layout: "half", theta: 500 }],
      },
    },
    bytes: {
      tables: (128 + 3 + 1) * (16 + 32) * 8 + 2 * 5 * 4 + 63 * 256 + STEP + COUNTERS + 2 * LAYER,
    },
  },
  {
    what: "anchored keys, whose rotary table reaches as far as the longest anchor",
    change: {
      policy: { keys: "c8b8", values: "c8b8" },
      keys: { space: "anchored", rope: { layout: "half", theta: 10000 } },
    },
    bytes: {
      tables: (128 + LARGEST_ANCHOR / 128 + 1) * 32 * 8 + 2 * 5 * 4 + 63 * 256 + STEP + COUNTERS +
        LAYER,
    },
  },
  {
    what: "blocks of 64 tokens, which wait for their last token in the ring",
    change: { policy: { keys: "u8b8", values: "kc2" } },
    bytes: {
      codes: 8 * 2 * (177 + 2 * 192) * 4,
      exact: 2 * 2 * (4 + 16 + 63 + 100) * 2 * 64 * 2,
    },
  },
  {
    what: "seven sequences in a step, whose entries end with its 256th byte",
    change: { capacity: { ...base.capacity, sequences: 7 } },
    bytes: { tables: 7 * 5 * 4 + 63 * 256 + STEP + COUNTERS + LAYER },
  },
  {
    what: "eight sequences in a step, whose entries and header need more than 256 bytes",
    change: { capacity: { ...base.capacity, sequences: 8 } },
    bytes: { tables: 8 * 5 * 4 + 63 * 512 + STEP + COUNTERS + LAYER },
  },
  {
    what: "a page table for each sliding window",
    change: { shape: { ...base.shape, layers: 4, slidingWindow: [0, 40, 0, 70] } },
    bytes: { tables: 3 * 2 * 5 * 4 + 63 * 256 + STEP + COUNTERS + 4 * LAYER },
  },
  {
    what: "a single pair of universal centroids, in a multiple of 16 bytes",
    change: { policy: { keys: "t1b1", values: "t1b1" } },
    bytes: { codebooks: 16 },
  },
  {
    what: "universal codebooks that layers and sides share",
    change: {
      shape: { ...base.shape, layers: 4 },
      policy: { keys: "u8b8", values: "u8b8", layers: { 3: { keys: "u4b8", values: "f16" } } },
    },
    bytes: { codebooks: 256 * 8 * 2 + 256 * 4 * 2 },
  },
  {
    what: "a learned codebook for each layer, beside sides that have none",
    change: { shape: { ...base.shape, layers: 3 }, policy: { keys: "f16", values: "c4b8" } },
    bytes: { codebooks: 3 * 2 * 64 * (256 + 4) },
  },
  {
    what:
      "centroids that KV heads share, beside what each head has: offsets, grids, sizes, a place",
    change: { policy: { keys: "n16b8x2", values: "c8b8", shareHeads: true } },
    bytes: {
      codebooks: 2 * 64 * 256 + 2 * (64 * (4 + 2 * 4) + 16 * 2 + 16) + 2 * 64 * (256 + 4),
    },
  },
  {
    what:
      "a layer that shares another's keys and values: it has parameters and learned sinks alone",
    change: {
      shape: { ...base.shape, layers: 2, sharesWith: [null, 0] },
      policy: { keys: "c8b8", values: "u8b8" },
    },
    bytes: {
      codes: 8 * 64 * 2 * 8 + 8 * 2 * 177 * 4,
      exact: 2 * 2 * (4 + 16 + 63 + 100) * 2 * 64 * 2,
      codebooks: 2 * 64 * (256 + 4) + 256 * 8 * 2,
      tables: 2 * 5 * 4 + 63 * 256 + STEP + COUNTERS + 2 * LAYER,
    },
  },
  {
    what: "learned sinks of two query heads, in a buffer of 16",
    change: { shape: { ...base.shape, queryHeads: 2 } },
    bytes: { tables: 2 * 5 * 4 + 63 * 256 + STEP + COUNTERS + LAYER },
  },
  {
    what: "scores of every tile: 2 of coded tokens, one of sinks, one of the ring",
    change: { kernels: PLAIN },
    bytes: { scores: 128 * 4 * 4 * 256 * 4, partials: 256 * 4 * 17 * 16 },
  },
  {
    what: "scores of sinks and a ring that fill more tiles",
    change: { kernels: PLAIN, tiers: { sinks: 129, window: 30 } },
    bytes: { scores: 128 * 4 * (2 + 2 + 2) * 256 * 4 },
  },
  {
    what: "scores without sinks",
    change: { kernels: PLAIN, tiers: { sinks: 0, window: 28 } },
    bytes: { scores: 128 * 4 * (2 + 0 + 1) * 256 * 4 },
  },
  {
    what: "partial results and scores of the layer of most query heads and channels",
    change: {
      kernels: PLAIN,
      shape: { ...base.shape, layers: 2, queryHeads: [2, 4], headDim: [64, 128] },
      policy: { keys: "c8b8", values: "c8b8" },
    },
    bytes: { scores: 128 * 4 * 4 * 256 * 4, partials: 256 * 4 * (128 / 4 + 1) * 16 },
  },
  {
    what: "partial results of few rows: one for each tile",
    change: {
      capacity: { ...base.capacity, stepTokens: 2, appendTokens: 2 },
    },
    // 2 coded tiles, one of sinks, one of the ring.
    bytes: { partials: 2 * 4 * 4 * 17 * 16 },
  },
  {
    what: "partial results of more rows than workgroups: one each",
    change: { capacity: { ...base.capacity, stepTokens: 300 } },
    bytes: { partials: 300 * 4 * 17 * 16 },
  },
];

for (const { what, change, bytes } of PLANS) {
  Deno.test(`planCache() counts the bytes of ${what}`, () => {
    const plan = planCache({ ...base, ...change });
    const found: typeof bytes = { ...plan.scratch, ...plan.bytes };
    assert.deepEqual(found, { ...found, ...bytes });
    assert.equal(
      plan.bytes.scratch,
      plan.scratch.partials + plan.scratch.scores + plan.scratch.tables,
    );
  });
}

Deno.test("planCache() counts tables of q.centroid of every block of rows, the last of each sequence's incomplete", () => {
  const plan = planCache({ ...base, kernels: TABLES });
  assert.ok(plan.layers[0]!.decode.table && plan.layers[0]!.prefill.table);
  // For each KV head 64 blocks of 4 rows and one of either sequence; 8 groups of 256 centroids, 4 rows in f32.
  assert.equal(plan.scratch.tables, 2 * (64 + 2) * 8 * 256 * 4 * 4);
  const single = { ...base.capacity, stepTokens: 2, appendTokens: 1 };
  const decoding = planCache({ ...base, kernels: TABLES, capacity: single });
  assert.equal(decoding.scratch.tables, 2 * (1 + 2) * 8 * 256 * 4 * 4);
});

/** A layer of five KV heads, and bytes of the largest buffer that one of them has. */
const LARGEST: readonly {
  readonly what: string;
  readonly policy: PlanOptions["policy"];
  readonly capacity: Partial<PlanOptions["capacity"]>;
  readonly bytes: number;
}[] = [
  {
    what: "keys",
    policy: { keys: "f16", values: "c8b8" },
    capacity: { tokens: 40_000 },
    bytes: 626 * 64 * 128,
  },
  {
    what: "values",
    policy: { keys: "c8b8", values: "f16" },
    capacity: { tokens: 40_000 },
    bytes: 626 * 64 * 128,
  },
  {
    what: "exact tier, which has both sides",
    policy: { keys: "c8b8", values: "c8b8" },
    capacity: { sequences: 200 },
    bytes: 200 * 2 * (4 + 16 + 100) * 128,
  },
];

for (const { what, policy, capacity, bytes } of LARGEST) {
  Deno.test(`planCache() divides a layer whose ${what} exceed a binding into as few parts as may be, of equal size`, () => {
    const options: PlanOptions = {
      ...base,
      shape: { ...base.shape, queryHeads: 5, keyValueHeads: 5 },
      policy,
      capacity: { ...base.capacity, stepTokens: 100, ...capacity },
    };
    const planned = (bound: number) =>
      planCache({ ...options, limits: { ...BASE_LIMITS, maxBufferSize: bound } });
    for (
      const [bound, counts] of [
        [5 * bytes, [5]],
        [5 * bytes - 1, [2, 3]],
        [3 * bytes, [2, 3]],
        [3 * bytes - 1, [1, 2, 2]],
        [2 * bytes - 1, [1, 1, 1, 1, 1]],
      ] as const
    ) {
      const { layers, largestBinding } = planned(bound);
      const { parts } = layers[0]!;
      assert.deepEqual(parts.map(({ count }) => count), counts);
      parts.forEach(({ first, count }, i) => assert.equal(first + count, parts[i + 1]?.first ?? 5));
      assert.equal(largestBinding, Math.max(...counts) * bytes);
    }
    refuses("limits", () => planned(bytes - 1));
  });
}

/** Buffers that are bound whole, larger than all others of their plan. */
const WHOLE: readonly {
  readonly what: string;
  readonly change: Partial<PlanOptions>;
  readonly bytes: number;
}[] = [
  {
    what: "codebooks of both sides",
    change: {
      policy: { keys: "c16b12", values: "c16b12" },
      capacity: { ...base.capacity, stepTokens: 2, appendTokens: 2 },
    },
    // 4096 centroids of 64 channels in a byte, and a grid of four, of two heads and sides.
    bytes: 2 * 2 * 64 * (4096 + 4),
  },
  { what: "scores", change: { kernels: PLAIN }, bytes: 128 * 4 * 4 * 256 * 4 },
  {
    what: "q.centroid tables",
    change: { kernels: TABLES },
    bytes: 2 * (64 + 2) * 8 * 256 * 4 * 4,
  },
];

for (const { what, change, bytes } of WHOLE) {
  Deno.test(`planCache() takes ${what} that are as large as a binding together, and refuses larger ones`, () => {
    const planned = (maxBufferSize: number) =>
      planCache({ ...base, ...change, limits: { ...BASE_LIMITS, maxBufferSize } });
    assert.equal(planned(bytes).largestBinding, bytes);
    refuses("limits", () => planned(bytes - 1));
  });
}

Deno.test("planCache() counts the bytes of kinds of spans, their exact vectors and partial results", () => {
  const shape = { ...base.shape, layers: 2 };
  const planned = (count: number) => {
    const spans = spanKinds({
      image: {
        keys: "sc1",
        values: "c4b8",
        layers: { 1: { keys: "sc2", values: "sc2" } },
        remap: { tau: 0.5 },
        tokens: 100,
        count,
      },
      text: { keys: "f16", values: "f16", tokens: 64, count: 1 },
    });
    return planCache({ ...base, shape, spans });
  };
  const [plan, one] = [planned(3), planned(1)];
  const levels = 3 * 2 * 2 * 64 * 4;
  assert.equal(
    plan.bytes.spans,
    // Three images fill two pages, and one more each in part; a row of two pages each.
    4 * 2 * 64 * (8 + 16) + 2 * 64 * (256 + 4) + levels + 112 +
      4 * 2 * 64 * (16 + 16) + levels + 112 + 3 * 2 * 4 +
      2 * (2 * 64 * (128 + 128) + 112) + 4,
  );
  // Of both sides, up to the end of a page.
  assert.equal(plan.scratch.spans, 2 * 128 * 2 * 64 * 2);
  const own = planCache({ ...base, shape }).scratch.partials;
  const text = planCache({
    ...base,
    shape,
    spans: spanKinds({ text: { keys: "f16", values: "f16", tokens: 64, count: 1 } }),
  }).scratch.partials - own;
  assert.ok(text > 0);
  assert.equal(plan.scratch.partials - own - text, 3 * (one.scratch.partials - own - text));
  const { bytes, effectiveBits } = plan;
  assert.equal(
    effectiveBits,
    8 * (bytes.total - bytes.scratch) / ((400 + 100 + 64) * 2 * 2 * 2 * 64),
  );
});

Deno.test("planCache() counts scores where any layer has them, not the first alone", () => {
  // Layers of f16 attend by one kernel, those of codes score and mix apart.
  const kernels = [
    ...manifest.filter(({ name }) => /^attend_f16_f16_/.test(name)),
    ...PLAIN.filter(({ name }) => !/^score_f16_/.test(name)),
  ];
  const shape = { ...base.shape, layers: 2 };
  const f16 = { keys: "f16", values: "f16" } as const;
  const scores = (layers: PlanOptions["policy"]["layers"]) => {
    const { scratch } = planCache({ ...base, shape, kernels, policy: { ...f16, layers: layers! } });
    return scratch.scores;
  };
  const coded = { keys: "c8b8", values: "c4b8" } as const;
  assert.equal(scores({}), 0);
  assert.ok(scores({ 0: coded }) > 0);
  assert.equal(scores({ 1: coded }), scores({ 0: coded }));
});

Deno.test("planCache() counts tables of q.centroid that spans alone have", () => {
  const policy = { keys: "f16", values: "f16" } as const;
  const kernels = [...TABLES, ...PLAIN.filter(({ name }) => /^score_f16_/.test(name))];
  const spans = spanKinds({ text: { keys: "c8b8", values: "c8b8", tokens: 100, count: 1 } });
  const { scratch } = planCache({ ...base, policy, kernels, spans });
  assert.equal(scratch.tables, 2 * (64 + 2) * 8 * 256 * 4 * 4);
});

/** Kinds of spans, and their largest buffer: exact vectors have both sides, records whole pages of each span. */
const SPANS: readonly {
  readonly what: string;
  readonly tokens: number;
  readonly count: number;
  readonly bytes: number;
}[] = [
  { what: "exact vectors", tokens: 64_000, count: 1, bytes: 64_000 * 2 * 2 * 128 },
  { what: "records", tokens: 64, count: 1000, bytes: 1000 * 64 * 2 * 128 },
];

for (const { what, tokens, count, bytes } of SPANS) {
  Deno.test(`planCache() refuses spans whose ${what} exceed a binding`, () => {
    const spans = spanKinds({ text: { keys: "f16", values: "f16", tokens, count } });
    const capacity = { ...base.capacity, stepTokens: 2, appendTokens: 1 };
    const planned = (maxBufferSize: number) =>
      planCache({ ...base, capacity, spans, limits: { ...BASE_LIMITS, maxBufferSize } });
    assert.equal(planned(bytes).largestBinding, bytes);
    refuses("limits", () => planned(bytes - 1));
  });
}

Deno.test("planCache() refuses schemes of spans for a layer that is not there", () => {
  const layers = { 1: { keys: "sc2", values: "sc2" } } as const;
  const spans = spanKinds({ text: { keys: "sc1", values: "sc1", layers, tokens: 64, count: 1 } });
  refuses("shape", () => planCache({ ...base, spans }));
});

Deno.test("planCache() takes steps of as many workgroups as a dimension holds in the layer of most KV heads", () => {
  const shape = { ...base.shape, layers: 2, keyValueHeads: [1, 2] };
  const planned = (maxComputeWorkgroupsPerDimension: number) =>
    planCache({ ...base, shape, limits: { ...BASE_LIMITS, maxComputeWorkgroupsPerDimension } });
  planned(2 * 128);
  refuses("limits", () => planned(2 * 128 - 1));
});

Deno.test("planCache() counts bits of the channels of layers with keys and values of their own", () => {
  const shape = { ...base.shape, layers: 2, sharesWith: [null, 0] };
  const { bytes, effectiveBits } = planCache({ ...base, shape });
  assert.equal(effectiveBits, (8 * (bytes.total - bytes.scratch)) / (400 * 2 * 2 * 64));
});
