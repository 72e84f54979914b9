/** Plans within the limits that a command line gives, or within those that they need. */
import { CoupletError } from "../src/base/errors.ts";
import { BASE_LIMITS, type PlanLimits } from "../src/plan/limits.ts";
import type { CachePlan, PlanOptions } from "../src/plan/plan.ts";
import { planCache } from "../src/plan/plan_cache.ts";
import { requiredLimits } from "../src/plan/requirements.ts";
import { type CacheArguments, readLimits } from "./cache_arguments.ts";

/** A plan, and the limits to request for it. */
export interface LimitedPlan {
  readonly plan: CachePlan;
  readonly required: Partial<PlanLimits>;
}

/** Why there is no plan. */
export interface Unplanned {
  readonly why: string;
}

/**
 * The plan within the given limits, or within those that it needs.
 *
 * @throws {CoupletError} as `planCache()` does.
 */
export function planWithin(options: PlanOptions, args: CacheArguments): LimitedPlan {
  const given = readLimits(args);
  const required = requiredLimits({
    ...options,
    ...(given === undefined ? {} : { limits: given }),
  });
  const limits = given ?? { ...BASE_LIMITS, ...required };
  return { plan: planCache({ ...options, limits }), required };
}

/** The same, or why there is none. */
export function tryPlan(options: PlanOptions, args: CacheArguments): CachePlan | Unplanned {
  try {
    return planWithin(options, args).plan;
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    return { why: error.parts.why };
  }
}
