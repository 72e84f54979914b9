import { CoupletError } from "../errors.ts";
import { recordLayout } from "../record_layout.ts";
import type { Scheme, SchemeId } from "../scheme.ts";

const ID = /^c(1|2|4|8|16)b([1-9]|1[0-2])$/;

/**
 * Coupled Quantization (CQ, arXiv 2405.03917 §3): `channels` contiguous channels of one head share one
 * code, the index of the nearest of 2^codeBits learned centroids. Ties go to the lowest index.
 */
export function coupled(id: SchemeId): Scheme | undefined {
  const match = ID.exec(id);
  if (match === null) return undefined;
  const channels = Number(match[1]);
  const codeBits = Number(match[2]);
  const centroidCount = 2 ** codeBits;

  return {
    id,
    channels,
    codeBits,
    block: 1,
    bits: codeBits / channels,
    centroids: centroidCount,

    layout(headDim) {
      if (headDim % channels !== 0 || headDim <= 0) {
        throw new CoupletError("shape", {
          what: `Cannot use ${id} at head dimension ${headDim}`,
          why: `${headDim} channels do not divide into groups of ${channels}`,
          remedy: "Choose a scheme whose channel count divides the head dimension",
        });
      }
      return recordLayout(headDim / channels, codeBits);
    },

    encode(vector, centroids, scale) {
      const codes = new Uint32Array(vector.length / channels);
      for (let group = 0; group < codes.length; group++) {
        let best = Infinity;
        for (let code = 0; code < centroidCount; code++) {
          const at = (group * centroidCount + code) * channels;
          let distance = 0;
          for (let i = 0; i < channels; i++) {
            const channel = group * channels + i;
            const difference = (vector[channel]! - centroids[at + i]!) * (scale?.[channel] ?? 1);
            distance += difference * difference;
          }
          if (distance < best) {
            best = distance;
            codes[group] = code;
          }
        }
      }
      return codes;
    },

    decode(codes, centroids) {
      const vector = new Float64Array(codes.length * channels);
      for (let group = 0; group < codes.length; group++) {
        const at = (group * centroidCount + codes[group]!) * channels;
        for (let i = 0; i < channels; i++) vector[group * channels + i] = centroids[at + i]!;
      }
      return vector;
    },
  };
}
