import type { CalibrationSamples } from "@couplet/kv";
import {
  blockMeans,
  blocksOf,
  learnMeans,
  onGrid,
} from "../../src/calibrate/normalised_samples.ts";
import { hadamard, hadamardInverse } from "../../src/schemes/hadamard.ts";

/** Tokens whose mean is subtracted: a page. */
const BLOCK = 64;

/**
 * What is done to vectors before a scheme codes them, and undone afterwards: steps of what a scheme does itself, or that it
 * could do.
 *
 * - `offset`: the mean of each channel over the samples is subtracted
 * - `mean`: the mean of each channel over a block of tokens is, in 4 bits, as normalised schemes store it
 * - `hadamard`: channels are mixed by a Hadamard rotation
 */
export const VECTOR_SPACES = ["offset", "mean", "hadamard"] as const;

/** One of {@linkcode VECTOR_SPACES}. */
export type VectorSpace = (typeof VECTOR_SPACES)[number];

/** The two ways between vectors of one KV head and the space. */
export interface HeadSpace {
  /**
   * Vectors in the space, and the way back for vectors in their places.
   *
   * @param positions Those of tokens of several sequences; absent where they are of one.
   */
  enter(vectors: readonly Float64Array[], positions?: ArrayLike<number>): {
    readonly inside: readonly Float64Array[];
    leave(vector: Float64Array, token: number): Float64Array;
  };
}

/** The space of one layer's and side's vectors, by KV head, learned from samples. */
export function learnSpace(kind: VectorSpace, samples: CalibrationSamples): readonly HeadSpace[] {
  const { keyValueHeads } = samples;
  return Array.from({ length: keyValueHeads }, (_, head): HeadSpace => {
    if (kind === "hadamard") {
      return {
        enter: (vectors) => ({ inside: vectors.map(hadamard), leave: hadamardInverse }),
      };
    }
    const vectors = headVectors(samples, head);
    const blocks = kind === "offset"
      ? vectors.map(() => 0)
      : blocksOf(vectors.length, samples.positions, BLOCK);
    const grids = learnMeans(blockMeans(vectors, blocks));
    return {
      enter(vectors, positions) {
        const blocks = blocksOf(vectors.length, positions, BLOCK);
        const coded = blockMeans(vectors, blocks).map((mean) =>
          grids.map((grid, channel) => onGrid(mean[channel]!, grid))
        );
        const meanOf = (token: number) => coded[blocks[token]!]!;
        return {
          inside: vectors.map((vector, token) =>
            vector.map((value, i) => value - meanOf(token)[i]!)
          ),
          leave: (vector, token) => vector.map((value, i) => value + meanOf(token)[i]!),
        };
      },
    };
  });
}

/** The samples in their space, for learning. A rotation mixes channels, whose weights then are one for all. */
export function samplesInSpace(
  kind: VectorSpace,
  spaces: readonly HeadSpace[],
  samples: CalibrationSamples,
): CalibrationSamples {
  const { keyValueHeads, headDim, weights } = samples;
  const values = new Float32Array(samples.values.length);
  spaces.forEach((space, head) => {
    const { inside } = space.enter(headVectors(samples, head), samples.positions);
    inside.forEach((vector, token) => values.set(vector, (token * keyValueHeads + head) * headDim));
  });
  if (kind !== "hadamard" || weights === undefined) return { ...samples, values };
  const ofVectors = new Float32Array(weights.length / headDim);
  weights.forEach((weight, i) => ofVectors[Math.floor(i / headDim)]! += weight);
  return { ...samples, values, weights: ofVectors };
}

/** One KV head's vectors, `[tokens]` of `[headDim]`. */
export function headVectors(
  { values, keyValueHeads, headDim }: {
    readonly values: ArrayLike<number>;
    readonly keyValueHeads: number;
    readonly headDim: number;
  },
  head: number,
): Float64Array[] {
  return Array.from({ length: values.length / (keyValueHeads * headDim) }, (_, token) => {
    const at = (token * keyValueHeads + head) * headDim;
    return Float64Array.from({ length: headDim }, (_, i) => values[at + i]!);
  });
}
