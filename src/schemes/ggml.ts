import type { OwnScheme, SchemeId } from "./scheme.ts";
import { levelScheme } from "./uniform.ts";

/**
 * The uniform quantisation of llama.cpp's cache types `q8_0` and `q4_0`, baselines: 32 channels of
 * one token share a binary16 scale. In `q8` the largest magnitude is 127 scales, on either side. In
 * `q4` the number of largest magnitude is -8 scales, and the other side ends at 7. Levels are
 * llama.cpp's; the order of bits is that of all records here.
 */
export function ggml(id: SchemeId): OwnScheme | undefined {
  if (id === "q8") {
    return levelScheme(id, 8, { group: "channels", span: "magnitude", steps: 127, zero: 128 });
  }
  if (id === "q4") {
    return levelScheme(id, 4, { group: "channels", span: "extreme", steps: 8, zero: 8 });
  }
  return undefined;
}
