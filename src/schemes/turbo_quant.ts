import { fromFloat16Bits, toFloat16Bits } from "../base/float16.ts";
import { checkHadamard, hadamard, hadamardInverse } from "./hadamard.ts";
import { recordLayout } from "../records/layout.ts";
import { readBits, readCode, tokenBit, writeBits, writeCode } from "../records/pack.ts";
import type { Codec } from "./codec.ts";
import type { OwnScheme, Scheme, SchemeId } from "./scheme.ts";
import { lloydMax } from "./lloyd_max.ts";
import {
  decodeRotated,
  definedCodebook,
  encodeRotated,
  storedCentroids,
} from "./hadamard_codes.ts";

const ID = /^t1b([1-4])$/;

/** Bits of a token's scale: binary16. */
const SCALE_BITS = 16;

/** Tokens of a record: their scales fill one word. */
const RECORD_TOKENS = 2;

/**
 * TurboQuant for least squared error (arXiv 2504.19874 algorithm 1), the baseline of data-free
 * schemes: a vector gets a Hadamard rotation, its size is kept as binary16, and each channel's
 * residual is rounded by the Lloyd-Max quantiser of its distribution. No mean is subtracted, so a
 * constant in some channels, such as a bias, leaves few levels for the others.
 */
export function turboQuant(id: SchemeId): OwnScheme | undefined {
  const match = ID.exec(id);
  if (match === null) return undefined;
  const codeBits = Number(match[1]);

  function layout(headDim: number) {
    checkHadamard(id, headDim);
    const metadata = { sharedBits: 0, tokenBits: SCALE_BITS };
    return recordLayout(headDim, codeBits, metadata, RECORD_TOKENS);
  }

  return {
    id,
    family: "hadamard",
    channels: 1,
    codeBits,
    block: 1,
    bits: codeBits,
    centroids: 2 ** codeBits,
    codebook: "universal",
    codebookSpec: definedCodebook(
      1,
      codeBits,
      (headDim) => storedCentroids(`${id} ${headDim}`, () => lloydMax(headDim, codeBits)),
    ),
    positional: true,
    keyOffsets: () => 0,
    lossless: false,
    layout,
    work: (headDim) => ({ universal: headDim }),
  };
}

/** Codes as {@linkcode turboQuant} describes. */
export function turboQuantCodec({ id, layout }: Scheme): Codec | undefined {
  if (!ID.test(id)) return undefined;
  return {
    encode([vector], record, token, { centroids, turn }) {
      const own = layout(vector!.length);
      const turned = turn?.(vector!, token, 1) ?? vector!;
      const { codes, deviation } = encodeRotated(hadamard(turned), centroids, 1);
      writeBits(record, tokenBit(own, token), SCALE_BITS, toFloat16Bits(deviation));
      codes.forEach((code, channel) => writeCode(own, record, token, channel, code));
    },

    decode(record, token, headDim, { centroids, turn }) {
      const own = layout(headDim);
      const codes = Array.from({ length: headDim }, (_, i) => readCode(own, record, token, i));
      const scale = fromFloat16Bits(readBits(record, tokenBit(own, token), SCALE_BITS));
      const decoded = hadamardInverse(
        decodeRotated(codes, centroids, 1).map((value) => value * scale),
      );
      return turn?.(decoded, token, -1) ?? decoded;
    },
  };
}
