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
  const given = Object(value).space;
  if (given === "as-scored") return { space };
  const fields = { space, rope: ROPE_FIELDS };
  return given === "anchored" ? { ...fields, "anchor?": ANCHOR_FIELDS } : fields;
}
