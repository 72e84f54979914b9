/** Codebooks that only times are measured with. */
import { type CodebookSet, layerHeads, parseScheme, type PlanOptions, SIDES } from "../../mod.ts";
import { seededRandom } from "../../src/base/random.ts";
import { toFloat16Array } from "../../src/base/float16.ts";

/** Channels of vectors and centroids lie within this distance of 0. */
export const CHANNEL_RANGE = 2;

/**
 * Random codebooks of every layer, the same in each: encoding and attending take as long with these as with learned
 * ones.
 */
export function randomCodebooks({ shape, policy, keys }: PlanOptions): CodebookSet {
  const { layers, headDim } = shape;
  const codebooks = SIDES.flatMap((side) => {
    const scheme = policy[side];
    const { centroids, channels: ofCode, codebook, codebookSpec } = parseScheme(scheme);
    if (codebook !== "learned") return [];
    const random = seededRandom(side, scheme);
    const keyValueHeads = layerHeads(shape, 0);
    const shared = codebookSpec?.groupsShare === true;
    const channels = keyValueHeads * (shared ? ofCode : headDim);
    const own = {
      side,
      scheme,
      keyValueHeads,
      headDim,
      centroids: Uint8Array.from({ length: channels * centroids }, () => random.below(256)),
      // The lowest level of each channel's grid, and what 64 steps of it add.
      grid: toFloat16Array(
        Float32Array.from(
          { length: 2 * channels },
          (_, i) => i % 2 === 0 ? -CHANNEL_RANGE : 64 * 2 * CHANNEL_RANGE / 255,
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
    };
    return Array.from({ length: layers }, (_, layer) => ({ ...own, layer }));
  });
  return {
    model: { name: "random", digest: "random" },
    keySpace: keys.space,
    provenance: { source: "random", tokens: 0, seed: 0, iterations: 0 },
    codebooks,
  };
}
