/** What the options of keys may be. */
import type { KeyOptions, KeySpace, RopeByLayer } from "./model.ts";
import { type Fields, type Kind, kind, oneOf } from "../base/check_options.ts";
import { ANCHOR_FIELDS } from "./anchors.ts";
import { PLAIN_ROPE_FIELDS, ROPE_FIELDS } from "./rope_options.ts";

/** What the space of keys may be. */
export const KEY_SPACE: Kind<KeySpace> = oneOf("pre-rope", "anchored", "as-scored");

/** What keys may be: those before their rotary embedding must describe it. */
export function keyFields(value: unknown): Fields<KeyOptions> {
  const space = KEY_SPACE as Kind<never>;
  const given = Object(value).space;
  if (given === "as-scored") return { space };
  if (given !== "anchored") return { space, rope: ROPE_FIELDS };
  return { space, rope: PLAIN_ROPE_FIELDS, "anchor?": ANCHOR_FIELDS };
}

const NOTHING: Kind<null> = kind("null", (value) => value === null);

/** What the keys of a cache may be: the same in all layers, or with a list of rotary embeddings. */
export function cacheKeyFields(value: unknown): Fields<KeyOptions> | Fields<RopeByLayer> {
  const { space, rope } = Object(value);
  if (space !== "pre-rope" || !Array.isArray(rope)) return keyFields(value);
  const each = rope.map((one) => one === null ? NOTHING : ROPE_FIELDS);
  return { space: KEY_SPACE as Kind<never>, rope: Object.fromEntries(each.entries()) as never };
}
