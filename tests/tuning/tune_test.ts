import assert from "node:assert/strict";
import {
  type CoupletErrorCode,
  createCache,
  type MeasuredCandidate,
  parseKernelName,
  planCache,
  type PlanOptions,
  tune,
  type TuneOptions,
  type TuningRecord,
} from "../../mod.ts";
import project from "../../deno.json" with { type: "json" };
import { manifest } from "../../generated/manifest.ts";
import { resolveOptions } from "../../src/plan/options.ts";
import { candidateNames, fittingCandidates } from "../../src/plan/choose_attention.ts";
import { TARGET_WORKGROUPS } from "../../src/kernels/constants.ts";
import { decodeStep } from "../../src/plan/steps.ts";
import { createStopwatch, type Stopwatch } from "../../src/tuning/stopwatch.ts";
import { tuneBy } from "../../src/tuning/tune.ts";
import { VERSION } from "../../src/base/version.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { countBuffers } from "../helpers/count_buffers.ts";
import { refuses, rejects } from "../helpers/refusals.ts";

/** Two ways to attend, of one kernel: every other test of one costs seconds of compiling. */
const kernels = manifest.filter(({ name }) => {
  const { family, schemes, variant, feature } = parseKernelName(name);
  const scored = family === "attend" || family === "score";
  return !scored ||
    (family === "attend" && schemes[0] === "f16" && variant === "plain" && feature === undefined);
});

const options: PlanOptions = {
  shape: { layers: 3, queryHeads: 4, keyValueHeads: 2, headDim: 64, slidingWindow: [0, 64, 0] },
  policy: { keys: "f16", values: "f16" },
  keys: { space: "as-scored" },
  tiers: { sinks: 2, window: 4 },
  capacity: { sequences: 2, tokens: 512, sequenceTokens: 4096, stepTokens: 8, appendTokens: 4 },
  kernels,
};

/** Measures next to nothing: every candidate as often as it must. */
const quick: TuneOptions = { ...options, context: 384, budget: 1 };

const device = await requestTestDevice({ requiredFeatures: ["timestamp-query"] });

/** `attend_f16_f16_d64_plain x8` */
function cutName({ kernels, span }: Pick<MeasuredCandidate, "kernels" | "span">): string {
  return `${kernels.join("+")} x${span}`;
}

const buffers = countBuffers(device);
const begun = performance.now();
const record: TuningRecord = await tune(device, quick);
const elapsed = performance.now() - begun;
const afterwards = { ...buffers };

Deno.test("tune() measures every way to attend of every kind of layer, fastest first", () => {
  const resolved = resolveOptions(options);
  const [layer] = resolved.layers;
  const expected = fittingCandidates(resolved, kernels, device.limits, layer!, decodeStep(resolved))
    .map(({ kernels, span }) => cutName({ kernels: candidateNames(kernels), span })).sort();
  // 384 tokens have so few tiles that any number of workgroups gives each its own.
  assert.deepEqual(expected, ["attend_f16_f16_d64_plain x4", "attend_f16_f16_d64_plain x8"]);
  assert.deepEqual(
    record.attention.map((
      { slidingWindow, way, sequences, context, tokens },
    ) => [slidingWindow, way, sequences, context, tokens]),
    [
      [0, "decode", 1, 384, 1],
      [0, "prefill", 1, 384, 4],
      [64, "decode", 1, 384, 1],
      [64, "prefill", 1, 384, 4],
    ],
  );
  for (const { candidates } of record.attention) {
    assert.deepEqual(candidates.map(cutName).sort(), expected);
    assert.ok(candidates.every(({ workgroups }) => workgroups === TARGET_WORKGROUPS));
    const times = candidates.map(({ milliseconds }) => milliseconds);
    assert.deepEqual(times, [...times].sort((a, b) => a - b));
    assert.ok(times[0]! > 0 && times.at(-1)! < elapsed, `${times} of ${elapsed} ms`);
  }
});

Deno.test("tune() measures schemes whose groups share a codebook", async () => {
  const own = manifest.filter(({ name }) => {
    const { family, schemes, variant } = parseKernelName(name);
    const scored = family === "attend" || family === "score";
    return !scored || (family === "attend" && schemes[0] === "v8b8" && variant === "plain");
  });
  const shape = { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 };
  const policy = { keys: "v8b8", values: "v8b8" } as const;
  const { attention } = await tune(device, { ...quick, shape, policy, kernels: own });
  assert.deepEqual(
    attention[0]!.candidates.map(cutName).sort(),
    ["attend_v8b8_v8b8_d64_plain x4", "attend_v8b8_v8b8_d64_plain x8"],
  );
});

