/**
 * Random vectors and codebooks whose distances to one another are exact in f32, so that the nearest centroid is the same
 * one in f32 and in float64, exact ties included.
 */
import { toFloat16Array } from "../../../../src/base/float16.ts";
import {
  type CacheOptions,
  type Codebook,
  type CodebookSet,
  layerShape,
  parseScheme,
  roundToGrid,
  SIDES,
} from "../../../../mod.ts";
import { layerKeys } from "../../../../src/plan/options.ts";
import { keyAnchors } from "../../../../src/model/anchors.ts";
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
  const { keyValueHeads, headDim } = layerShape(shape, 0);
  const codebooks = SIDES.flatMap((side): Codebook[] => {
    const scheme = policy[side];
    const { centroids, channels, codebook, codebookSpec } = parseScheme(scheme);
    if (codebook !== "learned") return [];
    const random = seededRandom(seed, side);
    const { groupsShare: shared = false, stages = 1, normalised = false } = codebookSpec!;
    const rows = keyValueHeads * (shared ? channels : headDim);
    const numbers = new Float32Array(rows * stages * centroids);
    for (let part = 0; part * centroids * channels < numbers.length; part++) {
      const first = part * centroids * channels;
      // Levels that are added are at most 255 together.
      const stage = part % stages;
      const highest = Math.floor((255 * (stage + 1)) / stages) - Math.floor((255 * stage) / stages);
      for (let channel = 0; channel < channels; channel++) {
        const low = (random.below(9) / 8 - 3) / stages;
        for (let i = 0; i < centroids; i++) {
          // The first two are the ends of the levels, so that steps are what they are here.
          const level = i < 2 ? highest * i : random.below(highest + 1);
          numbers[first + i * channels + channel] = low + level / 64;
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
      // Means of multiples of 1/16, and sizes that are powers of two.
      ...(normalised
        ? {
          normalisation: {
            offsets: new Float32Array(rows),
            meanSteps: toFloat16Array(new Float32Array(rows).fill(64 / 16)),
            sizes: toFloat16Array(
              Float32Array.from({ length: 16 * keyValueHeads }, (_, i) => 2 ** (i % 16 - 8)),
            ),
          },
        }
        : {}),
    }];
  });
  const anchors = keyAnchors(layerKeys(keys, 0), headDim);
  return {
    model: { name: "random", digest: `seed ${seed}` },
    keySpace: keys.space,
    ...(anchors && { anchors }),
    provenance: { source: "random numbers", tokens: 0, seed, iterations: 0 },
    codebooks,
  };
}
