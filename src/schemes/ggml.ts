import type { OwnScheme, SchemeId } from "./scheme.ts";
import { levelScheme } from "./uniform.ts";

/**
 * The levels of llama.cpp's cache types `q8_0` and `q4_0`, baselines: 32 channels of one token
 * share a binary16 scale. `q8` has the largest magnitude at 127 scales on either side; `q4` has the
 * number of largest magnitude at -8 scales, and 7 on the other side. Bits lie as in all records
 * here, so that the bytes differ from llama.cpp's, not the levels.
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