/** Runs what is to be timed, and finds that all of it takes as long. */
function evenStopwatch(device: GPUDevice): Stopwatch {
  const stopwatch = createStopwatch(device);
  return {
    ...stopwatch,
    async time(record) {
      await stopwatch.time(record);
      return stopwatch.least;
    },
  };
}

Deno.test("tune() measures the best in other numbers of workgroups, where a step has the tiles", async () => {
  // By the clock, one of the two may be slow enough to be given up.
  const { attention } = await tuneBy(evenStopwatch, device, {
    ...quick,
    shape: { ...options.shape, slidingWindow: 0 },
    context: 4096,
  });
  assert.deepEqual(
    attention.map(({ way, candidates }) => [
      way,
      ...candidates.map((one) => `${cutName(one)} ${one.workgroups}`).sort(),
    ]),
    // Two blocks of queries, and two of each of four tokens; 18 tiles of four pages, 10 of eight. As many splits as at 256
    // workgroups are not measured again.
    [
      [
        "decode",
        "attend_f16_f16_d64_plain x4 16",
        "attend_f16_f16_d64_plain x4 256",
        "attend_f16_f16_d64_plain x8 16",
        "attend_f16_f16_d64_plain x8 256",
      ],
      [
        "prefill",
        "attend_f16_f16_d64_plain x4 16",
        "attend_f16_f16_d64_plain x4 256",
        "attend_f16_f16_d64_plain x4 64",
        "attend_f16_f16_d64_plain x8 16",
        "attend_f16_f16_d64_plain x8 256",
      ],
    ],
  );
});

Deno.test("tune() measures no prefill where no step has several tokens of a sequence, and plans need none", async () => {
  const single = {
    ...options,
    shape: { ...options.shape, slidingWindow: 0 },
    capacity: { ...options.capacity, appendTokens: 1 },
  };
  const tuning = await tune(device, { ...single, context: 384, budget: 1 });
  assert.deepEqual(tuning.attention.map(({ way }) => way), ["decode"]);
  for (const { decode, prefill } of planCache({ ...single, tuning }).layers) {
    assert.equal(decode.span, tuning.attention[0]!.candidates[0]!.span);
    assert.deepEqual(prefill, decode);
  }
  const several = { ...single, capacity: options.capacity };
  refuses("tuning", () => planCache({ ...several, tuning }));
});

Deno.test("VERSION is that of the package", () => assert.equal(VERSION, project.version));

Deno.test("tune() says what it measured on, as plain data", () => {
  assert.equal(record.version, VERSION);
  assert.equal(record.clock, "timestamps");
  assert.equal(record.adapter.description, device.adapterInfo.description);
  assert.deepEqual(JSON.parse(JSON.stringify(record)), record);
});

Deno.test("tune() destroys every buffer it makes and leaves the device", async () => {
  assert.ok(afterwards.made > 20, String(afterwards.made));
  assert.equal(afterwards.alive, 0);
  await device.queue.onSubmittedWorkDone();
});

Deno.test("tune() destroys every buffer where a candidate cannot be prepared", async () => {
  const before = { ...buffers };
  let loads = 0;
  const broken = kernels.map((kernel) => {
    if (kernel.name !== "attend_f16_f16_d64_plain") return kernel;
    // Another name, because what was compiled before is kept; the first tile compiles, the second does not.
    const load = () => loads++ === 0 ? kernel.load() : Promise.reject(new Error("no text"));
    return { ...kernel, name: "attend_f16_f16_d64_lut", load };
  });
  await assert.rejects(tune(device, { ...quick, kernels: broken }), /no text/);
  assert.ok(buffers.made > before.made + 10, "a candidate was prepared");
  assert.equal(buffers.alive, before.alive);
});

Deno.test("tune() takes the host's clock where the device has no timestamps", async () => {
  const plain = await requestTestDevice();
  const { attention, clock } = await tune(plain, {
    ...quick,
    shape: { ...options.shape, slidingWindow: 0 },
    context: 64,
    // Of one candidate: each costs a tenth of a second or more to be timed by this clock.
    kernels: kernels.map((kernel) => kernel.span === undefined ? kernel : { ...kernel, span: 4 }),
  });
  assert.equal(clock, "wall clock");
  assert.deepEqual(attention.map(({ candidates }) => candidates.length), [1, 1]);
  assert.ok(attention.every(({ candidates }) => candidates[0]!.milliseconds > 0));
  plain.destroy();
});

for (
  const [what, change] of [
    ["a budget of nothing", { budget: 0 }],
    ["a context of no token", { context: 0 }],
    ["a context beyond the plan's", { context: 4097 }],
  ] as const
) {
  Deno.test(`tune() refuses ${what}`, async () => {
    await rejects(tune(device, { ...quick, ...change }), "usage");
  });
}

