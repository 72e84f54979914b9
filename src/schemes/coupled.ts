import { recordLayout, requireMultiple } from "../records/layout.ts";
import { readCode, writeCode } from "../records/pack.ts";
import type { Codec } from "./codec.ts";
import type { OwnScheme, Scheme, SchemeId } from "./scheme.ts";

const ID = /^c(1|2|4|8|16)b([1-9]|1[0-2])$/;

/**
 * Coupled Quantization (CQ, arXiv 2405.03917 §3): `channels` contiguous channels of one head share
 * one code, the index of the nearest of 2^codeBits learned centroids. Ties go to the lowest index.
 */
export function coupled(id: SchemeId): OwnScheme | undefined {
  const match = ID.exec(id);
  if (match === null) return undefined;
  const channels = Number(match[1]);
  const codeBits = Number(match[2]);
  const centroids = 2 ** codeBits;

  function layout(headDim: number) {
    requireMultiple(id, headDim, channels);
    return recordLayout(headDim / channels, codeBits);
  }

  return {
    id,
    family: "coupled",
    channels,
    codeBits,
    block: 1,
    bits: codeBits / channels,
    centroids,
    codebook: "learned",
    codebookSpec: {
      sharedBy: "head",
      // A word for each channel's grid, then a byte for each number.
      words: (headDim) => headDim + (headDim * centroids) / 4,
    },
    positional: false,
    lossless: false,
    layout,
    work: (headDim) => ({ gathers: layout(headDim).codes }),
  };
}

/** Finds the nearest centroids of coupled schemes. */
export function coupledCodec({ channels, centroids: centroidCount, layout }: Scheme): Codec {
  return {
    encode([vector], record, token, { centroids, scale }) {
      const own = layout(vector!.length);
      for (let group = 0; group < own.codes; group++) {
        let best = Infinity;
        let nearest = 0;
        for (let code = 0; code < centroidCount; code++) {
          const at = (group * centroidCount + code) * channels;
          let distance = 0;
          // A sum that exceeds the best one only grows.
          for (let i = 0; i < channels && distance < best; i++) {
            const channel = group * channels + i;
            const difference = (vector![channel]! - centroids[at + i]!) * (scale?.[channel] ?? 1);
            distance += difference * difference;
          }
          if (distance < best) {
            best = distance;
            nearest = code;
          }
        }
        writeCode(own, record, token, group, nearest);
      }
    },

    decode(record, token, headDim, { centroids }) {
      const own = layout(headDim);
      const vector = new Float64Array(headDim);
      for (let group = 0; group < own.codes; group++) {
        const at = (group * centroidCount + readCode(own, record, token, group)) * channels;
        for (let i = 0; i < channels; i++) vector[group * channels + i] = centroids[at + i]!;
      }
      return vector;
    },
  };
}
