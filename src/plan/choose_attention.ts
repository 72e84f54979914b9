/**
 * Chooses the attention kernels: of all that fit, those measured to be the fastest, or estimated to
 * be.
 */
import { type AttentionCandidate, attentionCost } from "./attention_cost.ts";
import type { ResolvedLayer, ResolvedOptions } from "./options.ts";
import { defaultSplits, largestSpan, type SplitTarget, type StepSize } from "./steps.ts";
import { tableBytes } from "./sizes.ts";
import { raise } from "../base/raise.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import { MAX_SPAN, MIN_SPAN, TUNED_WORKGROUPS } from "../kernels/constants.ts";
import type { KernelFeature, KeyVariant } from "../kernels/name.ts";
import type { PlanLimits } from "./limits.ts";
import { type MeasuredCandidate, refuseChoice } from "./tuning_record.ts";
import { codesAnchored } from "../schemes/key_turn.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import {
  coveringKernels,
  kernelParts,
  type KernelQuery,
  obstacle,
  requireKernel,
} from "../kernels/select.ts";

/** The kernels that compute attention together, in order of dispatch. */
export interface AttentionKernels {
  /** Keys and values in one kernel, or undefined where `score` and `mix` do it in two. */
  readonly attend?: KernelInfo;
  /** Fills the table of q.centroid, where the score kernel reads one from a buffer. */
  readonly table?: KernelInfo;
  /** Scores the keys. */
  readonly score?: KernelInfo;
  /** Narrows the range of a span's scores, between the two. */
  readonly remap?: KernelInfo;
  /** Mixes the values: their sum, weighted by the softmax of the scores. */
  readonly mix?: KernelInfo;
  /** Pages of a coded tile: tokens that one invocation scores at once. */
  readonly span: number;
  /** How a step is cut into workgroups. */
  readonly splits: SplitTarget;
  /** What the choice is based on: an estimate, or a measured time. */
  readonly reason: string;
}

/** Largest share of the device's largest binding for tables of q.centroid. */
const TABLE_SHARE = 1 / 16;

/**
 * Numbers of pages that tiles may have. Of two equal costs the larger is taken, which has fewer
 * barriers.
 */
const SPANS: readonly number[] = [MAX_SPAN, MIN_SPAN];

/** Kernels that attend together. */
type KernelGroup = AttentionCandidate["kernels"];

/** A combination of kernels that the planner compares. */
export interface WeighedCandidate extends AttentionCandidate {
  /** Estimated cost. The least is chosen. */
  readonly cost: number;
  /** Why it cannot be chosen; undefined where it can. */
  readonly refused?: string;
}

/** What the kernels of one combination must do. */
function queries({ keys, values, headDim, valueHeadDim, keyOptions }: ResolvedLayer) {
  const { space } = keyOptions;
  const variants: KeyVariant[] = space === "as-scored"
    ? ["plain", "lut", "table", "table16"]
    : space === "anchored" && codesAnchored(parseScheme(keys))
    ? ["anchored"]
    : [keyOptions.rope.sections ? "mrope" : "rope"];
  return {
    fused: { family: "attend", schemes: [keys, values], headDim, variants },
    scored: { family: "score", schemes: [keys], headDim, variants },
    mixes: { family: "mix", schemes: [values], headDim: valueHeadDim },
  } as const;
}

/**
 * The kernel that fills the table of q.centroid that a kernel reads, or undefined where it reads
 * none.
 */
function tableQuery(
  { bindings }: KernelInfo,
  { keys, headDim }: ResolvedLayer,
): KernelQuery | undefined {
  const query: KernelQuery = { family: "table", schemes: [keys], headDim };
  if (bindings.includes("table")) return query;
  return bindings.includes("table16") ? { ...query, variants: ["table16"] } : undefined;
}

/**
 * All combinations of the given kernels, whether they fit or not, fused ones first. Their costs are
 * those at the longest planned sequence, where attention takes the most time.
 */
export function attentionCandidates(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  layer: ResolvedLayer,
  step: StepSize,
): readonly WeighedCandidate[] {
  const { fused, scored, mixes } = queries(layer);
  const mixing = coveringKernels(kernels, mixes);
  // Scores whose range is narrowed are all there before the softmax. A fused kernel has one head
  // dimension.
  const apart = (options.span?.remap ?? 0) > 0 || layer.headDim !== layer.valueHeadDim;
  const groups: KernelGroup[] = [
    ...(apart ? [] : coveringKernels(kernels, fused)).map((attend) => ({ attend })),
    ...coveringKernels(kernels, scored).flatMap((score) => mixing.map((mix) => ({ score, mix }))),
  ];
  const tableRefused = tableObstacle(tableBytes(layer, step), limits);
  return groups.flatMap((group) => {
    const query = tableQuery((group.attend ?? group.score)!, layer);
    return query === undefined
      ? weigh(group)
      : coveringKernels(kernels, query).flatMap((table) =>
        weigh({ table, ...group }, tableRefused)
      );
  });

  function weigh(group: KernelGroup, tableRefused?: string): WeighedCandidate[] {
    const obstacles = Object.values(group).map((kernel) => obstacle(kernel, limits));
    const refused = [...obstacles, tableRefused].find((reason) => reason !== undefined);
    return spansOf(group, largestSpan(options)).map((span) => {
      const candidate = { kernels: group, span };
      const { sequenceTokens } = options.capacity;
      const cost = attentionCost(options, layer, step, sequenceTokens, candidate);
      return { ...candidate, cost, ...(refused === undefined ? {} : { refused }) };
    });
  }
}

