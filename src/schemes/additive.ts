import { recordLayout, requireMultiple } from "../records/layout.ts";
import { gridWords, NORM_BITS, NORM_LEVELS } from "./normalisation.ts";
import type { OwnScheme, Scheme, SchemeId } from "./scheme.ts";

const ID = /^(?:(n)|c(?=.*x))(2|4|8|16|32)b(4|8)(?:x(2|4))?$/;

/** Tokens whose mean is taken: a page. */
const BLOCK = 64;

/**
 * Normalised, additive codes: `n<channels>b<bits>x<stages>`. The mean of a block of tokens is
 * subtracted from each channel, and each token's residual is divided by its size. `channels`
 * contiguous channels then share one code for each of `stages` learned codebooks, and their vector
 * is the sum of the centroids (additive quantization, Babenko and Lempitsky, CVPR 2014). `x1` is
 * left out.
 *
 * A record is one block: 4 bits per channel for the mean, 4 per token for the size, the codes. What
 * these bits stand for is learned for each channel and KV head, so that a constant that a model adds
 * to a channel costs nothing.
 *
 * `c<channels>b<bits>x<stages>` adds centroids alone, without mean and size: the ablation.
 */
export function additive(id: SchemeId): OwnScheme | undefined {
  const match = ID.exec(id);
  if (match === null) return undefined;
  const normalised = match[1] !== undefined;
  const channels = Number(match[2]);
  const codeBits = Number(match[3]);
  const stages = Number(match[4] ?? 1);
  const centroids = 2 ** codeBits;

  function layout(headDim: number) {
    requireMultiple(id, headDim, channels);
    const codes = (headDim / channels) * stages;
    if (!normalised) return recordLayout(codes, codeBits);
    requireMultiple(id, headDim, 32 / NORM_BITS);
    const metadata = { sharedBits: NORM_BITS * headDim, tokenBits: NORM_BITS };
    return recordLayout(codes, codeBits, metadata, BLOCK);
  }

  /** Offsets and grids of channels, sizes, the place of the centroids in a quad of words. */
  const headWords = (headDim: number) => headDim * (1 + gridWords(stages)) + NORM_LEVELS / 2 + 4;

  return {
    id,
    family: "additive",
    channels,
    codeBits,
    block: normalised ? BLOCK : 1,
    bits: (codeBits * stages) / channels,
    centroids,
    codebook: "learned",
    codebookSpec: {
      sharedBy: "head",
      stages,
      ...(normalised ? { normalised } : {}),
      words: (headDim) => headWords(headDim) + (headDim * stages * centroids) / 4,
      headWords,
    },
    positional: false,
    lossless: false,
    layout,
    work: (headDim) => ({ gathers: layout(headDim).codes }),
  };
}

/** The width of a beam: twice as many find sums whose errors are 1 to 3 % smaller. */
const WIDTH = 4;

/** Codes of a group that are kept from stage to stage while the best are searched. */
export function beamWidth({ codebookSpec }: Scheme): number {
  return (codebookSpec?.stages ?? 1) > 1 ? WIDTH : 1;
}
