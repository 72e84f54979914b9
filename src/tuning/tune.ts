/** Measures on the user's device which kernels attend fastest. */
import type { AttentionCandidate } from "../plan/attention_cost.ts";
import {
  checkPlanOptions,
  type ResolvedLayer,
  type ResolvedOptions,
  resolveOptions,
} from "../plan/options.ts";
import {
  type AttentionWay,
  decodeStep,
  hasPrefill,
  largestStep,
  stepSplits,
} from "../plan/steps.ts";
import { checkOptions, DEVICE, type Fields } from "../base/check_options.ts";
import { NUMBER } from "../base/data_kinds.ts";
import { candidateNames, fittingCandidates } from "../plan/choose_attention.ts";
import { compareAttention } from "./compare.ts";
import { CoupletError } from "../base/errors.ts";
import { TARGET_WORKGROUPS, TUNED_WORKGROUPS } from "../kernels/constants.ts";
import { DEFAULT_PRECISION } from "../kernels/precision.ts";
import { prepareAttention } from "./attention_run.ts";
import { type CachePlan, PLAN_FIELDS, type PlanOptions } from "../plan/plan.ts";
import { planCache, usableKernels } from "../plan/plan_cache.ts";
import { createStopwatch, type Stopwatch } from "./stopwatch.ts";
import {
  adapterIdentity,
  layerKind,
  type MeasuredCandidate,
  type TunedAttention,
  tunedShape,
  type TuningRecord,
} from "../plan/tuning_record.ts";
import { VERSION } from "../base/version.ts";

/** Options of {@linkcode tune}. */
export interface TuneOptions extends Omit<PlanOptions, "tuning"> {
  /**
   * Milliseconds of measuring, over all layers. Defaults to 3000. Every candidate is measured at
   * least once, and those near the best six times, even beyond the budget. Compiling takes extra
   * time.
   */
  readonly budget?: number;
  /** Tokens of a sequence. Defaults to `capacity.sequenceTokens`, but at most 8192. */
  readonly context?: number;
}

/** What the options of {@linkcode tune} may be. */
export function tuneFields(): Fields<TuneOptions> {
  const { "tuning?": _, ...planned } = PLAN_FIELDS;
  return {
    ...planned,
    "budget?": NUMBER,
    "context?": NUMBER,
  };
}

/**
 * The default tokens of a sequence: enough to distinguish candidates, without the memory of a whole
 * cache.
 */
const CONTEXT = 8192;

/**
 * Most tokens of all sequences of a measured step, so that several caches fit beside the host's.
 */
const TOTAL_TOKENS = 16384;

/** The default milliseconds of measuring. */
const BUDGET = 3000;

/**
 * Measures all combinations of attention kernels that fit a plan, on a device, and returns a record
 * to plan with: `planCache({ ..., tuning })` then takes the fastest. Kernels are compared first,
 * and then the numbers of workgroups that the best of them cut a step into, because no device says
 * how many it runs at a time. Every candidate is a cache of one layer that {@linkcode createCache}
 * makes, with synthetic tokens and codebooks. Layers of the same schemes, KV heads and sliding
 * window are measured once. Prefill is measured only if a step may have several tokens of a
 * sequence (`capacity.appendTokens`). The host's own buffers are not touched, and everything that
 * is allocated is destroyed.
 *
 * The record is plain data: keep it as JSON. Tune again where `planCache()` or `createCache()`
 * refuses it with the code `tuning`, because the device, the shape or the library changed. With the
 * feature `timestamp-query`, times are the device's. Else they are the host's clock's, which takes
 * longer for the same precision.
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
 *   policy: { keys: "f16", values: "f16" } as const,
 *   keys: { space: "as-scored" } as const,
 *   tiers: { sinks: 4, window: 64 },
 *   capacity: { sequences: 1, tokens: 512, sequenceTokens: 512, stepTokens: 8, appendTokens: 8 },
 *   kernels,
 * };
 * const stored = JSON.stringify(await tune(device, { ...options, budget: 100 }));
 *
 * const plan = planCache({ ...options, limits: device.limits, tuning: JSON.parse(stored) });
 * console.log(plan.describe()); // ... (measured: 0.123 ms in up to 64 workgroups)
 * ```
 *
 * @param options Options of the plan. `limits` default to the device's.
 * @throws {CoupletError} as {@linkcode planCache} and {@linkcode createCache} do; `usage` where the
 * budget is not a number above 0, or the context is below 1 or exceeds the plan.
 */
export function tune(device: GPUDevice, options: TuneOptions): Promise<TuningRecord> {
  return tuneBy(createStopwatch, device, options);
}