/**
 * The combinations that fit, least cost first.
 *
 * @throws {CoupletError} `kernel` where there is no such kernel, `limits` where none of them fits.
 */
export function fittingCandidates(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  layer: ResolvedLayer,
  step: StepSize,
): readonly WeighedCandidate[] {
  const candidates = attentionCandidates(options, kernels, limits, layer, step);
  const fitting = byCost(candidates.filter(({ refused }) => refused === undefined));
  if (fitting.length > 0) return fitting;
  // Throws, and names the kernel that is missing.
  const { scored, mixes } = queries(layer);
  const score = requireKernel(kernels, scored, limits);
  requireKernel(kernels, mixes, limits);
  const table = tableQuery(score, layer);
  if (table !== undefined) requireKernel(kernels, table, limits);
  raise(
    "limits",
    `Cannot attend to keys in ${layer.keys} and values in ${layer.values}`,
    [...new Set(candidates.map(({ refused }) => refused))].join("; "),
    "Plan smaller steps (capacity.stepTokens), or pass all kernels",
  );
}

/** Sorts by cost, least first. Equal costs keep their order. */
export function byCost<T extends WeighedCandidate>(candidates: readonly T[]): T[] {
  return [...candidates].sort((a, b) => a.cost - b.cost);
}

function tableObstacle(bytes: number, limits: PlanLimits): string | undefined {
  const most = limits.maxStorageBufferBindingSize * TABLE_SHARE;
  return bytes > most
    ? `its tables of q.centroid would take ${bytes} bytes, more than ${most}`
    : undefined;
}

/** The numbers of pages, up to `largest`, that fit all kernels of a group. */
function spansOf({ attend, score, mix }: KernelGroup, largest: number): readonly number[] {
  const spans = [attend, score, mix].flatMap((kernel) => kernel?.span ?? []);
  const most = Math.min(...spans, largest);
  return SPANS.filter((span) => span <= most);
}

/** The kernels' names, in order of dispatch. */
export function candidateNames({ attend, table, score, mix }: KernelGroup): readonly string[] {
  return [table, attend, score, mix].flatMap((kernel) => (kernel === undefined ? [] : kernel.name));
}

/**
 * The combination of the least estimated cost, or, with a tuning record, the fastest one.
 *
 * @param feature A feature that was measured to be fast, and is used if there are kernels.
 * @throws {CoupletError} as {@linkcode fittingCandidates} does; `tuning` where the fastest one does
 * not fit.
 */
export function chooseAttention(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  layer: ResolvedLayer,
  step: StepSize,
  tuned?: MeasuredCandidate,
  feature?: KernelFeature,
): AttentionKernels {
  const candidates = fittingCandidates(options, kernels, limits, layer, step);
  if (tuned !== undefined) {
    const { span, workgroups, milliseconds } = tuned;
    const names = tuned.kernels.join();
    const measured = candidates.find((one) =>
      one.span === span && candidateNames(one.kernels).join() === names
    );
    if (measured === undefined || !TUNED_WORKGROUPS.includes(workgroups)) {
      refuseChoice(tuned, kernels.map(({ name }) => name));
    }
    const { queryHeads, keyValueHeads } = layer;
    return {
      ...measured.kernels,
      span,
      splits: { workgroups, span, queryHeads, keyValueHeads },
      reason: `measured: ${milliseconds.toPrecision(3)} ms in up to ${workgroups} workgroups`,
    };
  }
  const featured = feature &&
    candidates.find(({ kernels: { attend } }) => attend && kernelParts(attend).feature === feature);
  const best = featured ?? candidates[0]!;
  const others = candidates.find(({ kernels }) => kernels !== best.kernels);
  const { kernels: chosen, span } = best;
  const reason = featured
    ? `${feature}, as was measured of a layer`
    : `estimated: least of ${candidates.length} at ${options.capacity.sequenceTokens} tokens${
      others === undefined
        ? ""
        : `, ${Math.round((1 - best.cost / others.cost) * 100)} % less than ${
          candidateNames(others.kernels).join(" + ")
        }`
    }`;
  return { ...chosen, span, splits: defaultSplits(options, layer), reason };
}
