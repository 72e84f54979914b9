/**
 * What data-free schemes share: codes of a Hadamard-rotated vector, and the codebook as stored.
 */
import type { CodebookSpec } from "./scheme.ts";
import { MAX_FLOAT16, roundToFloat16, toFloat16Array } from "../base/float16.ts";

/** A vector's codes. */
export interface RotatedCodes {
  /** `[headDim / channels]`. */
  readonly codes: Uint32Array<ArrayBuffer>;
  /** Square root of the mean square of the vector's channels, a finite binary16 number. */
  readonly deviation: number;
  /** The same of the decoded vector, before its scale. */
  readonly codedDeviation: number;
}

/**
 * The nearest centroids of a vector divided by its channels' standard deviation; ties go to the
 * lowest index.
 *
 * @param vector `[headDim]`.
 * @param centroids `[centroids][channels]`, for channels of variance 1.
 */
export function encodeRotated(
  vector: ArrayLike<number>,
  centroids: ArrayLike<number>,
  channels: number,
): RotatedCodes {
  let energy = 0;
  for (let i = 0; i < vector.length; i++) energy += vector[i]! * vector[i]!;
  const deviation = roundToFloat16(Math.min(Math.sqrt(energy / vector.length), MAX_FLOAT16));
  const codes = new Uint32Array(vector.length / channels);
  let codedEnergy = 0;
  for (let group = 0; group < codes.length; group++) {
    // |x / deviation - c|^2 is least where x.c - deviation |c|^2 / 2 is largest; no division, so
    // ties are exact.
    let best = -Infinity;
    let energyOfBest = 0;
    for (let code = 0; code * channels < centroids.length; code++) {
      let product = 0;
      let square = 0;
      for (let i = 0; i < channels; i++) {
        const centroid = centroids[code * channels + i]!;
        product += vector[group * channels + i]! * centroid;
        square += centroid * centroid;
      }
      const likeness = product - (deviation * square) / 2;
      if (likeness > best) {
        best = likeness;
        codes[group] = code;
        energyOfBest = square;
      }
    }
    codedEnergy += energyOfBest;
  }
  return { codes, deviation, codedDeviation: Math.sqrt(codedEnergy / vector.length) };
}

/** The decoded vector before its scale, `[headDim]`. */
export function decodeRotated(
  codes: ArrayLike<number>,
  centroids: ArrayLike<number>,
  channels: number,
): Float64Array<ArrayBuffer> {
  return Float64Array.from(
    { length: codes.length * channels },
    (_, i) => centroids[codes[Math.floor(i / channels)]! * channels + i % channels]!,
  );
}

/**
 * The codebook of a data-free scheme. Kernels load four words at a time, so it is padded to four.
 */
export function definedCodebook(
  channels: number,
  codeBits: number,
  definition: (headDim: number) => Uint16Array<ArrayBuffer>,
): CodebookSpec {
  return {
    sharedBy: "model",
    words: () => 4 * Math.ceil((2 ** codeBits * channels) / 8),
    definition,
  };
}

const kept = new Map<string, Uint16Array<ArrayBuffer>>();

/** binary16 bits of a codebook, computed once for each name. */
export function storedCentroids(name: string, compute: () => number[]): Uint16Array<ArrayBuffer> {
  let centroids = kept.get(name);
  if (centroids === undefined) kept.set(name, centroids = toFloat16Array(compute()));
  return centroids;
}
