/** What a device must be requested with. */
import { WHAT } from "./options.ts";
import { checkOptions, type Fields, kind } from "../base/check_options.ts";
import { FEATURE_NAMES, kernelFeatures } from "../kernels/name.ts";
import { BASE_LIMITS } from "./limits.ts";
import type { PlanOptions } from "./plan.ts";
import { planCache } from "./plan_cache.ts";

/** The limits to request a device with, where they exceed WebGPU's defaults. */
export interface RequiredLimits {
  /** Largest storage buffer binding. */
  readonly maxStorageBufferBindingSize: number;
  /** Largest buffer. */
  readonly maxBufferSize: number;
}

/**
 * The limits to request of an adapter for a cache, before there is a device. Give the adapter's own
 * as `limits`: a layer that exceeds its largest binding is then divided by KV heads, at the price
 * of a dispatch for each part. Without them the adapter is taken to have none, and every layer gets
 * one binding.
 *
 * @throws {CoupletError} as {@linkcode planCache} does.
 */
export function requiredLimits(options: PlanOptions): RequiredLimits {
  const boundless = { maxStorageBufferBindingSize: Infinity, maxBufferSize: Infinity };
  const { largestBinding } = planCache({
    ...options,
    limits: options?.limits ?? { ...BASE_LIMITS, ...boundless },
  });
  return {
    maxStorageBufferBindingSize: Math.max(
      BASE_LIMITS.maxStorageBufferBindingSize,
      largestBinding,
    ),
    maxBufferSize: Math.max(BASE_LIMITS.maxBufferSize, largestBinding),
  };
}

/** What {@linkcode requiredFeatures} may be told. */
export interface FeatureOptions {
  /**
   * Whether the cache is to be profiled ({@linkcode createProfile}), which needs timestamps.
   * Defaults to false.
   */
  readonly profile?: boolean;
}

/** What its options may be. */
export const FEATURE_FIELDS: Fields<FeatureOptions> = {
  "profile?": kind("true or false", (value) => typeof value === "boolean"),
};

/**
 * The features that a device must be requested with: none for a cache, since every scheme has
 * kernels that fit WebGPU's base. Those in {@linkcode OPTIONAL_FEATURES} make some kernels faster:
 * request them where the adapter has them, and plan with the device's `features`.
 *
 * @throws {CoupletError} `usage` for an option that it does not know.
 */
export function requiredFeatures(options: FeatureOptions = {}): readonly GPUFeatureName[] {
  checkOptions("usage", WHAT, FEATURE_FIELDS, options);
  return options.profile ? ["timestamp-query"] : [];
}

/** Features that some kernels are faster with. */
export const OPTIONAL_FEATURES: readonly GPUFeatureName[] = /* @__PURE__ */ FEATURE_NAMES.flatMap((
  feature,
) => kernelFeatures({ feature }));