/** The record with the order of candidates turned round: what was slowest is chosen. */
const reversed: TuningRecord = {
  ...record,
  attention: record.attention.map((one) => ({ ...one, candidates: [...one.candidates].reverse() })),
};

Deno.test("planCache() uses a record's choice, whatever it is, and says what was measured", async () => {
  for (const tuning of [record, reversed]) {
    const plan = planCache({ ...options, tuning });
    for (const [i, layer] of plan.layers.entries()) {
      const kind = tuning.attention.filter(({ slidingWindow }) =>
        slidingWindow === plan.options.layers[i]!.slidingWindow
      );
      for (const { way, candidates: [chosen] } of kind) {
        assert.equal(layer[way].span, chosen!.span);
        assert.ok(plan.describe().includes(`measured: ${chosen!.milliseconds.toPrecision(3)} ms`));
      }
    }
    const cache = await createCache({ device, plan });
    cache.destroy();
  }
  const spans = [record, reversed].map((tuning) =>
    planCache({ ...options, tuning }).layers[0]!.decode.span
  );
  assert.equal(spans[0]! + spans[1]!, 12);
  assert.ok(!planCache(options).describe().includes("measured"));
});

/** A record with its first choice changed. */
function choosing(change: object): TuningRecord {
  const [first, ...rest] = record.attention;
  const [best, ...others] = first!.candidates;
  return {
    ...record,
    attention: [{ ...first!, candidates: [{ ...best!, ...change }, ...others] }, ...rest],
  };
}

/** Records and plans that do not go together. */
const REFUSED: readonly [
  what: string,
  code: CoupletErrorCode,
  tuning: TuningRecord,
  change?: Partial<PlanOptions>,
][] = [
  ["another version's record", "tuning", { ...record, version: "0.0.1" }],
  ["a record that storage did not have", "tuning", JSON.parse("null")],
  ["a record without a version", "tuning", {} as TuningRecord],
  ["a record with parts missing", "tuning", { version: VERSION } as TuningRecord],
  ["a record without candidates", "tuning", {
    ...record,
    attention: [{ ...record.attention[0]!, candidates: [] }],
  }],
  ["a record whose times are words", "tuning", choosing({ milliseconds: "fast" })],
  ["another shape's record", "tuning", record, {
    shape: { ...options.shape, queryHeads: 8 },
  }],
  ["a record of another key space", "tuning", record, {
    keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
    kernels: manifest,
  }],
  ["a record without one of the layers' schemes", "tuning", record, {
    policy: { keys: "f16", values: "c8b8" },
    kernels: manifest,
  }],
  ["a record without a sliding window", "tuning", record, {
    shape: { ...options.shape, slidingWindow: 128 },
  }],
  ["a record that names no kernel given", "tuning", choosing({ kernels: ["attend_of_mine"] })],
  ["a record of a tile that no kernel has", "tuning", choosing({ span: 64 })],
  ["a record without workgroups", "tuning", choosing({ workgroups: undefined })],
  ["a record of workgroups in words", "tuning", choosing({ workgroups: "256" })],
  ["a record of workgroups that are never measured", "tuning", choosing({ workgroups: 2 ** 30 })],
];

for (const [what, code, tuning, change] of REFUSED) {
  Deno.test(`planCache() refuses ${what}`, () => {
    refuses(code, () => planCache({ ...options, ...change, tuning }));
  });
}

Deno.test("createCache() refuses a plan that was tuned on another device", async () => {
  const tuning = { ...record, adapter: { ...record.adapter, vendor: "another" } };
  await rejects(createCache({ device, plan: planCache({ ...options, tuning }) }), "tuning");
});

Deno.test("tune() measures score and mix where values have other channels, for plans of such layers alone", async () => {
  const scoring = manifest.filter(({ name }) =>
    /^(score_f16_d64_plain|mix_f16_d128|(store|load|combine)_.*|(en|de)code_f16_.*)$|^(copy|restore|page_table)$/
      .test(name)
  );
  const own: PlanOptions = {
    ...options,
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64, valueHeadDim: 128 },
    kernels: scoring,
  };
  const tuning = await tune(device, { ...own, context: 384, budget: 1 });
  const [layer] = planCache({ ...own, tuning }).layers;
  assert.match(layer!.decode.reason, /measured/);
  assert.equal(layer!.decode.mix?.name, "mix_f16_d128");
  const alike = { ...own.shape, valueHeadDim: 64 };
  refuses("tuning", () => planCache({ ...own, shape: alike, kernels, tuning }));
});
