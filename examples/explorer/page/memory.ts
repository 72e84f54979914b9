/** What a model's cache takes, by the planner. */
import {
  type CacheBytes,
  type CachePlan,
  type LayerPolicy,
  planCache,
  type Side,
} from "../../../mod.ts";
import type { ModelPlanOptions } from "../../../src/models/mod.ts";
import { BOUNDLESS_LIMITS } from "../../../src/plan/limits.ts";
import { kernels } from "./kernels.ts";

/** What is to be held. */
export interface Holding extends LayerPolicy {
  /** Tokens of each sequence. */
  readonly tokens: number;
  readonly sequences: number;
  /** First tokens that stay exact. */
  readonly sinks: number;
  /** Recent tokens that stay exact. */
  readonly window: number;
  /** New tokens of a sequence in a step, at most. */
  readonly appendTokens: number;
}

/** A cache's bytes. */
export interface CacheMemory {
  readonly plan: CachePlan;
  /** The records' bytes by side. */
  readonly codes: Readonly<Record<Side, number>>;
  /** The codebooks' bytes by side. */
  readonly codebooks: Readonly<Record<Side, number>>;
}

/** What of {@linkcode CacheBytes} is shown, in the order of the picture. */
export const KINDS: readonly (readonly [kind: keyof CacheBytes, label: string])[] = [
  ["codes", "Codes"],
  ["codebooks", "Codebooks"],
  ["exact", "Exact tokens"],
  ["tables", "Tables"],
  ["scratch", "Scratch of a step"],
];

/**
 * The cache of a model, and the same in f16, where nothing need stay exact besides.
 *
 * @throws {CoupletError} as `planCache` does.
 */
export function cacheMemory(
  model: ModelPlanOptions,
  holding: Holding,
): { readonly coded: CacheMemory; readonly half: CacheMemory } {
  return {
    coded: plan(model, holding),
    half: plan(model, { ...holding, keys: "f16", values: "f16", sinks: 0, window: 0 }),
  };
}

function plan(
  { shape, keys: space, scale, softcap }: ModelPlanOptions,
  { keys, values, tokens, sequences, sinks, window, appendTokens }: Holding,
): CacheMemory {
  const plan = planCache({
    shape,
    policy: { keys, values },
    keys: space,
    scale,
    softcap,
    tiers: { sinks, window },
    capacity: {
      sequences,
      tokens: tokens * sequences,
      sequenceTokens: tokens,
      stepTokens: appendTokens * sequences,
      appendTokens,
    },
    limits: BOUNDLESS_LIMITS,
    kernels: kernels.map(({ info }) => info),
  });
  const bySide = (kind: "codes" | "codebooks") => {
    const sum = (side: Side) => plan.layers.reduce((sum, { bytes }) => sum + bytes[side][kind], 0);
    return { keys: sum("keys"), values: sum("values") };
  };
  return { plan, codes: bySide("codes"), codebooks: bySide("codebooks") };
}
