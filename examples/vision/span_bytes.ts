import { parseScheme, type Policy, recordWords, SIDES } from "@couplet/kv";
import type { ModelConfig } from "../engine/mod.ts";

/** Bits of a channel's scale and minimum, where a scheme's levels are a whole span's. */
const LEVEL_BITS = 32;

/**
 * Bytes of what a span holds of its tokens, in all layers: records, and levels where the scheme has some
 * for a whole span. Codebooks are left out: all spans share them.
 */
export function spanBytes(
  policy: Policy,
  tokens: number,
  { layers, keyValueHeads, headDim }: ModelConfig,
): number {
  const places = Array.from({ length: layers }, (_, layer) => policy.layers?.[layer] ?? policy);
  return places.flatMap((own) => SIDES.map((side) => own[side])).reduce((sum, scheme) => {
    const { layout, forSpans } = parseScheme(scheme);
    const levels = forSpans ? headDim * LEVEL_BITS / 8 : 0;
    return sum + keyValueHeads * (recordWords(layout(headDim), tokens) * 4 + levels);
  }, 0);
}

/** Bits per channel of so many bytes of a span. */
export function bitsPerChannel(
  bytes: number,
  tokens: number,
  { layers, keyValueHeads, headDim }: ModelConfig,
): number {
  return 8 * bytes / (tokens * 2 * layers * keyValueHeads * headDim);
}
