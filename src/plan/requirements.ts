/** What a device must be requested with. */
import { WHAT } from "./options.ts";
import { checkOptions, type Fields, FLAG } from "../base/check_options.ts";
import { FEATURE_NAMES, kernelFeatures } from "../kernels/name.ts";
import { BASE_LIMITS, BOUNDLESS_LIMITS } from "./limits.ts";
import type { PlanOptions } from "./plan.ts";
import { planCache } from "./plan_cache.ts";

/** The limits that a device must be requested with. */
export interface RequiredLimits {
  /** Largest storage buffer binding. */
  readonly maxStorageBufferBindingSize: number;
  /** Largest buffer. */
  readonly maxBufferSize: number;
}

/**
 * The limits to request from an adapter for a cache, before there is a device. Give the adapter's
 * own limits as `limits`: a layer that exceeds its largest binding is then divided by KV heads, at
 * the cost of a dispatch for each part. Without them no limit is assumed, and every layer gets one
 * binding.
 *
 * @throws {CoupletError} as {@linkcode planCache} does.
 */
export function requiredLimits(options: PlanOptions): RequiredLimits {
  const limits = options?.limits ?? BOUNDLESS_LIMITS;
  const { largestBinding } = planCache({ ...options, limits });
  return {
    maxStorageBufferBindingSize: Math.max(
      BASE_LIMITS.maxStorageBufferBindingSize,
      largestBinding,
    ),
    maxBufferSize: Math.max(BASE_LIMITS.maxBufferSize, largestBinding),
  };
}

/** Options of {@linkcode requiredFeatures}. */
export interface FeatureOptions {
  /**
   * Whether the cache will be profiled ({@linkcode createProfile}), which needs timestamps.
   * Defaults to false.
   */
  readonly profile?: boolean;
}

/** What the options of {@linkcode requiredFeatures} may be. */
export const FEATURE_FIELDS: Fields<FeatureOptions> = {
  "profile?": FLAG,
};

/**
 * The features that a device must be requested with. A cache needs none: every scheme has kernels
 * that fit WebGPU's base. Those in {@linkcode OPTIONAL_FEATURES} make some kernels faster: request
 * them if the adapter has them, and plan with the device's `features`.
 *
 * @throws {CoupletError} `usage` for an unknown option.
 */
export function requiredFeatures(options: FeatureOptions = {}): readonly GPUFeatureName[] {
  checkOptions("usage", WHAT, FEATURE_FIELDS, options);
  return options.profile ? ["timestamp-query"] : [];
}

/** Features that make some kernels faster. */
export const OPTIONAL_FEATURES: readonly GPUFeatureName[] = /* @__PURE__ */ FEATURE_NAMES.flatMap((
  feature,
) => kernelFeatures({ feature }));
