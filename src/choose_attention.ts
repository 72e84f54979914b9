/** Which kernels attend: all that fit, least cost first. */
import type { ResolvedLayer, ResolvedOptions } from "./cache_options.ts";
import { largestSpan, type StepSize, tableBytes } from "./cache_sizes.ts";
import { CoupletError } from "./errors.ts";
import type { KernelInfo } from "./kernel.ts";
import {
  type KernelFeature,
  type KernelNameParts,
  type KeyVariant,
  parseKernelName,
} from "./kernel_name.ts";
import type { PlanLimits } from "./plan_limits.ts";
import { parseScheme, type SchemeId } from "./scheme.ts";
import {
  coveringKernels,
  type KernelQuery,
  matchingKernels,
  obstacle,
  requireKernel,
} from "./select_kernel.ts";

/** The kernels one way of attending takes, in order of dispatch. */
export interface AttentionKernels {
  /** Keys and values in one kernel, or undefined where `score` and `mix` share the work. */
  readonly attend?: KernelInfo;
  /** Fills the lookup table, where the score kernel reads one from a buffer. */
  readonly table?: KernelInfo;
  /** Scores the keys. */
  readonly score?: KernelInfo;
  /** Mixes the values. */
  readonly mix?: KernelInfo;
  /** Pages of a coded tile: tokens that one invocation scores at once. */
  readonly span: number;
  /** Estimated multiply-adds per query row and token, and why the choice fell so. */
  readonly reason: string;
}

/** One way of attending that the planner weighs. */
export interface AttentionCandidate {
  /** Its kernels, by what they do. */
  readonly kernels: Pick<AttentionKernels, "attend" | "table" | "score" | "mix">;
  /** Multiply-adds per query row and token, by which the least is chosen. */
  readonly cost: number;
  /** Why it cannot be chosen, or undefined where it can. */
  readonly refused?: string;
}

/** What the cost of reading keys depends on. */
export interface CostOptions {
  readonly shape: Pick<ResolvedOptions["shape"], "headDim">;
  readonly capacity: Pick<ResolvedOptions["capacity"], "sequenceTokens">;
}

/** Multiply-adds per query row and token, for one way of reading keys. */
function keyCost(variant: KeyVariant, scheme: SchemeId, options: CostOptions): number {
  const { headDim } = options.shape;
  const { channels, centroids } = parseScheme(scheme);
  if (variant === "rope") return headDim * 2;
  if (variant === "plain") return headDim;
  // A table costs one multiply-add per centroid and channel, shared by the tokens it serves: a
  // workgroup's own by one split's tokens, a buffer's by the whole sequence's.
  const served = variant === "lut" ? 256 : options.capacity.sequenceTokens;
  // An entry in f16 is half as long to load.
  const load = variant === "table16" ? 0.5 : 1;
  return (load * headDim) / channels + (headDim * centroids) / served;
}

/** What an optional feature leaves of a kernel's time. */
const FEATURE_GAIN: Readonly<Record<KernelFeature, number>> = { f16: 0.8, subgroups: 0.95 };

/** Multiply-adds per query row and token of a kernel that scores keys, those that a feature spares taken off. */
export function scoringCost(
  { variant, schemes, feature }: KernelNameParts,
  options: CostOptions,
): number {
  const gain = feature === undefined ? 1 : FEATURE_GAIN[feature];
  return gain * keyCost(variant!, schemes[0]!, options);
}

/** Cost of a score that goes through memory: written once and read once, in bytes. */
export const SCORE_TRAFFIC = 8;

/** Share of the device's largest binding that tables of q.centroid may take. */
const TABLE_SHARE = 1 / 16;

