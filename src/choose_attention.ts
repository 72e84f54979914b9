/** Which kernels attend: all that fit, least cost first. */
import type { ResolvedLayer, ResolvedOptions } from "./cache_options.ts";
import { largestSpan, type StepSize, tableBytes } from "./cache_sizes.ts";
import type { KernelInfo } from "./kernel.ts";
import { type KernelFeature, type KeyVariant, parseKernelName } from "./kernel_name.ts";
import type { PlanLimits } from "./plan_limits.ts";
import { parseScheme, type SchemeId } from "./scheme.ts";
import { type KernelQuery, matchingKernels, requireKernel } from "./select_kernel.ts";

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

/** Kernels that could attend, and their cost. */
interface AttentionCandidate {
  readonly cost: number;
  readonly kernels: Omit<AttentionKernels, "span" | "reason">;
}

/** Multiply-adds per query row and token, for one way of reading keys. */
function keyCost(variant: KeyVariant, scheme: SchemeId, options: ResolvedOptions): number {
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

/** A score that goes through memory is written once and read once. */
const SCORE_TRAFFIC = 8;

/** Share of the device's largest binding that tables of q.centroid may take. */
const TABLE_SHARE = 1 / 16;

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
  const { keys, values } = layer;
  const { headDim } = options.shape;
  const variants: KeyVariant[] = options.keys.space === "pre-rope"
    ? ["rope"]
    : ["plain", "lut", "table", "table16"];
  const candidates: AttentionCandidate[] = [];
  const fused = { family: "attend", schemes: [keys, values], headDim, variants } as const;
  const tables = (variant: "table" | "table16") => {
    const variants: Pick<KernelQuery, "variants"> = variant === "table"
      ? {}
      : { variants: [variant] };
    return matchingKernels(
      kernels,
      { family: "table", schemes: [keys], headDim, ...variants },
      limits,
    );
  };
  const tableFits =
    tableBytes(options, layer, step) <= limits.maxStorageBufferBindingSize * TABLE_SHARE;
  const offer = (cost: number, variant: KeyVariant, found: AttentionCandidate["kernels"]) => {
    if (variant !== "table" && variant !== "table16") candidates.push({ cost, kernels: found });
    else if (tableFits) {
      for (const table of tables(variant)) candidates.push({ cost, kernels: { table, ...found } });
    }
  };
  for (const attend of matchingKernels(kernels, fused, limits)) {
    const { variant, feature } = parseKernelName(attend.name);
    const gain = feature === undefined ? 1 : FEATURE_GAIN[feature];
    offer(gain * keyCost(variant!, keys, options), variant!, { attend });
  }
  const scored = { family: "score", schemes: [keys], headDim, variants } as const;
  const mixes = { family: "mix", schemes: [values], headDim } as const;
  for (const score of matchingKernels(kernels, scored, limits)) {
    const variant = parseKernelName(score.name).variant!;
    const [mix] = matchingKernels(kernels, mixes, limits);
    if (mix === undefined) break;
    offer(keyCost(variant, keys, options) + SCORE_TRAFFIC, variant, { score, mix });
  }
  if (candidates.length === 0) {
    // Throws for the one that is missing.
    requireKernel(kernels, scored, limits);
    requireKernel(kernels, mixes, limits);
  }
  const best = candidates.reduce((a, b) => (b.cost < a.cost ? b : a));
  const { attend, score, mix } = best.kernels;
  const spans = [attend, score, mix].flatMap((kernel) => kernel?.span ?? []);
  return {
    ...best.kernels,
    span: Math.min(...spans, largestSpan(options)),
    reason: `${
      best.cost.toFixed(1)
    } multiply-adds per query row and token, least of ${candidates.length}`,
  };
}
