/** What stays of a video, in bytes and in bits per channel. */
import { bitsPerChannel, spanBytes } from "../../vision/span_bytes.ts";
import type { ModelConfig } from "../../engine/mod.ts";
import type { VisionMethod } from "./methods.ts";

/** A method's size; null where nothing is kept. */
export interface MethodSize {
  readonly effectiveBits: number | null;
  readonly bytes: number | null;
}

/**
 * The size of a video as a method keeps it.
 *
 * @param parts Tokens of each of the method's spans.
 */
export function methodSize(
  { treatment }: VisionMethod,
  parts: readonly number[],
  config: ModelConfig,
): MethodSize {
  const tokens = parts.reduce((sum, one) => sum + one, 0);
  switch (treatment.kind) {
    case "hidden":
      return { effectiveBits: null, bytes: null };
    case "literal": {
      const effectiveBits = treatment.codec.bits(tokens);
      const channels = 2 * config.layers * config.keyValueHeads * config.headDim;
      return { effectiveBits, bytes: effectiveBits * tokens * channels / 8 };
    }
    case "span": {
      const bytes = parts.reduce(
        (sum, own, part) => sum + (own > 0 ? spanBytes(treatment.schemes[part]!, own, config) : 0),
        0,
      );
      return { effectiveBits: bitsPerChannel(bytes, tokens, config), bytes };
    }
  }
}
