import { roundToFloat16 } from "../base/float16.ts";
import { channelSign, hadamardFactor, hadamardInverseFactor, walshHadamard } from "./hadamard.ts";
import { readCode, writeCode } from "../records/pack.ts";
import type { Codec } from "./codec.ts";
import type { Side } from "../model/side.ts";
import type { Scheme } from "./scheme.ts";

/** Smoothing factors are powers of two with exponents up to this: normal binary16 numbers. */
const MOST_EXPONENT = 14;

/** The nearest centroids of transformed vectors, and the transforms to choose from. */
export function vecInferCodec({ channels, centroids: centroidCount, layout }: Scheme): Codec {
  return {
    learning: { transforms, transformed },

    encode([vector], record, token, { centroids, transform, turn }) {
      const own = layout(vector!.length);
      const coded = transformed(turn?.(vector!, token, 1) ?? vector!, transform!);
      for (let group = 0; group < own.codes; group++) {
        // |x - c|^2 is least where x.c - |c|^2 / 2 is largest, which takes fewer digits.
        let best = -Infinity;
        let nearest = 0;
        for (let code = 0; code < centroidCount; code++) {
          let product = 0;
          let square = 0;
          for (let i = 0; i < channels; i++) {
            const centroid = centroids[code * channels + i]!;
            product += coded[group * channels + i]! * centroid;
            square += centroid * centroid;
          }
          const likeness = product - square / 2;
          if (likeness > best) {
            best = likeness;
            nearest = code;
          }
        }
        writeCode(own, record, token, group, nearest);
      }
    },

    decode(record, token, headDim, { centroids, transform, turn }) {
      const own = layout(headDim);
      const coded = new Float64Array(headDim);
      for (let group = 0; group < own.codes; group++) {
        const at = readCode(own, record, token, group) * channels;
        for (let i = 0; i < channels; i++) coded[group * channels + i] = centroids[at + i]!;
      }
      const decoded = restored(coded, transform!);
      return turn?.(decoded, token, -1) ?? decoded;
    },
  };
}

/** A vector in the space of the centroids. Heads whose factors are 0 are not rotated. */
function transformed(
  vector: ArrayLike<number>,
  transform: ArrayLike<number>,
): Float64Array<ArrayBuffer> {
  const rotated = transform[0] === 0 ? Float64Array.from(vector) : walshHadamard(
    Float64Array.from(vector, (value, i) => value / transform[2 * i]!),
    hadamardFactor(vector.length),
  );
  return rotated.map((value, i) => value - transform[2 * i + 1]!);
}

/** The inverse of {@linkcode transformed}. */
function restored(
  coded: Float64Array<ArrayBuffer>,
  transform: ArrayLike<number>,
): Float64Array<ArrayBuffer> {
  const rotated = coded.map((value, i) => value + transform[2 * i + 1]!);
  if (transform[0] === 0) return rotated;
  return walshHadamard(rotated, hadamardInverseFactor(rotated.length))
    .map((value, i) => value * transform[2 * i]!);
}

/**
 * With and without the rotation, each with and without the mean. A key's smoothing factor is the
 * square root of its channel's largest magnitude (arXiv 2510.06175 §3.2), as the nearest power of
 * two. Values have no factors but signs.
 */
function transforms(
  vectors: readonly ArrayLike<number>[],
  side: Side,
): Float64Array<ArrayBuffer>[] {
  const headDim = vectors[0]!.length;
  const largest = new Float64Array(headDim);
  for (const vector of vectors) {
    for (let i = 0; i < headDim; i++) largest[i] = Math.max(largest[i]!, Math.abs(vector[i]!));
  }
  const smooth = largest.map((most, i) => {
    const exponent = side === "values" || most === 0 ? 0 : Math.round(Math.log2(most) / 2);
    return channelSign(i) * 2 ** Math.max(-MOST_EXPONENT, Math.min(MOST_EXPONENT, exponent));
  });
  return [new Float64Array(headDim), smooth].flatMap((factors) => {
    const plain = new Float64Array(2 * headDim);
    factors.forEach((factor, i) => plain[2 * i] = factor);
    const centred = plain.slice();
    for (const vector of vectors) {
      transformed(vector, plain).forEach((value, i) => {
        centred[2 * i + 1]! += value / vectors.length;
      });
    }
    for (let i = 1; i < centred.length; i += 2) centred[i] = roundToFloat16(centred[i]!);
    return [plain, centred];
  });
}
