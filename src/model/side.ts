/** The two sides of a cache. */
import { type Kind, oneOf } from "../base/check_options.ts";

/** Keys or values: the two sides of a cache. */
export type Side = "keys" | "values";

/** Both sides, keys first. */
export const SIDES: readonly Side[] = ["keys", "values"];

/** Channels of the heads of both sides. */
export interface SideDims {
  /** Those of a key. */
  readonly headDim: number;
  /** Those of a value. */
  readonly valueHeadDim: number;
}

/** Channels of a head of one side. */
export function sideDim({ headDim, valueHeadDim }: SideDims, side: Side): number {
  return side === "keys" ? headDim : valueHeadDim;
}

/** What a side may be. */
export const SIDE: Kind<Side> = /* @__PURE__ */ oneOf("keys", "values");
