/** What the options of a rotary embedding may be. */
import type { RopeParameters } from "./cache_types.ts";
import { type Fields, FINITE, listOf, NUMBER, oneOf, POSITIVE, whole } from "./check_options.ts";

/** What the rotary embedding may be. */
export const ROPE_FIELDS: Fields<RopeParameters> = {
  layout: oneOf("half", "interleaved"),
  theta: POSITIVE,
  "rotaryDim?": whole(1),
  "positionOffset?": FINITE,
  "inverseFrequencies?": listOf(FINITE),
};

/** The same for one embedding: explicit frequencies leave nothing for its base to say. */
export function ropeFields(value: unknown): Fields<RopeParameters> {
  return Object(value).inverseFrequencies === undefined
    ? ROPE_FIELDS
    : { ...ROPE_FIELDS, theta: NUMBER };
}
