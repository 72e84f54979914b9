/** Which kernels attend: all that fit, least cost first. */
import type { ResolvedOptions } from "./cache_options.ts";
import { tableBytes } from "./cache_sizes.ts";
import type { KernelInfo } from "./kernel.ts";
import { type KeyVariant, parseKernelName } from "./kernel_name.ts";
import type { PlanLimits } from "./plan_limits.ts";
import { parseScheme, type SchemeId } from "./scheme.ts";
import { matchingKernels, requireKernel } from "./select_kernel.ts";

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
  /** Query rows a workgroup serves. */
  readonly rows: number;
  /** Estimated multiply-adds per query row and token, and why the choice fell so. */
  readonly reason: string;
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
  return headDim / channels + (headDim * centroids) / served;
}

/** A score that goes through memory is written once and read once. */
const SCORE_TRAFFIC = 8;

/** Share of the device's largest binding that tables of q.centroid may take. */
const TABLE_SHARE = 1 / 16;

/**
 * Chooses the kernels of one way of attending.
 *
 * @param rows Most query rows of a step, and of one of its entries.
 * @throws {CoupletError} `kernel` or `limits` where none fits.
 */
export function chooseAttention(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  keys: SchemeId,
  values: SchemeId,
  rows: { readonly step: number; readonly entry: number },
): AttentionKernels {
  const { headDim } = options.shape;
  const variants: KeyVariant[] = options.keys.space === "pre-rope"
    ? ["rope"]
    : ["plain", "lut", "table"];
  const candidates: { cost: number; kernels: Omit<AttentionKernels, "rows" | "reason"> }[] = [];
  const fused = { family: "attend", schemes: [keys, values], headDim, variants } as const;
  for (const attend of matchingKernels(kernels, fused, limits)) {
    const { variant } = parseKernelName(attend.name);
    candidates.push({ cost: keyCost(variant!, keys, options), kernels: { attend } });
  }
  const scored = { family: "score", schemes: [keys], headDim, variants } as const;
  const mixes = { family: "mix", schemes: [values], headDim } as const;
  for (const score of matchingKernels(kernels, scored, limits)) {
    const variant = parseKernelName(score.name).variant!;
    const [mix] = matchingKernels(kernels, mixes, limits);
    if (mix === undefined) break;
    const cost = keyCost(variant, keys, options) + SCORE_TRAFFIC;
    if (variant !== "table") {
      candidates.push({ cost, kernels: { score, mix } });
      continue;
    }
    const bytes = tableBytes(options, keys, rows.step);
    if (bytes > limits.maxStorageBufferBindingSize * TABLE_SHARE) continue;
    const query = { family: "table", schemes: [keys], headDim } as const;
    for (const table of matchingKernels(kernels, query, limits)) {
      candidates.push({ cost, kernels: { table, score, mix } });
    }
  }
  if (candidates.length === 0) {
    // Throws for the one that is missing.
    requireKernel(kernels, scored, limits);
    requireKernel(kernels, mixes, limits);
  }
  const best = candidates.reduce((a, b) => (b.cost < a.cost ? b : a));
  const most = (best.kernels.attend ?? best.kernels.score)!.rows!;
  return {
    ...best.kernels,
    rows: Math.min(most, 2 ** Math.ceil(Math.log2(rows.entry))),
    reason: `${
      best.cost.toFixed(1)
    } multiply-adds per query row and token, least of ${candidates.length}`,
  };
}
