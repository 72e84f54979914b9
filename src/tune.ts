/** Measures on the user's own device which kernels attend fastest. */
import type { AttentionCandidate } from "./attention_cost.ts";
import { type ResolvedLayer, type ResolvedOptions, resolveOptions } from "./cache_options.ts";
import { candidateNames, fittingCandidates } from "./choose_attention.ts";
import { CoupletError } from "./errors.ts";
import { type AttentionRun, prepareAttention } from "./measure_attention.ts";
import { decodeStep, largestStep, planCache, type PlanOptions, usableKernels } from "./plan.ts";
import { createStopwatch, type Stopwatch } from "./stopwatch.ts";
import {
  adapterIdentity,
  type AttentionWay,
  layerKind,
  type MeasuredCandidate,
  type TunedAttention,
  tunedShape,
  type TuningRecord,
} from "./tuning.ts";
import { VERSION } from "./version.ts";

/** What {@linkcode tune} measures. */
export interface TuneOptions extends Omit<PlanOptions, "tuning"> {
  /**
   * Milliseconds of measuring, all layers together; 3000 where absent. Every candidate is measured three times at least,
   * whatever that takes, and compiling comes on top.
   */
  readonly budget?: number;
  /** Tokens of a sequence; `capacity.sequenceTokens` where absent, but 8192 at most. */
  readonly context?: number;
}

/** Tokens of a sequence where nobody says: enough to tell candidates apart, without the memory that a whole cache takes. */
const CONTEXT = 8192;

/** Tokens that the sequences of a measured step hold together at most, so that several caches fit beside the host's. */
const TOTAL_TOKENS = 16384;

/** Milliseconds of measuring where nobody says. */
const BUDGET = 3000;

/** Rounds of measuring: at least and at most so many. */
const ROUNDS = { least: 3, most: 15 };

/** Most attentions in one submission. */
const MOST_REPEATS = 1024;

/** Candidates that take this many times as long as the best in the first rounds are not measured again. */
const HOPELESS = 2;

/**
 * Measures all ways to attend that fit a plan, on a device, and gives a record to plan with: `planCache({ ..., tuning })`
 * then takes the fastest. Every candidate is a cache of one layer that {@linkcode createCache} makes, with synthetic
 * tokens and codebooks; layers of the same schemes, KV heads and sliding window are measured once. Nothing of the host
 * is touched, and all that is allocated is destroyed.
 *
 * The record is plain data: keep it as JSON, and tune again where `planCache()` or `createCache()` refuses it with the
 * code `tuning`, because the device, the shape or the library changed. Where the device has `timestamp-query`, time on the
 * device counts, else the host's clock, which takes longer to be as sure.
 *
 * @example Tune once, plan with what was found
 * ```ts
 * import { planCache, requiredFeatures, tune } from "@couplet/kv";
 * import { kernels } from "@couplet/kv/kernels/f16_d64";
 *
 * const adapter = (await navigator.gpu.requestAdapter())!;
 * const device = await adapter.requestDevice({
 *   // Timestamps, where the adapter has them.
 *   requiredFeatures: requiredFeatures({ profile: true }).filter((name) => adapter.features.has(name)),
 * });
 * const options = {
 *   shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
 *   policy: { keys: "f16", values: "f16" },
 *   keys: { space: "as-scored" as const },
 *   tiers: { sinks: 4, window: 64 },
 *   capacity: { sequences: 1, tokens: 512, sequenceTokens: 512, stepTokens: 8, appendTokens: 8 },
 *   kernels,
 * };
 * const stored = JSON.stringify(await tune(device, { ...options, budget: 100 }));
 *
 * const plan = planCache({ ...options, limits: device.limits, tuning: JSON.parse(stored) });
 * console.log(plan.describe()); // ... (measured: 0.123 ms)
 * ```
 *
 * @param options What is to be planned; `limits` are the device's where absent.
 * @throws {CoupletError} as {@linkcode planCache} and {@linkcode createCache} do; `usage` where the budget is no number
 * above 0 or the context holds no token, or more than are planned.
 */
export async function tune(device: GPUDevice, options: TuneOptions): Promise<TuningRecord> {
  const { budget = BUDGET, context: tokens, ...planned } = options;
  const { limits = device.limits } = planned;
  const resolved = resolveOptions(planned);
  const { sequenceTokens } = resolved.capacity;
  const context = tokens ?? Math.min(sequenceTokens, CONTEXT);
  if (!(budget > 0) || !Number.isInteger(context) || context < 1 || context > sequenceTokens) {
    throw new CoupletError("usage", {
      what: "Cannot tune",
      why: `the budget is ${budget} ms and the context ${context} of ${sequenceTokens} tokens`,
      remedy: "Use a budget above 0 ms, and a context from 1 to capacity.sequenceTokens",
    });
  }
  const kernels = usableKernels(planned.kernels, planned.features);
  const kinds = new Map(
    resolved.layers.map((layer) => [JSON.stringify(layerKind(layer)), layer]),
  );
  const ways = [["decode", decodeStep(resolved)], ["prefill", largestStep(resolved)]] as const;
  const cases = [...kinds.values()].flatMap((layer) =>
    ways.map(([way, step]) => {
      const candidates = fittingCandidates(resolved, kernels, limits, layer, step);
      return { layer, way, candidates };
    })
  );
  const stopwatch = createStopwatch(device);
  const record: TuningRecord = {
    version: VERSION,
    adapter: adapterIdentity(device),
    shape: tunedShape(resolved),
    clock: stopwatch.clock,
    attention: [],
  };
  const attention: TunedAttention[] = [];
  try {
    for (const { way, layer, candidates } of cases) {
      const step = measuredStep(resolved, way, context);
      const runs: AttentionRun[] = [];
      try {
        for (const candidate of candidates) {
          const forced = { ...planned, kernels, limits };
          const plan = planCache(
            candidateOptions(forced, resolved, layer, step, candidate, record),
          );
          runs.push(await prepareAttention(device, plan, step));
        }
        const times = await measure(stopwatch, runs, budget / cases.length);
        const measured = candidates.map((candidate, i) => named(candidate, times[i]!))
          .sort((a, b) => a.milliseconds - b.milliseconds);
        attention.push({ ...layerKind(layer), way, ...step, candidates: measured });
      } finally {
        for (const run of runs) run.destroy();
      }
    }
  } finally {
    stopwatch.destroy();
  }
  return { ...record, attention };
}

