import { type LayerPolicy, parseScheme, recordWords, SIDES } from "@couplet/kv";
import type { LlamaConfig } from "../llama/mod.ts";

/** Bits of a channel's scale and minimum, where a scheme's levels are a whole span's. */
const LEVEL_BITS = 32;

/**
 * Bytes of what a span holds of its tokens, in all layers: records, and levels where the scheme has some
 * for a whole span. Codebooks are left out: all spans share them.
 */
export function spanBytes(
  policy: Pick<LayerPolicy, "keys" | "values">,
  tokens: number,
  { layers, keyValueHeads, headDim }: LlamaConfig,
): number {
  const bytes = SIDES.map((side) => {
    const { layout, forSpans } = parseScheme(policy[side]);
    const levels = forSpans ? headDim * LEVEL_BITS / 8 : 0;
    return recordWords(layout(headDim), tokens) * 4 + levels;
  });
  return layers * keyValueHeads * (bytes[0]! + bytes[1]!);
}

/** Bits per channel of so many bytes of a span. */
export function bitsPerChannel(
  bytes: number,
  tokens: number,
  { layers, keyValueHeads, headDim }: LlamaConfig,
): number {
  return 8 * bytes / (tokens * 2 * layers * keyValueHeads * headDim);
}
