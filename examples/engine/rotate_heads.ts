import { rotate } from "@couplet/kv";
import type { ModelConfig } from "./config.ts";
import { onlyRope } from "./layer_ropes.ts";

/**
 * Keys or queries rotated for their positions, as they are scored.
 *
 * @param vectors `[tokens of all sequences][heads][headDim]`, before the rotary embedding.
 * @param lengths Tokens of each sequence, one after the other.
 * @param first Position of each sequence's first token.
 * @returns The same, rotated: a new array.
 * @throws {CoupletError} `usage` where the model's layers differ in their embedding.
 */
export function rotateHeads(
  vectors: Float32Array<ArrayBuffer>,
  lengths: readonly number[],
  heads: number,
  config: ModelConfig,
  first = 0,
): Float32Array<ArrayBuffer> {
  const { headDim } = config;
  const { parameters, frequencies } = onlyRope(config);
  const rotated = new Float32Array(vectors.length);
  let at = 0;
  for (const length of lengths) {
    for (let position = 0; position < length; position++) {
      for (let head = 0; head < heads; head++, at += headDim) {
        const vector = vectors.subarray(at, at + headDim);
        rotated.set(rotate(vector, first + position, parameters, frequencies), at);
      }
    }
  }
  return rotated;
}
