import { CoupletError } from "../errors.ts";
import { fromFloat16Bits, toFloat16Bits } from "../float16.ts";
import { recordLayout } from "../record_layout.ts";
import type { Scheme, SchemeId } from "../scheme.ts";

/** The uncompressed scheme: every channel is its own 16-bit code, its binary16 bits. */
export function half(id: SchemeId): Scheme | undefined {
  if (id !== "f16") return undefined;
  return {
    id,
    channels: 1,
    codeBits: 16,
    block: 1,
    bits: 16,
    centroids: 0,

    layout(headDim) {
      if (headDim % 2 !== 0 || headDim <= 0) {
        throw new CoupletError("shape", {
          what: `Cannot use f16 at head dimension ${headDim}`,
          why: "two channels share a 32-bit word, and the head dimension is not even",
          remedy: "Use an even head dimension",
        });
      }
      return recordLayout(headDim, 16);
    },

    encode(vector) {
      return Uint32Array.from(vector, toFloat16Bits);
    },

    decode(codes) {
      return Float64Array.from(codes, fromFloat16Bits);
    },
  };
}
