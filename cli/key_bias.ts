/** What a bias of a model's keys means for schemes. */
import type { KeySpace } from "../src/model/model.ts";
import { parseScheme } from "../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";

/** How many channels of a head may have a bias in keys that a scheme codes; all, for most. */
export function biasedChannels(id: SchemeId, headDim: number, space: KeySpace): number {
  return parseScheme(id).keyOffsets?.(headDim, space) ?? headDim;
}
