/** What attention kernels of keys that have anchors share, and how their codecs turn vectors. */
import { NEAR_TOKENS } from "../../src/kernels/constants.ts";
import { AT_TILE, EXACT_KEYS, pages, QUERIES } from "./attention.ts";
import type { Context } from "./kernel_row.ts";

/** Where a lane finds its coded tokens: one by one behind its first, in one page. */
export const consecutivePlace = (index: number): string => `key_behind(${index}u)`;

/**
 * Keys that are read as vectors by `codedKeysPartial`: those of slow bands are multiplied with a
 * query that is turned once for all tokens of a lane.
 */
export function anchoredScore(span: number, codedKeysPartial: string): Context {
  return {
    atQuery: QUERIES,
    headerPartial: "header_anchored",
    scorePartial: "score_anchored",
    exactly: EXACT_KEYS,
    coded: { source: "coded", ...pages("SPAN", span, consecutivePlace), queries: QUERIES.name },
    codedKeysPartial,
    preparePartial: "prepare_rope",
    atTile: AT_TILE,
  };
}

/** A lane scores consecutive tokens of a tile. */
export const ANCHORED_PLACES: Context = {
  placesPartial: "places_anchored",
  findPlacesPartial: "find_places_anchored",
  lanePlace: "first_place",
  placeStep: "place_step",
};

/** How an encoder of groups of channels turns what it loads. */
export function anchoredGroup(plainGroupPartial: string, channels: number): Context {
  return {
    nearTokens: NEAR_TOKENS,
    headerPartial: "header_turned",
    groupPartial: "group_anchored",
    plainGroupPartial,
    turnedPartial: channels >= 4 ? "turned_wide" : "turned_narrow",
    loadedPartial: "loaded_turned",
  };
}

/** How a decoder turns back what it reads otherwise. */
export function anchoredLoad({ constantsPartial, loadPartial, ...plain }: Context): Context {
  return {
    ...plain,
    nearTokens: NEAR_TOKENS,
    constantsPartial: "anchored_constants",
    plainConstantsPartial: constantsPartial!,
    loadPartial: "load_anchored",
    plainLoadPartial: loadPartial!,
  };
}
