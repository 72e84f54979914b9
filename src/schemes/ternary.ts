import { fromFloat8E4M3, fromFloat8E5M3, toFloat8E4M3, toFloat8E5M3 } from "../base/float8.ts";
import { recordLayout, requireMultiple } from "../records/layout.ts";
import { readBits, readCode, writeBits, writeCode } from "../records/pack.ts";
import type { Codec } from "./codec.ts";
import { float16Quotient } from "./levels.ts";
import { blockLimits, limited } from "./outliers.ts";
import type { OwnScheme, Scheme, SchemeId } from "./scheme.ts";

/** Tokens of a block: a page. */
const BLOCK = 64;

/** Channels that share a code. */
const CHANNELS = 8;

/** Bits of a code: 3^8 fits 2^13. */
const CODE_BITS = 13;

/**
 * Ternary channel codes, `zc3`: each channel of a block of 64 tokens has a mean and a scale, and
 * each number is `mean - scale`, `mean` or `mean + scale`. These are VidKV's values (arXiv
 * 2503.16257) with the scale of least squared error, where the paper has the mean magnitude of all
 * numbers, and with a mean.
 *
 * A record is one block: a byte for the scale (E5M3) and one for the mean (E4M3) of each channel,
 * then a code of 13 bits for every 8 channels of a token.
 */
export function ternary(id: SchemeId): OwnScheme | undefined {
  if (id !== "zc3") return undefined;
  return {
    id,
    family: "ternary",
    channels: CHANNELS,
    codeBits: CODE_BITS,
    block: BLOCK,
    bits: CODE_BITS / CHANNELS,
    centroids: 0,
    codebook: "none",
    positional: false,
    lossless: false,
    layout(headDim) {
      requireMultiple(id, headDim, 2 * CHANNELS);
      const metadata = { sharedBits: headDim * 16, tokenBits: 0 };
      return recordLayout(headDim / CHANNELS, CODE_BITS, metadata, BLOCK);
    },
    work: (headDim) => ({ levels: headDim }),
  };
}

/** How many numbers eight digits to base 3 have. */
const NUMBERS = 6561;

/**
 * The code of eight digits to base 3, the most significant first, chosen so that decoding needs no
 * division: the number as a fraction of all, rounded up to 13 bits.
 */
export function packTrits(trits: readonly number[]): number {
  const number = trits.reduce((sum, trit) => 3 * sum + trit, 0);
  return Math.ceil((number * 2 ** CODE_BITS) / NUMBERS);
}

/** The inverse of {@linkcode packTrits}: the fraction, times 3 again and again. */
export function unpackTrits(code: number): number[] {
  let rest = code;
  return Array.from({ length: CHANNELS }, () => {
    rest *= 3;
    const trit = rest >> CODE_BITS;
    rest %= 2 ** CODE_BITS;
    return trit;
  });
}

/** The bits (E4M3) of the mean of numbers; their sum is exact in float64. */
function meanBits(numbers: readonly number[]): number {
  const sum = numbers.reduce((total, number) => total + number, 0);
  // Of a 256th, because that is what is rounded.
  const part = float16Quotient(Math.abs(sum), 256 * numbers.length);
  return toFloat8E4M3(256 * part * (sum < 0 ? -1 : 1));
}

/**
 * The bits (E5M3) of the scale of least squared error. If the `m` numbers of largest magnitude are
 * coded as one scale and the others as 0, the best scale is their mean magnitude, `sum / m`, and
 * squared error falls by `sum ** 2 / m`: all `m` are compared, and the least of equally good ones
 * is taken.
 */
function scaleBits(numbers: readonly number[]): number {
  const magnitudes = numbers.map(Math.abs).sort((a, b) => b - a);
  let sum = 0;
  let [best, count] = [0, 1];
  magnitudes.forEach((magnitude, i) => {
    sum += magnitude;
    if (sum * sum * count > best * best * (i + 1)) [best, count] = [sum, i + 1];
  });
  return toFloat8E5M3(float16Quotient(best, count));
}

/** The digit of a number, of which the mean is subtracted; of equally near levels, the mean. */
function tritOf(number: number, scale: number): number {
  return 1 + Number(2 * number > scale) - Number(2 * number < -scale);
}

/** The codec of the scheme. */
export function ternaryCodec({ layout }: Scheme): Codec {
  return {
    encode(vectors, record) {
      const headDim = vectors[0]!.length;
      const own = layout(headDim);
      const { channels } = blockLimits(vectors);
      const kept = vectors.map((vector) => limited(vector, channels));
      const trits = Array.from({ length: headDim }, (_, channel) => {
        const numbers = kept.map((vector) => vector[channel]!);
        const mean = meanBits(numbers);
        const rest = numbers.map((number) => Math.fround(number - fromFloat8E4M3(mean)));
        const scale = scaleBits(rest);
        writeBits(record, 16 * channel, 16, scale | (mean << 8));
        const stored = fromFloat8E5M3(scale);
        return rest.map((number) => stored === 0 ? 1 : tritOf(number, stored));
      });
      vectors.forEach((_, token) => {
        for (let code = 0; code < own.codes; code++) {
          const digits = trits.slice(CHANNELS * code, CHANNELS * (code + 1));
          writeCode(own, record, token, code, packTrits(digits.map((digit) => digit[token]!)));
        }
      });
    },

    decode(record, token, headDim) {
      const own = layout(headDim);
      const trits = Array.from(
        { length: own.codes },
        (_, code) => unpackTrits(readCode(own, record, token, code)),
      ).flat();
      return Float64Array.from(trits, (trit, channel) => {
        const scale = fromFloat8E5M3(readBits(record, 16 * channel, 8));
        return fromFloat8E4M3(readBits(record, 16 * channel + 8, 8)) + scale * (trit - 1);
      });
    },
  };
}
