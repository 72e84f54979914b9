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

const { "sections?": _, ...plain } = ROPE_FIELDS;

/** The same where a token has one position: for anchored keys, whose anchors turn by one, and samples. */
export const PLAIN_ROPE_FIELDS: Fields<RopeParameters> = plain as Fields<RopeParameters>;
