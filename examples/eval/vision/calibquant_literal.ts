/**
 * CalibQuant's 1-bit arithmetic to the letter (arXiv 2502.14882 §4), in float64 and without kernels: the two
 * levels of a channel are its span's minimum and maximum, drawn towards zero. The library's schemes of spans
 * draw them towards the middle of the channel's range.
 */
import type { Side } from "@couplet/kv";

/** How far the extremes are drawn towards zero. */
const ALPHA: Readonly<Record<Side, number>> = { keys: 0.5, values: 0.3 };

/**
 * A span of one KV head, coded and decoded. A channel of one number alone, which the paper's arithmetic
 * divides by zero for, keeps its lower level.
 *
 * @param vectors `[tokens][headDim]`.
 */
export function literalSpan(vectors: readonly Float64Array[], side: Side): Float64Array[] {
  const headDim = vectors[0]!.length;
  const decoded = vectors.map(() => new Float64Array(headDim));
  for (let channel = 0; channel < headDim; channel++) {
    const numbers = vectors.map((vector) => vector[channel]!);
    const low = ALPHA[side] * Math.min(...numbers);
    const step = ALPHA[side] * Math.max(...numbers) - low;
    numbers.forEach((number, token) => {
      // Half is rounded to even, which is 0.
      const isHigh = step > 0 && number / step - low / step > 0.5;
      decoded[token]![channel] = isHigh ? low + step : low;
    });
  }
  return decoded;
}
