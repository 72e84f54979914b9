import assert from "node:assert/strict";
import {
  type CacheOptions,
  type CachePlan,
  createCache,
  parseKernelName,
  planCache,
  type PlanOptions,
  type TuningRecord,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { BASE_LIMITS } from "../../src/plan/limits.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithRun } from "../helpers/cache_oracle.ts";
import { ReferenceRun } from "../helpers/reference_run.ts";
import { refuses } from "../helpers/refusals.ts";
import { tunedPlan } from "../helpers/tuned_plan.ts";

const device = await requestTestDevice();

const TOLERANCE = 2e-5;

/** Layers of three kinds: one kernel, a table and a kernel, a table and two kernels. */
const options: CacheOptions = {
  shape: { layers: 3, queryHeads: 16, keyValueHeads: 8, headDim: 64 },
  policy: {
    keys: "f16",
    values: "f16",
    layers: { 1: { keys: "c8b8", values: "c8b8" }, 2: { keys: "c8b8", values: "f16" } },
  },
  keys: { space: "as-scored" },
  tiers: { sinks: 4, window: 16 },
  capacity: {
    sequences: 2,
    tokens: 1600,
    sequenceTokens: 1400,
    stepTokens: 128,
    appendTokens: 100,
  },
};

/** Workgroups of each layer. */
type Workgroups = readonly [number, number, number];

/** A record that leaves kernels as estimated, and cuts layers into so many workgroups. */
function recordOf(
  planned: PlanOptions,
  decode: readonly number[],
  prefill: readonly number[],
): TuningRecord {
  return tunedPlan(device, planned, (layer, way) => ({
    workgroups: { decode, prefill }[way][layer]!,
  }));
}

/** Without tables in f16, which err by their digits, however a step is cut. */
const kernels = manifest.filter(({ name }) => parseKernelName(name).variant !== "table16");

const planned: PlanOptions = { ...options, kernels };

Deno.test("The layers whose steps are cut below attend by one kernel, a table and one, a table and two", () => {
  const families = planCache(planned).layers.map(({ decode: { attend, table, score, mix } }) =>
    [table, attend, score, mix].flatMap((kernel) => kernel?.name.replace(/_.*/, "") ?? [])
  );
  assert.deepEqual(families, [["attend"], ["table", "attend"], ["table", "score", "mix"]]);
});

const run = new ReferenceRun({
  options,
  moves: [
    ...Array.from({ length: 13 }, () => ({ tokens: { 0: 100 }, silent: true })),
    { tokens: { 1: 90 }, silent: true },
    { tokens: { 0: 1, 1: 1 } },
    { tokens: { 0: 2, 1: 5 } },
    { tokens: { 0: 1 } },
  ],
});

for (
  const [decode, prefill] of [
    [[16, 16, 16], [16, 16, 16]],
    [[1024, 1024, 1024], [1024, 1024, 1024]],
    [[16, 64, 1024], [1024, 64, 16]],
    [[1024, 16, 64], [256, 256, 256]],
  ] as readonly [Workgroups, Workgroups][]
) {
  Deno.test(`Cache agrees with float64 with ${decode} workgroups for decoding, ${prefill} for prefill`, async () => {
    const tuning = recordOf(planned, decode, prefill);
    const { plan, error } = await compareWithRun(device, run, { kernels, tuning });
    assert.deepEqual(plan.layers.map((layer) => layer.decode.splits.workgroups), decode);
    assert.deepEqual(plan.layers.map((layer) => layer.prefill.splits.workgroups), prefill);
    assert.ok(error < TOLERANCE, `error ${error}`);
  });
}

/** Workgroups of each dispatch of a layer's attention but the last, which merges: splits, KV heads, blocks. */
function recordedGrids(
  cache: Awaited<ReturnType<typeof createCache>>,
  step: Parameters<typeof cache.encodeAppend>[1],
  layer: number,
): readonly (readonly number[])[] {
  const { queryHeads, keyValueHeads, headDim } = cache.plan.options.layers[layer]!;
  const tensor = (heads: number) => ({
    buffer: device.createBuffer({ size: step.tokens * heads * headDim * 4, usage: 0x80 }),
  });
  const vectors = tensor(keyValueHeads);
  const [queries, output] = [tensor(queryHeads), tensor(queryHeads)];
  cache.encodeAppend(device.createCommandEncoder(), step, layer, {
    keys: vectors,
    values: vectors,
  });
  const grids: number[][] = [];
  const pass = {
    setPipeline() {},
    setBindGroup() {},
    dispatchWorkgroups: (...grid: number[]) => void grids.push(grid),
  };
  const target = pass as unknown as GPUComputePassEncoder;
  cache.encodeAttend(target, step, layer, { queries, output });
  for (const { buffer } of [vectors, queries, output]) buffer.destroy();
  return grids.slice(0, -1);
}

Deno.test("Cache cuts each layer's step into as many workgroups as its own record says", async () => {
  const tuning = recordOf(planned, [16, 64, 1024], [1024, 64, 16]);
  const plan = planCache({ ...planned, tuning });
  const cache = await createCache({ device, plan, codebooks: run.codebooks });
  assert.deepEqual(cache.stats().bytes, plan.bytes);
  const [long, short] = [cache.createSequence(), cache.createSequence()];
  for (let length = 0; length < 1300; length += 100) {
    const step = cache.beginStep([{ sequence: long, tokens: 100 }]);
    for (const layer of [0, 1, 2]) recordedGrids(cache, step, layer);
  }
  const splitsOf = (
    entries: Parameters<typeof cache.beginStep>[0],
    blocks: number,
  ): readonly number[] => {
    const step = cache.beginStep(entries);
    return [0, 1, 2].map((layer) => {
      const grids = recordedGrids(cache, step, layer);
      const way = Math.max(...entries.map(({ tokens }) => tokens)) === 1 ? "decode" : "prefill";
      const own = grids.slice(plan.layers[layer]![way].table === undefined ? 0 : 1);
      assert.ok(own.length > 0);
      for (const grid of own) assert.deepEqual(grid.slice(1), [8, blocks]);
      const splits = new Set(own.map(([splits]) => splits!));
      assert.equal(splits.size, 1, "a score and a mix kernel share tiles alike");
      return [...splits][0]!;
    });
  };
  // 6 tiles of 256 tokens, and one of sinks and one of recent tokens; 8 KV heads with a block of rows each.
  assert.deepEqual(splitsOf([{ sequence: long, tokens: 1 }], 1), [2, 8, 8]);
  assert.deepEqual(
    splitsOf([{ sequence: long, tokens: 1 }, { sequence: short, tokens: 1 }], 2),
    [1, 4, 8],
  );
  assert.deepEqual(splitsOf([{ sequence: long, tokens: 2 }], 1), [8, 8, 2]);
  cache.destroy();
});

Deno.test("planCache() counts the partial results and parameters that a record's workgroups take", () => {
  const long = {
    ...planned,
    capacity: { ...options.capacity, sequenceTokens: 131072, stepTokens: 2, appendTokens: 2 },
  };
  const bytes = (decode: Workgroups, prefill: Workgroups): CachePlan =>
    planCache({ ...long, tuning: recordOf(long, decode, prefill) });
  // A row's partial result is 64 channels, a maximum and a sum, in vectors of four f32.
  const row = 17 * 16;
  for (
    const [decode, prefill, rows] of [
      [[16, 16, 16], [16, 16, 16], 16 * 4],
      [[16, 64, 16], [16, 16, 16], 64 * 4],
      [[16, 16, 16], [16, 16, 1024], 1024 * 4],
    ] as readonly [Workgroups, Workgroups, number][]
  ) {
    assert.equal(bytes(decode, prefill).scratch.partials, rows * row);
  }
  const [one, two] = [[16, 16, 16], [16, 64, 64]].map((decode) =>
    bytes(decode as unknown as Workgroups, [16, 16, 16]).bytes.tables
  );
  // One buffer has the parameters of 64 steps, whose second set takes 256 bytes.
  assert.equal(two! - one!, 64 * 256);
  assert.equal(planCache(long).bytes.tables, one);
});

Deno.test("planCache() refuses a record whose partial results exceed the largest binding", () => {
  const small: PlanOptions = {
    ...planned,
    policy: { keys: "c8b8", values: "c8b8" },
    limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: 600_000 },
    capacity: { ...options.capacity, sequenceTokens: 131072, stepTokens: 2, appendTokens: 2 },
  };
  assert.ok(planCache({ ...small, tuning: recordOf(small, [256, 256, 256], [256, 256, 256]) }));
  const tuning = recordOf(small, [1024, 1024, 1024], [256, 256, 256]);
  refuses("limits", () => planCache({ ...small, tuning }));
});