/**
 * {@linkcode tune} with a given clock. With its own, what is measured next depends on the device's
 * speed.
 */
export async function tuneBy(
  stopwatchOf: (device: GPUDevice) => Stopwatch,
  device: GPUDevice,
  options: TuneOptions,
): Promise<TuningRecord> {
  checkOptions("usage", "Cannot tune", { device: DEVICE }, { device });
  checkPlanOptions(tuneFields(), options);
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
  const kernels = usableKernels(
    planned.kernels,
    planned.features,
    planned.precision ?? DEFAULT_PRECISION,
  );
  const kinds = new Map(
    resolved.layers.map((layer) => [JSON.stringify(layerKind(layer)), layer]),
  );
  const steps = { decode: decodeStep(resolved), prefill: largestStep(resolved) };
  const ways: AttentionWay[] = hasPrefill(resolved) ? ["decode", "prefill"] : ["decode"];
  const cases = [...kinds.values()].flatMap((layer) =>
    ways.map((way) => {
      const candidates = fittingCandidates(resolved, kernels, limits, layer, steps[way]);
      return { layer, way, candidates };
    })
  );
  const stopwatch = stopwatchOf(device);
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
      const forced = { ...planned, kernels, limits };
      const planOf = (candidate: CutCandidate) =>
        planCache(candidateOptions(forced, resolved, layer, step, candidate, record));
      const measured = await compareAttention<CutCandidate>({
        stopwatch,
        candidates: candidates.map((one) => ({ ...one, workgroups: TARGET_WORKGROUPS })),
        prepare: (candidate) => prepareAttention(device, planOf(candidate), step),
        otherSplits: (candidate) => otherSplits(planOf(candidate), step, candidate),
        budget: budget / cases.length,
      });
      attention.push({
        ...layerKind(layer),
        way,
        ...step,
        candidates: measured.map(({ candidate, milliseconds }) => named(candidate, milliseconds)),
      });
    }
  } finally {
    stopwatch.destroy();
  }
  return { ...record, attention };
}

/** A combination of kernels, cut into a number of workgroups. */
export interface CutCandidate extends AttentionCandidate {
  readonly workgroups: number;
}

function named(
  { kernels, span, workgroups }: CutCandidate,
  milliseconds: number,
): MeasuredCandidate {
  return { kernels: candidateNames(kernels), span, workgroups, milliseconds };
}

/**
 * The same kernels cut into other numbers of workgroups, if the measured step then has other
 * splits.
 */
function otherSplits(
  { options, layers }: CachePlan,
  { sequences, context, tokens }: MeasuredStep,
  candidate: CutCandidate,
): readonly CutCandidate[] {
  const target = layers[0]!.decode.splits;
  const size = { tokens: sequences * tokens, entries: sequences, maxTokens: tokens, context };
  const splits = (workgroups: number) => stepSplits(options, { ...target, workgroups }, size);
  const known = new Set([splits(candidate.workgroups)]);
  return TUNED_WORKGROUPS.filter((workgroups) => known.size < known.add(splits(workgroups)).size)
    .map((workgroups) => ({ ...candidate, workgroups }));
}

/** A step that is measured. */
type MeasuredStep = Pick<TunedAttention, "sequences" | "context" | "tokens">;

/** The measured step of a phase: all sequences that decode together, or one that is prefilled. */
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

/** The keys of a plan of one layer, in the space of all. */
function keysOfLayer(
  { keys }: ResolvedOptions,
  { keyOptions }: ResolvedLayer,
): PlanOptions["keys"] {
  return keys.space === "pre-rope" && keyOptions.space === "as-scored"
    ? { space: keys.space, rope: [null] }
    : keyOptions;
}

/** Options of a plan of one layer, for one step, with only these kernels. */
export function candidateOptions(
  options: PlanOptions,
  resolved: ResolvedOptions,
  layer: ResolvedLayer,
  { sequences, context, tokens }: MeasuredStep,
  candidate: CutCandidate,
  record: Omit<TuningRecord, "attention">,
): PlanOptions {
  const { keys, values, slidingWindow, scale } = layer;
  const { queryHeads, keyValueHeads, headDim, valueHeadDim } = layer;
  const only = {
    ...layerKind(layer),
    sequences,
    context,
    tokens,
    candidates: [named(candidate, 0)],
  };
  return {
    ...options,
    shape: { layers: 1, queryHeads, keyValueHeads, headDim, valueHeadDim, slidingWindow },
    policy: { keys, values },
    keys: keysOfLayer(resolved, layer),
    scale,
    capacity: {
      sequences,
      tokens: sequences * context,
      // Enough for tiles of the plan's size.
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
