import { coupled } from "./coupled.ts";
import { checkHadamard } from "./hadamard.ts";
import type { OwnScheme, SchemeId } from "./scheme.ts";

const ID = /^v(4b(8|10)|8b(8|10|12))$/;

/**
 * VecInfer (arXiv 2510.06175 §3): channels are divided by smoothing factors, a Hadamard rotation
 * spreads what is left of their differences, and `channels` contiguous channels share one code, the
 * index of the nearest of 2^codeBits learned centroids. All groups of a KV head share them, so a
 * codebook is 1 to 8 KiB. Queries get the inverse transform once, and scores need no other change.
 *
 * Records are those of `c<channels>b<bits>`. Beyond the paper, factors are signed powers of two, a
 * mean is subtracted after the rotation, and values may be transformed as well; `calibrate()`
 * chooses what suits each KV head. Keys before their rotary embedding are coded with it.
 */
export function vecInfer(id: SchemeId): OwnScheme | undefined {
  const like = ID.test(id) ? coupled(`c${id.slice(1)}` as SchemeId) : undefined;
  if (like === undefined) return undefined;
  const { channels, centroids } = like;
  return {
    ...like,
    id,
    family: "vecinfer",
    codebookSpec: {
      sharedBy: "head",
      groupsShare: true,
      // A word for each channel's transform and for each grid, then a byte for each number.
      words: (headDim) => headDim + channels + (channels * centroids) / 4,
    },
    positional: true,
    layout(headDim) {
      checkHadamard(id, headDim);
      return like.layout(headDim);
    },
  };
}
