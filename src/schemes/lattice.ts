import { fromFloat8E4M3, fromFloat8E5M3, toFloat8E4M3, toFloat8E5M3 } from "../float8.ts";
import { checkHadamard, hadamard, hadamardInverse } from "../hadamard.ts";
import { recordLayout } from "../record_layout.ts";
import { readBits, readCode, tokenBit, writeBits, writeCode } from "../reference/pack.ts";
import type { Codec } from "../codec.ts";
import type { Scheme, SchemeId } from "../scheme.ts";
import { d4Codebook, e8Codebook } from "./lattice_codebooks.ts";
import { decodeRotated, encodeRotated, storedCentroids } from "./rotated_codes.ts";

const ID = /^u(4|8)b8$/;

/** Tokens whose mean is taken: a page, and the window of NSNQuant. */
const BLOCK = 64;

/** Codebooks by channels a code. Both have 256 points, so that a code is a byte. */
const CODEBOOKS: Readonly<Record<number, () => number[][]>> = { 4: d4Codebook, 8: e8Codebook };

/**
 * Universal codes that need no calibration, after NSNQuant (arXiv 2505.18231 §4): vectors are rotated by a Hadamard matrix,
 * the mean of a block of tokens is taken off each channel, each token's rest is divided by its size, and groups of
 * channels share one code of 8 bits. Keys that come before their rotary embedding lose their mean there and get it then. All
 * models share one codebook, which has a definition in place of a training set.
 *
 * A record is one block: a byte (E4M3) per channel for the mean, a byte (E5M3) per token for the scale, the codes. The
 * scale gives what is decoded the length of what was coded, which serves attention better than least squares would.
 */
export function lattice(id: SchemeId): Scheme | undefined {
  const match = ID.exec(id);
  if (match === null) return undefined;
  const channels = Number(match[1]);
  const codeBits = 8;

  function layout(headDim: number) {
    checkHadamard(id, headDim);
    const metadata = { sharedBits: headDim * 8, tokenBits: 8 };
    return recordLayout(headDim / channels, codeBits, metadata, BLOCK);
  }

  return {
    id,
    channels,
    codeBits,
    block: BLOCK,
    bits: codeBits / channels,
    codebook: "universal",
    centroids: 2 ** codeBits,
    rotated: true,
    layout,

    universalCentroids: () => storedCentroids(id, () => CODEBOOKS[channels]!().flat()),
  };
}

/** Codes as {@linkcode lattice} describes. */
export function latticeCodec({ id, channels, layout }: Scheme): Codec | undefined {
  if (!ID.test(id)) return undefined;
  return {
    encode(vectors, record, _token, { centroids, turn }) {
      const headDim = vectors[0]!.length;
      const own = layout(headDim);
      // Before the rotary embedding, tokens have more in common; the rotation of a mean is the mean of rotations.
      const spread = turn === undefined ? vectors.map(hadamard) : vectors;
      const mean = Float64Array.from({ length: headDim }, (_, channel) => {
        const sum = spread.reduce((total, vector) => total + vector[channel]!, 0);
        const bits = toFloat8E4M3(sum / spread.length);
        writeBits(record, channel * 8, 8, bits);
        return fromFloat8E4M3(bits);
      });
      spread.forEach((vector, token) => {
        const centred = mean.map((value, channel) => vector[channel]! - value);
        const rest = turn === undefined ? centred : hadamard(turn(centred, token, 1));
        const { codes, deviation, codedDeviation } = encodeRotated(rest, centroids, channels);
        const scale = toFloat8E5M3(deviation / codedDeviation);
        writeBits(record, tokenBit(own, token), 8, scale);
        codes.forEach((code, group) => writeCode(own, record, token, group, code));
      });
    },

    decode(record, token, headDim, { centroids, turn }) {
      const own = layout(headDim);
      const codes = Array.from(
        { length: own.codes },
        (_, group) => readCode(own, record, token, group),
      );
      const scale = fromFloat8E5M3(readBits(record, tokenBit(own, token), 8));
      const mean = (channel: number) => fromFloat8E4M3(readBits(record, channel * 8, 8));
      const rest = decodeRotated(codes, centroids, channels).map((value) => value * scale);
      if (turn === undefined) {
        return hadamardInverse(rest.map((value, channel) => value + mean(channel)));
      }
      const centred = turn(hadamardInverse(rest), token, -1);
      return centred.map((value, channel) => value + mean(channel));
    },
  };
}
