/** The two sides of a cache. */
import { type Kind, oneOf } from "../base/check_options.ts";

/** Keys or values: the two sides of a cache. */
export type Side = "keys" | "values";

/** Both sides, keys first. */
export const SIDES: readonly Side[] = ["keys", "values"];

/** What a side may be. */
export const SIDE: Kind<Side> = /* @__PURE__ */ oneOf("keys", "values");
