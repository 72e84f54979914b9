/** What attention is estimated by: work counted by hand, and how it becomes a cost. */
import assert from "node:assert/strict";
import type { CacheOptions } from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import {
  type AttentionCandidate,
  attentionCost,
  type AttentionWork,
  attentionWork,
} from "../../src/plan/attention_cost.ts";
import { resolveOptions } from "../../src/plan/options.ts";
import type { StepSize } from "../../src/plan/steps.ts";

const base: CacheOptions = {
  shape: { layers: 1, queryHeads: 8, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "c8b8", values: "c8b8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 4, window: 64 },
  capacity: {
    sequences: 4,
    tokens: 40_000,
    sequenceTokens: 8192,
    stepTokens: 64,
    appendTokens: 64,
  },
};

/** Kernels by what they do. */
function candidateOf(
  names: Partial<Record<keyof AttentionCandidate["kernels"], string>>,
  span: number,
): AttentionCandidate {
  const kernels = Object.fromEntries(
    Object.entries(names).map(([what, name]) => {
      const kernel = manifest.find((one) => one.name === name);
      assert.ok(kernel, name);
      return [what, kernel];
    }),
  );
  return { kernels, span };
}

const WORKED: readonly {
  readonly what: string;
  readonly options?: Partial<CacheOptions>;
  readonly step: StepSize;
  readonly context: number;
  readonly kernels: Parameters<typeof candidateOf>[0];
  readonly span: number;
  readonly work: AttentionWork;
}[] = [
  {
    what: "decoding, keys turned and gathered, values gathered, in one kernel",
    step: { tokens: 1, entries: 1 },
    context: 8000,
    kernels: { attend: "attend_c8b8_c8b8_d64_rope" },
    span: 8,
    work: {
      // 512 tokens of 8 codes a side, each a byte.
      tile: {
        gathers: 512 * 16,
        products: 512 * 128,
        queryLoads: 512 * 2,
        rotations: 512 * 32,
        tokens: 512,
        bytes: 512 * 16,
      },
      // A block of 4 query rows for each KV head, 16 tiles each; more workgroups than tiles.
      tiles: 2 * 16,
      share: 1,
      workgroup: {},
      workgroups: 2 * 16,
      beside: { dispatches: 1 },
    },
  },
  {
    what: "prefill, a table that is filled and read, scores that a second kernel fetches",
    options: { policy: { keys: "c8b8", values: "c4b8" } },
    step: { tokens: 64, entries: 1 },
    context: 8000,
    kernels: { table: "table_c8b8_d64", score: "score_c8b8_d64_table", mix: "mix_c4b8_d64" },
    span: 4,
    work: {
      // 256 tokens: 8 loads, 16 gathers of values; 8 and 16 bytes, and a score of four rows out and in.
      tile: {
        tableLoads: 256 * 8,
        gathers: 256 * 16,
        products: 256 * 64,
        tokens: 256,
        scores: 256,
        bytes: 256 * (8 + 16 + 32),
      },
      // 64 blocks of rows a KV head, of 32 tiles each, in 2 splits.
      tiles: 128 * 32,
      share: 16,
      workgroup: {},
      workgroups: 128 * 2,
      beside: {
        dispatches: 3,
        tableProducts: 128 * 64 * 256,
        bytes: 128 * 2 * 16 * 8 * 256,
      },
    },
  },
  {
    what: "keys of more channels than values",
    options: { shape: { ...base.shape, headDim: 128, valueHeadDim: 64 } },
    step: { tokens: 1, entries: 1 },
    context: 8000,
    kernels: { score: "score_c8b8_d128_plain", mix: "mix_c8b8_d64" },
    span: 8,
    work: {
      // 512 tokens of 16 codes of keys and 8 of values, and a score of four rows out and in.
      tile: {
        gathers: 512 * (16 + 8),
        products: 512 * (128 + 64),
        queryLoads: 512 * 4,
        rotations: 0,
        tokens: 512,
        scores: 512,
        bytes: 512 * (16 + 8 + 32),
      },
      tiles: 2 * 16,
      share: 1,
      workgroup: {},
      workgroups: 2 * 16,
      beside: { dispatches: 2 },
    },
  },
  {
    what: "a table of half the bytes",
    step: { tokens: 2, entries: 2 },
    context: 100,
    kernels: { table: "table_c8b8_d64_table16", attend: "attend_c8b8_c8b8_d64_table16" },
    span: 4,
    work: {
      tile: {
        table16Loads: 256 * 8,
        gathers: 256 * 8,
        products: 256 * 64,
        tokens: 256,
        bytes: 256 * 16,
      },
      tiles: 4,
      share: 1,
      workgroup: {},
      workgroups: 4,
      beside: { dispatches: 2, tableProducts: 4 * 64 * 256, bytes: 4 * 2 * 8 * 8 * 256 },
    },
  },
  {
    what: "a sliding window, of which whole tiles count",
    options: { shape: { ...base.shape, slidingWindow: 1000 } },
    step: { tokens: 1, entries: 1 },
    context: 8000,
    kernels: { attend: "attend_c8b8_c8b8_d64_plain" },
    span: 4,
    work: {
      tile: {
        gathers: 256 * 16,
        products: 256 * 128,
        queryLoads: 256 * 4,
        rotations: 0,
        tokens: 256,
        bytes: 256 * 16,
      },
      tiles: 2 * 4,
      share: 1,
      workgroup: {},
      workgroups: 2 * 4,
      beside: { dispatches: 1 },
    },
  },
  {
    what: "a table that each workgroup fills",
    options: { policy: { keys: "c1b2", values: "f16" } },
    step: { tokens: 1, entries: 1 },
    context: 256,
    kernels: { score: "score_c1b2_d64_lut", mix: "mix_f16_d64" },
    span: 4,
    work: {
      tile: {
        lutLoads: 256 * 64,
        products: 256 * 64,
        tokens: 256,
        scores: 256,
        bytes: 256 * (16 + 128 + 32),
      },
      tiles: 2,
      share: 1,
      workgroup: { lutProducts: 64 * 4 },
      workgroups: 2,
      beside: { dispatches: 2 },
    },
  },
  {
    what: "levels and universal codes, number by number",
    options: { policy: { keys: "kc4", values: "u8b8" } },
    step: { tokens: 1, entries: 1 },
    context: 1,
    kernels: { score: "score_kc4_d64_plain", mix: "mix_u8b8_d64" },
    span: 4,
    work: {
      tile: {
        levels: 256 * 64,
        universal: 256 * 64,
        products: 256 * 128,
        queryLoads: 256 * 4,
        rotations: 0,
        tokens: 256,
        scores: 256,
        // 320 words of 32 tokens, 177 of 64.
        bytes: 256 * (40 + 177 / 16 + 32),
      },
      tiles: 2,
      share: 1,
      workgroup: {},
      workgroups: 2,
      beside: { dispatches: 2 },
    },
  },
];

for (const { what, options, step, context, kernels, span, work } of WORKED) {
  Deno.test(`attentionWork() counts ${what}`, () => {
    const resolved = resolveOptions({ ...base, ...options });
    const candidate = candidateOf(kernels, span);
    assert.deepEqual(attentionWork(resolved, resolved.layers[0]!, step, context, candidate), work);
  });
}

Deno.test("attentionWork(): subgroups make a tile's work less, f16 more, and nothing else", () => {
  const resolved = resolveOptions(base);
  const work = (name: string) =>
    attentionWork(
      resolved,
      resolved.layers[0]!,
      { tokens: 1, entries: 1 },
      512,
      candidateOf({ attend: name }, 4),
    );
  const { tile: whole, ...rest } = work("attend_c8b8_c8b8_d64_plain");
  for (const [feature, factor] of [["subgroups", 0.95], ["f16", 1.1]] as const) {
    const { tile, ...others } = work(`attend_c8b8_c8b8_d64_plain_${feature}`);
    assert.deepEqual(others, rest);
    for (const [unit, count] of Object.entries(whole)) {
      const found = tile[unit as keyof typeof tile]!;
      assert.ok(Math.abs(found - factor * count) <= 1e-6 * count, unit);
    }
  }
});

Deno.test("attentionCost() is that of 256 workgroups where there are fewer, and grows by what each beyond takes", () => {
  const wide: CacheOptions = {
    ...base,
    policy: { keys: "c1b2", values: "f16" },
    capacity: { ...base.capacity, stepTokens: 1024, appendTokens: 1024 },
  };
  const resolved = resolveOptions(wide);
  // Blocks of four rows of two KV heads: two for each token of a step, of one tile each.
  const cost = (blocks: number, names: Parameters<typeof candidateOf>[0]) =>
    attentionCost(
      resolved,
      resolved.layers[0]!,
      { tokens: blocks / 2, entries: 1 },
      256,
      candidateOf(names, 4),
    );
  const mix = "mix_f16_d64";
  const dispatches = ["lut", "plain"].map((variant) => {
    const names = { score: `score_c1b2_d64_${variant}`, mix };
    const [few, full, twice] = [128, 256, 512].map((blocks) => cost(blocks, names));
    assert.equal(few, full);
    assert.ok(twice! > full!);
    return 2 * full! - twice!;
  });
  // What comes once, two dispatches, is the same for both; what each workgroup fills is not.
  assert.ok(dispatches[0]! > 0);
  assert.ok(Math.abs(dispatches[0]! / dispatches[1]! - 1) < 1e-9);
});

Deno.test("attentionCost() decides by the workgroup that has the most tiles", () => {
  const resolved = resolveOptions({
    ...base,
    shape: { ...base.shape, queryHeads: 256, keyValueHeads: 128 },
  });
  const candidate = candidateOf({ attend: "attend_c8b8_c8b8_d64_plain" }, 4);
  const cost = (tiles: number) =>
    attentionCost(
      resolved,
      resolved.layers[0]!,
      { tokens: 1, entries: 1 },
      256 * tiles,
      candidate,
    );
  // 128 blocks in two splits: of three tiles one has two, as of four.
  assert.equal(cost(3), cost(4));
  assert.equal(cost(1), cost(2));
  assert.ok(cost(5) > cost(4));
});