function named({ kernels, span }: AttentionCandidate, milliseconds: number): MeasuredCandidate {
  return { kernels: candidateNames(kernels), span, milliseconds };
}

/** A step that is measured. */
type MeasuredStep = Pick<TunedAttention, "sequences" | "context" | "tokens">;

/** As many sequences as decode together, or one that is prefilled. */
function measuredStep(
  { capacity }: ResolvedOptions,
  way: AttentionWay,
  context: number,
): MeasuredStep {
  if (way === "prefill") {
    return { sequences: 1, context, tokens: Math.min(capacity.appendTokens, context) };
  }
  const fitting = Math.floor(Math.min(capacity.tokens, TOTAL_TOKENS) / context);
  const most = Math.min(capacity.sequences, capacity.stepTokens);
  return { sequences: Math.max(1, Math.min(fitting, most)), context, tokens: 1 };
}

/** A plan of one layer, for one step, that has no choice. */
export function candidateOptions(
  options: PlanOptions,
  resolved: ResolvedOptions,
  layer: ResolvedLayer,
  { sequences, context, tokens }: MeasuredStep,
  candidate: AttentionCandidate,
  record: Omit<TuningRecord, "attention">,
): PlanOptions {
  const { keys, values, keyValueHeads, slidingWindow } = layer;
  const only = {
    ...layerKind(layer),
    sequences,
    context,
    tokens,
    candidates: [named(candidate, 0)],
  };
  return {
    ...options,
    shape: { ...resolved.shape, layers: 1, keyValueHeads, slidingWindow },
    policy: { keys, values },
    capacity: {
      sequences,
      tokens: sequences * context,
      // Enough for tiles as large as in the plan.
      sequenceTokens: Math.max(context, Math.min(resolved.capacity.sequenceTokens, CONTEXT)),
      stepTokens: sequences * tokens,
      appendTokens: tokens,
    },
    tuning: {
      ...record,
      attention: [{ ...only, way: "decode" }, { ...only, way: "prefill" }],
    },
  };
}

/** Median milliseconds of one attention of each run, measured in turn. */
async function measure(
  stopwatch: Stopwatch,
  runs: readonly AttentionRun[],
  budget: number,
): Promise<number[]> {
  const time = (run: AttentionRun, repeats: number) =>
    stopwatch.time((pass) => run.record(pass, repeats));
  // The first time a kernel runs is not like the others.
  for (const run of runs) await time(run, 1);
  const deadline = performance.now() + budget;
  let repeats = 1;
  let times = await inTurn(runs, (run) => time(run, repeats));
  for (let least = Math.min(...times); least < stopwatch.least && repeats < MOST_REPEATS;) {
    // By steps, because a short time says little of how much longer a longer one is.
    const factor = Math.min(8, Math.ceil((1.2 * stopwatch.least) / Math.max(least, 1e-3)));
    repeats = Math.min(MOST_REPEATS, repeats * factor);
    times = await inTurn(runs, (run) => time(run, repeats));
    least = Math.min(...times);
  }
  if (!(Math.min(...times) > 0)) {
    throw new CoupletError("device", {
      what: "Cannot measure on the device",
      why: `its clock (${stopwatch.clock}) says that ${repeats} attentions take no time`,
      remedy: "Request the device without timestamp-query, so that the host's clock counts",
    });
  }
  const samples = times.map((milliseconds) => [milliseconds]);
  const bound = HOPELESS * Math.min(...times);
  const hopeful = runs.flatMap((_, i) => (times[i]! <= bound ? [i] : []));
  for (
    let round = 1;
    round < ROUNDS.least || (round < ROUNDS.most && performance.now() < deadline);
    round++
  ) {
    for (const i of hopeful) samples[i]!.push(await time(runs[i]!, repeats));
  }
  return samples.map((own) => median(own) / repeats);
}

async function inTurn<T>(runs: readonly T[], act: (run: T) => Promise<number>): Promise<number[]> {
  const results: number[] = [];
  for (const run of runs) results.push(await act(run));
  return results;
}

function median(samples: readonly number[]): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}
