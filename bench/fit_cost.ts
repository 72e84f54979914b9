/**
 * Fits the cost model of attention (`src/plan/attention_cost.ts`) to this adapter: measures every way to attend for some
 * shapes, as `tune()` does, and prints the units' costs that explain the times best (non-negative least squares of relative
 * errors), and how well they do. Times are the process's CPU time, which other work on the machine does not change; so
 * the adapter must be a software one.
 *
 *     deno run -A tools/launch.ts run bench/fit_cost.ts
 */
import { fcnnlsVector } from "ml-fcnnls";
import process from "node:process";
import { type KeyOptions, planCache, type PlanOptions, type SchemeId } from "../mod.ts";
import { manifest } from "../generated/manifest.ts";
import {
  attentionWork,
  FITTED_UNITS,
  totalWork,
  UNIT_COSTS,
  type Work,
} from "../src/plan/attention_cost.ts";
import { resolveOptions } from "../src/plan/options.ts";
import { candidateNames, fittingCandidates } from "../src/plan/choose_attention.ts";
import { TARGET_WORKGROUPS } from "../src/kernels/constants.ts";
import { prepareAttention } from "../src/tuning/attention_run.ts";
import { usableKernels } from "../src/plan/plan_cache.ts";
import { candidateOptions } from "../src/tuning/tune.ts";
import { adapterIdentity, tunedShape } from "../src/plan/tuning_record.ts";
import { VERSION } from "../src/base/version.ts";
import { describeDevice, requestTestDevice } from "../tools/adapter.ts";

const rotary: KeyOptions = { space: "pre-rope", rope: { layout: "half", theta: 500000 } };
const scored: KeyOptions = { space: "as-scored" };

/** Schemes, spaces and head dimensions that together exercise every unit, two KV heads of four query heads each. */
const CASES: readonly [scheme: SchemeId, headDim: number, keys: KeyOptions][] = [
  ["f16", 128, scored],
  ["f16", 64, rotary],
  ["c8b8", 128, scored],
  ["c8b8", 128, rotary],
  ["c8b8", 64, scored],
  ["c4b8", 128, scored],
  ["c2b8", 64, scored],
  ["c8b10", 64, scored],
  ["c4b4", 64, scored],
  ["c2b2", 64, scored],
  ["q4", 64, scored],
  ["u8b8", 64, scored],
];

/** Tokens of the sequence, and new ones. */
const STEPS: readonly { readonly context: number; readonly tokens: number }[] = [
  { context: 1024, tokens: 1 },
  { context: 6144, tokens: 1 },
  { context: 512, tokens: 16 },
];

/** CPU time of a sample, in microseconds, and samples of each candidate. The least counts: others only add to it. */
const SAMPLE = 20_000;
const SAMPLES = 9;

const KEY_VALUE_HEADS = 2;
const QUERY_HEADS = 8;

interface Sample {
  /** Samples of one case and step, among which a plan chooses. */
  readonly group: string;
  readonly label: string;
  readonly work: Work;
  readonly picoseconds: number;
}

/** Without those that use optional features: what these gain is not fitted. */
const kernels = usableKernels(manifest, undefined, "f16");

const device = await requestTestDevice();
const { limits } = device;

