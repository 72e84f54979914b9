/** How large a model's attention may be for the planner. */
import type { ModelShape } from "./cache_types.ts";
import { CoupletError } from "./errors.ts";

/** Far more than any model has: lists by layer, KV head and channel stay short. */
export const LARGEST_SHAPE = { layers: 4096, queryHeads: 65536, headDim: 65536 } as const;

/**
 * Checks that a shape is no larger than any model's, before anything is listed by layer, head or channel. Whether it is
 * one is for others to say.
 *
 * @throws {CoupletError} `shape` where it is not.
 */
export function checkLargestShape(
  shape: Pick<ModelShape, keyof typeof LARGEST_SHAPE> | undefined,
): void {
  for (const name of ["layers", "queryHeads", "headDim"] as const) {
    if (shape === undefined || !(shape[name] > LARGEST_SHAPE[name])) continue;
    throw new CoupletError("shape", {
      what: "Cannot plan a cache",
      why: `shape.${name} is ${shape[name]}`,
      remedy: `Give a model's own, which is ${LARGEST_SHAPE[name]} at most`,
    });
  }
}
