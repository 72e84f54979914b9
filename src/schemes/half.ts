import { finiteFloat16Bits, fromFloat16Bits } from "../base/float16.ts";
import { recordLayout, requireMultiple } from "../records/layout.ts";
import { readCode, writeCode } from "../records/pack.ts";
import type { Codec } from "./codec.ts";
import type { OwnScheme, Scheme, SchemeId } from "./scheme.ts";

/** The uncompressed scheme: every channel is its own 16-bit code, its binary16 bits. */
export function half(id: SchemeId): OwnScheme | undefined {
  if (id !== "f16") return undefined;
  function layout(headDim: number) {
    requireMultiple(id, headDim, 2);
    return recordLayout(headDim, 16);
  }

  return {
    id,
    family: "half",
    channels: 1,
    codeBits: 16,
    block: 1,
    bits: 16,
    centroids: 0,
    codebook: "none",
    positional: false,
    lossless: true,
    layout,
    // The cost of unpacking f16 was fitted as well, and is 0.
    work: () => ({}),
  };
}

/** Rounds to binary16. */
export function halfCodec({ layout }: Scheme): Codec {
  return {
    encode([vector], record, token) {
      const own = layout(vector!.length);
      for (let i = 0; i < own.codes; i++) {
        writeCode(own, record, token, i, finiteFloat16Bits(vector![i]!));
      }
    },

    decode(record, token, headDim) {
      const own = layout(headDim);
      return Float64Array.from(
        { length: headDim },
        (_, i) => fromFloat16Bits(readCode(own, record, token, i)),
      );
    },
  };
}