/** All ways of attending that the kernels given have, fused ones first. */
export function attentionCandidates(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  layer: ResolvedLayer,
  step: StepSize,
): AttentionCandidate[] {
  const { fused, scored, mixes } = queries(options, layer);
  const tableRefused = tableObstacle(tableBytes(options, layer, step), limits);
  const candidates: AttentionCandidate[] = [];
  const offer = (cost: number, variant: KeyVariant, own: AttentionCandidate["kernels"]) => {
    const tabled = variant === "table" || variant === "table16";
    const sets = tabled
      ? coveringKernels(kernels, tableQuery(options, layer, variant))
        .map((table) => ({ table, ...own }))
      : [own];
    for (const set of sets) {
      const obstacles = Object.values(set).map((kernel) => obstacle(kernel, limits));
      const refused = [...obstacles, tabled ? tableRefused : undefined]
        .find((reason) => reason !== undefined);
      candidates.push({ kernels: set, cost, ...(refused === undefined ? {} : { refused }) });
    }
  };
  for (const attend of coveringKernels(kernels, fused)) {
    const parts = parseKernelName(attend.name);
    offer(scoringCost(parts, options), parts.variant!, { attend });
  }
  const mix = matchingKernels(kernels, mixes, limits)[0] ?? coveringKernels(kernels, mixes)[0];
  for (const score of mix === undefined ? [] : coveringKernels(kernels, scored)) {
    const parts = parseKernelName(score.name);
    offer(scoringCost(parts, options) + SCORE_TRAFFIC, parts.variant!, { score, mix: mix! });
  }
  return candidates;
}

/** The candidate that is chosen: of those that can be, the first of least cost. */
export function leastCost(
  candidates: readonly AttentionCandidate[],
): AttentionCandidate | undefined {
  return candidates
    .filter(({ refused }) => refused === undefined)
    .sort((a, b) => a.cost - b.cost)[0];
}

/** What the kernels of one way of attending must do. */
function queries(
  { shape: { headDim }, keys: { space } }: ResolvedOptions,
  { keys, values }: ResolvedLayer,
) {
  const variants: KeyVariant[] = space === "pre-rope"
    ? ["rope"]
    : ["plain", "lut", "table", "table16"];
  return {
    fused: { family: "attend", schemes: [keys, values], headDim, variants },
    scored: { family: "score", schemes: [keys], headDim, variants },
    mixes: { family: "mix", schemes: [values], headDim },
  } as const;
}

function tableQuery(
  { shape: { headDim } }: ResolvedOptions,
  { keys }: ResolvedLayer,
  variant: "table" | "table16",
): KernelQuery {
  // A table in f32 is what kernels of the family give that have no variant.
  const variants: Pick<KernelQuery, "variants"> = variant === "table"
    ? {}
    : { variants: [variant] };
  return { family: "table", schemes: [keys], headDim, ...variants };
}

function tableObstacle(bytes: number, limits: PlanLimits): string | undefined {
  const most = limits.maxStorageBufferBindingSize * TABLE_SHARE;
  return bytes > most
    ? `its tables of q.centroid would take ${bytes} bytes, more than the ${most} that are ${TABLE_SHARE} of the largest binding`
    : undefined;
}

/**
 * Chooses the kernels of one way of attending.
 *
 * @throws {CoupletError} `kernel` or `limits` where none fits.
 */
export function chooseAttention(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  layer: ResolvedLayer,
  step: StepSize,
): AttentionKernels {
  const candidates = attentionCandidates(options, kernels, limits, layer, step);
  const best = leastCost(candidates);
  if (best === undefined) {
    // Throws for the one that is missing.
    const { scored, mixes } = queries(options, layer);
    requireKernel(kernels, scored, limits);
    requireKernel(kernels, mixes, limits);
    throw new CoupletError("limits", {
      what: `Cannot attend to keys in ${layer.keys} and values in ${layer.values}`,
      why: candidates.map(({ refused }) => refused).join("; "),
      remedy: "Plan smaller steps (capacity.stepTokens), or pass the manifest's other rows as well",
    });
  }
  const possible = candidates.filter(({ refused }) => refused === undefined).length;
  const { attend, score, mix } = best.kernels;
  const spans = [attend, score, mix].flatMap((kernel) => kernel?.span ?? []);
  return {
    ...best.kernels,
    span: Math.min(...spans, largestSpan(options)),
    reason: `${best.cost.toFixed(1)} multiply-adds per query row and token, least of ${possible}`,
  };
}
