/** What the options of a rotary embedding may be. */
import type { RopeParameters } from "./model.ts";
import { type Fields, FINITE, listOf, oneOf, POSITIVE, whole } from "../base/check_options.ts";

/** What the rotary embedding may be. */
export const ROPE_FIELDS: Fields<RopeParameters> = {
  layout: oneOf("half", "interleaved"),
  theta: POSITIVE,
  "rotaryDim?": whole(1),
  "positionOffset?": FINITE,
  "inverseFrequencies?": listOf(FINITE),
  "sections?": listOf(whole(0, 2)),
};
