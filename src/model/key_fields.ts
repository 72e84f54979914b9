/** What the options of keys may be. */
import type { KeyOptions, KeySpace } from "./model.ts";
import { type Fields, type Kind, oneOf } from "../base/check_options.ts";
import { ANCHOR_FIELDS } from "./anchors.ts";
import { ROPE_FIELDS } from "./rope_options.ts";

/** What the space of keys may be. */
export const KEY_SPACE: Kind<KeySpace> = oneOf("pre-rope", "anchored", "as-scored");

/** What keys may be: those before their rotary embedding must describe it. */
export function keyFields(value: unknown): Fields<KeyOptions> {
  const space = KEY_SPACE as Kind<never>;
  const rope = ROPE_FIELDS;
  switch (Object(value).space) {
    case "as-scored":
      return { space };
    case "anchored":
      return { space, rope, "anchor?": ANCHOR_FIELDS };
    default:
      return { space, rope };
  }
}
