/**
 * Random vectors and codebooks whose distances to one another are exact in f32, so that the nearest centroid is the same
 * one in f32 and in float64, exact ties included.
 */
import { toFloat16Array } from "../../../../src/base/float16.ts";
import {
  type CacheOptions,
  type Codebook,
  type CodebookSet,
  layerHeads,
  parseScheme,
  roundToGrid,
  SIDES,
} from "../../../../mod.ts";
import { type Random, seededRandom } from "../../../../src/base/random.ts";

/** Multiples of 1/32 up to 3. */
export function exactVectors(random: Random, length: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length }, () => (random.below(193) - 96) / 32);
}

/** Queries, small enough that no single token takes all of the softmax. */
export function exactQueries(random: Random, length: number): Float32Array<ArrayBuffer> {
  return exactVectors(random, length).map((value) => value / 4);
}

/** Codebooks of multiples of 1/64 up to 3, for every side and scheme of a policy that has learned ones. */
export function exactCodebooks(
  { shape, policy, keys }: Pick<CacheOptions, "shape" | "policy" | "keys">,
  seed: number,
): CodebookSet {
  const { headDim } = shape;
  const codebooks = SIDES.flatMap((side): Codebook[] => {
    const scheme = policy[side];
    const { centroids, channels, codebook, codebookSpec } = parseScheme(scheme);
    if (codebook !== "learned") return [];
    const keyValueHeads = layerHeads(shape, 0);
    const random = seededRandom(seed, side);
    const shared = codebookSpec?.groupsShare === true;
    const numbers = new Float32Array(keyValueHeads * (shared ? channels : headDim) * centroids);
    for (let group = 0; group < numbers.length; group += centroids * channels) {
      for (let channel = 0; channel < channels; channel++) {
        const low = random.below(9) / 8 - 3;
        for (let i = 0; i < centroids; i++) {
          // The first two are the ends of a grid of 256 levels, whose steps are then what they are here.
          const level = i < 2 ? 255 * i : random.below(256);
          numbers[group + i * channels + channel] = low + level / 64;
        }
      }
    }
    return [{
      layer: 0,
      side,
      scheme,
      keyValueHeads,
      headDim,
      ...roundToGrid(numbers, scheme),
      // Factors of 1 and 2, so that heads are rotated, and means of 0.
      ...(shared
        ? {
          transform: toFloat16Array(
            Float32Array.from(
              { length: 2 * keyValueHeads * headDim },
              (_, i) => i % 2 === 1 ? 0 : 1 + random.below(2),
            ),
          ),
        }
        : {}),
    }];
  });
  return {
    model: { name: "random", digest: `seed ${seed}` },
    keySpace: keys.space,
    provenance: { source: "random numbers", tokens: 0, seed, iterations: 0 },
    codebooks,
  };
}
