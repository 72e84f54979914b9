/** Codebooks that only times are measured with. */
import { type CodebookSet, layerShape, parseScheme, type PlanOptions, SIDES } from "../../mod.ts";
import { layerKeys } from "../../src/plan/options.ts";
import { seededRandom } from "../../src/base/random.ts";
import { toFloat16Array } from "../../src/base/float16.ts";
import { gridNumbers } from "../../src/codebooks/device.ts";
import { keyAnchors } from "../../src/model/anchors.ts";
import { NORM_LEVELS } from "../../src/schemes/normalisation.ts";

/** Channels of vectors and centroids lie within this distance of 0. */
export const CHANNEL_RANGE = 2;

/**
 * Random codebooks of every layer, the same in each: encoding and attending take as long with these as with learned
 * ones.
 */
export function randomCodebooks({ shape, policy, keys }: PlanOptions): CodebookSet {
  const { layers } = shape;
  const { keyValueHeads, headDim } = layerShape(shape, 0);
  const codebooks = SIDES.flatMap((side) => {
    const scheme = policy[side];
    const parsed = parseScheme(scheme);
    const { centroids, channels: ofCode, codebook, codebookSpec } = parsed;
    if (codebook !== "learned") return [];
    const random = seededRandom(side, scheme);
    const { groupsShare: shared = false, stages = 1, normalised = false } = codebookSpec!;
    const channels = keyValueHeads * (shared ? ofCode : headDim);
    const numbers = gridNumbers(parsed);
    const own = {
      side,
      scheme,
      keyValueHeads,
      headDim,
      centroids: Uint8Array.from(
        { length: channels * stages * centroids },
        () => random.below(Math.floor(256 / stages)),
      ),
      // The lowest levels of each channel's grid, and what 64 steps of it add.
      grid: toFloat16Array(
        Float32Array.from(
          { length: numbers * channels },
          (_, i) =>
            (i + 1) % numbers === 0 ? 64 * 2 * CHANNEL_RANGE / 255 : -CHANNEL_RANGE / stages,
        ),
      ),
      // Factors of 1, so that heads are rotated, and means of 0.
      ...(shared
        ? {
          transform: toFloat16Array(
            Float32Array.from({ length: 2 * keyValueHeads * headDim }, (_, i) => 1 - i % 2),
          ),
        }
        : {}),
      // Sizes of 1, and means next to 0.
      ...(normalised
        ? {
          normalisation: {
            offsets: new Float32Array(channels),
            meanSteps: toFloat16Array(new Float32Array(channels).fill(1)),
            sizes: toFloat16Array(new Float32Array(NORM_LEVELS * keyValueHeads).fill(1)),
          },
        }
        : {}),
    };
    return Array.from({ length: layers }, (_, layer) => ({ ...own, layer }));
  });
  const anchors = keyAnchors(layerKeys(keys, 0), headDim);
  return {
    model: { name: "random", digest: "random" },
    keySpace: keys.space,
    ...(anchors && { anchors }),
    provenance: { source: "random", tokens: 0, seed: 0, iterations: 0 },
    codebooks,
  };
}