/** CPU time of what is recorded, in microseconds. */
async function cpuTime(record: (encoder: GPUCommandEncoder) => void): Promise<number> {
  const encoder = device.createCommandEncoder();
  record(encoder);
  const before = process.cpuUsage();
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

async function measureCase(
  [scheme, headDim, keys]: typeof CASES[number],
  { context, tokens }: typeof STEPS[number],
): Promise<Sample[]> {
  const planned: PlanOptions = {
    kernels,
    limits,
    shape: { layers: 1, queryHeads: QUERY_HEADS, keyValueHeads: KEY_VALUE_HEADS, headDim },
    policy: { keys: scheme, values: scheme },
    keys,
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: context,
      // Enough for both sizes of tile.
      sequenceTokens: 8192,
      stepTokens: tokens,
      appendTokens: tokens,
    },
  };
  const options = resolveOptions(planned);
  const [layer] = options.layers;
  const step = { tokens, entries: 1 };
  const record = {
    version: VERSION,
    adapter: adapterIdentity(device),
    shape: tunedShape(options),
    clock: "wall clock" as const,
  };
  const runs = [];
  for (const candidate of fittingCandidates(options, kernels, limits, layer!, step)) {
    const measured = { sequences: 1, context, tokens };
    const splits = { workgroups: TARGET_WORKGROUPS, span: candidate.span };
    const cut = { ...candidate, ...splits };
    const forced = candidateOptions(planned, options, layer!, measured, cut, record);
    const run = await prepareAttention(device, planCache(forced), measured);
    await cpuTime((encoder) => run.record(encoder, 1));
    const once = await cpuTime((encoder) => run.record(encoder, 1));
    runs.push({ candidate, splits, run, repeats: Math.ceil(SAMPLE / once), least: Infinity });
  }
  for (let i = 0; i < SAMPLES; i++) {
    for (const one of runs) {
      const time = await cpuTime((encoder) => one.run.record(encoder, one.repeats));
      one.least = Math.min(one.least, time / one.repeats);
    }
  }
  return runs.map(({ candidate, splits, run, least }) => {
    run.destroy();
    const names = candidateNames(candidate.kernels).join(" + ");
    return {
      group: `${scheme} d${headDim} ${keys.space} ${context}+${tokens}`,
      label: `${context}+${tokens} ${names} x${candidate.span}`,
      work: totalWork(attentionWork(options, layer!, step, context, candidate, splits)),
      picoseconds: 1e6 * least,
    };
  });
}

const samples: Sample[] = [];
for (const one of CASES) {
  for (const step of STEPS) samples.push(...await measureCase(one, step));
  console.error(`${samples.length} samples`);
}

const units = FITTED_UNITS;
// Each row is divided by its time, so that errors count in proportion; columns are scaled to like sizes.
const rows = samples.map(({ work, picoseconds }) =>
  units.map((unit) => (work[unit] ?? 0) / picoseconds)
);
const scales = units.map((_, column) => Math.max(...rows.map((row) => row[column]!)) || 1);
/** The share of a sample's time that multiply-adds take, whose cost is given. */
const given = samples.map(({ work, picoseconds }) =>
  (work.products ?? 0) * UNIT_COSTS.products / picoseconds
);
const solution = fcnnlsVector(
  rows.map((row) => row.map((value, column) => value / scales[column]!)),
  given.map((share) => 1 - share),
).K.to1DArray();
const costs = Object.fromEntries(units.map((unit, i) => [unit, solution[i]! / scales[i]!]));

const errors = samples.map(({ work, picoseconds }, i) =>
  given[i]! + units.reduce((sum, unit) => sum + (work[unit] ?? 0) * costs[unit]!, 0) / picoseconds -
  1
);
const spread = Math.sqrt(errors.reduce((sum, error) => sum + error ** 2, 0) / errors.length);
samples.forEach(({ label, picoseconds }, i) => {
  console.log(
    `${(picoseconds / 1e9).toFixed(3).padStart(9)} ms  ${
      (100 * errors[i]!).toFixed(0).padStart(4)
    } %  ${label}`,
  );
});
console.log(
  `\n${describeDevice(device).name}: ${samples.length} samples, root mean square error ${
    (100 * spread).toFixed(0)
  } %`,
);

const regrets = [...new Set(samples.map(({ group }) => group))].map((group) => {
  const own = samples.map((sample, i) => ({
    ...sample,
    estimate: sample.picoseconds * (1 + errors[i]!),
  }))
    .filter((sample) => sample.group === group);
  // Of two as good the first, as in planning; rounding errors are none.
  const chosen = own.reduce((a, b) => (b.estimate < a.estimate * (1 - 1e-6) ? b : a));
  return chosen.picoseconds / Math.min(...own.map(({ picoseconds }) => picoseconds)) - 1;
}).sort((a, b) => a - b);
const percent = (share: number) => `${(100 * share).toFixed(0)} %`;
console.log(
  `what is estimated to be fastest takes ${
    percent(regrets[regrets.length >> 1]!)
  } longer than what is (median of ${regrets.length}), ${percent(regrets.at(-1)!)} at worst`,
);
for (const unit of units) console.log(`  ${unit}: ${costs[unit]!.toPrecision(3)},`);
