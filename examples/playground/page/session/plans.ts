/** The caches that the playground plans. */
import {
  type CachePlan,
  type KernelInfo,
  parseScheme,
  planCache,
  type PlanOptions,
} from "@couplet/kv";
import { BOUNDLESS_LIMITS } from "../../../../src/plan/limits.ts";
import { modelCacheOptions } from "../../../engine/attention_cache.ts";
import type { ModelConfig } from "../../../engine/config.ts";

/** Most tokens of a step: a prompt is read in pieces of so many. */
export const STEP_TOKENS = 32;

/** Tokens of the longer text that memory is also counted for. */
export const LONG_TOKENS = 32_768;

/** A cache to plan. */
export interface CacheChoice {
  /** Of keys and values. */
  readonly scheme: string;
  readonly kernels: readonly KernelInfo[];
  /** First tokens that stay exact. */
  readonly sinks: number;
  /** Recent tokens that stay exact. */
  readonly window: number;
}

/** The plan of a cache for one text as long as the model takes. */
export function planText(
  config: ModelConfig,
  choice: CacheChoice,
  { limits, features }: Pick<GPUDevice, "limits" | "features">,
): CachePlan {
  return planCache({ ...textOptions(config, choice, config.maxPositions), limits, features });
}

/** The plan of the same cache for {@linkcode LONG_TOKENS}, of which nothing is allocated. */
export function planLongText(config: ModelConfig, choice: CacheChoice): CachePlan {
  return planCache({ ...textOptions(config, choice, LONG_TOKENS), limits: BOUNDLESS_LIMITS });
}

function textOptions(
  config: ModelConfig,
  { scheme, kernels, sinks, window }: CacheChoice,
  tokens: number,
): PlanOptions {
  // Exact tokens of a cache in f16 would be the same numbers in another place.
  const tiers = scheme === "f16" ? { sinks: 0, window: 0 } : { sinks, window };
  const { id } = parseScheme(scheme);
  return {
    ...modelCacheOptions(config),
    policy: { keys: id, values: id },
    tiers,
    capacity: {
      sequences: 1,
      tokens,
      sequenceTokens: tokens,
      stepTokens: STEP_TOKENS,
      appendTokens: STEP_TOKENS,
    },
    kernels,
  };
}
