import { fromFloat16Bits, MAX_FLOAT16, roundToFloat16, toFloat16Bits } from "../base/float16.ts";
import { requireMultiple, sectionedLayout } from "../records/layout.ts";
import { readBits, writeBits } from "../records/pack.ts";
import type { Codec } from "./codec.ts";
import { float16Quotient, levelCode, type Levels, rangeLevels } from "./levels.ts";
import { blockLimits } from "./outliers.ts";
import type { OwnScheme, Scheme, SchemeId } from "./scheme.ts";

/** Tokens of a block: a page. */
const BLOCK = 64;

/** Channels of which the same number is promoted, in each block. */
export function channelsPerPromoted({ bits, codeBits }: Scheme): number {
  return codeBits / (bits - codeBits);
}

/**
 * Channel codes with more bits where they gain most: `kc<bits>p<n>` codes each channel of a block
 * of 64 tokens in `bits` bits, and those of one channel in `n` in twice as many. With 2 bits these
 * are Kitty's keys (arXiv 2511.18643), with 1 bit those of VidKV (arXiv 2503.16257) without its
 * Fourier transform.
 *
 * Promoted are the channels of largest range, as in VidKV, block by block. Kitty takes the largest
 * magnitudes; but what promotion takes off a channel's squared error is proportional to the square
 * of its range. Channels of 1 bit have two levels that are means of the numbers above and below.
 *
 * A record is one block: a bit per channel that says whether it is promoted; scale and minimum of
 * each channel; the lower bits of all channels' codes; the upper bits of the promoted channels'.
 */
export function promoted(id: SchemeId): OwnScheme | undefined {
  const match = /^kc([12])p([248])$/.exec(id);
  if (match === null) return undefined;
  const codeBits = Number(match[1]);
  const one = Number(match[2]);
  return {
    id,
    family: "promoted",
    channels: 1,
    codeBits,
    block: BLOCK,
    bits: codeBits + codeBits / one,
    centroids: 0,
    codebook: "none",
    positional: false,
    lossless: false,
    layout(headDim) {
      requireMultiple(id, headDim, 32);
      return sectionedLayout([
        { name: "promoted", per: "record", count: headDim, bits: 1 },
        { name: "levels", per: "record", count: headDim, bits: 32 },
      ], [
        { name: "codes", per: "token", count: headDim, bits: codeBits },
        { name: "high", per: "token", count: headDim / one, bits: codeBits },
      ], BLOCK);
    },
    work: (headDim) => ({ levels: headDim }),
  };
}

/** Whether each channel is among the `count` of largest range, of equal ones the lower. */
function promotedChannels(ranges: readonly number[], count: number): boolean[] {
  return ranges.map((range, channel) =>
    ranges.filter((other, i) => other > range || (other === range && i < channel)).length < count
  );
}

/** The binary16 number nearest to the mean of numbers, ties to even, never the negative zero. */
function meanOf(numbers: readonly number[]): number {
  // Exact in float64 for the numbers of a block.
  const sum = numbers.reduce((total, number) => total + number, 0);
  return Math.sign(sum) * float16Quotient(Math.abs(sum), numbers.length) + 0;
}

/** Rounds in which two levels move to the means of the numbers nearest to them. */
const ROUNDS = 3;

/** Two levels of small squared error: k-means from the mean (Lloyd, as VidKV has one round). */
function pairLevels(numbers: readonly number[]): Levels {
  let middle = numbers.reduce((total, number) => total + number, 0) / numbers.length;
  let [low, high] = [0, 0];
  for (let round = 0; round < ROUNDS; round++) {
    const below = numbers.filter((number) => number < middle);
    high = meanOf(numbers.filter((number) => number >= middle));
    low = below.length === 0 ? high : meanOf(below);
    middle = (low + high) / 2;
  }
  return { scale: roundToFloat16(Math.min(high - low, MAX_FLOAT16)), minimum: low };
}

/** The codec of a scheme with promoted channels. */
export function promotedCodec(scheme: Scheme): Codec {
  const { codeBits, layout } = scheme;

  /** The first bits of a token's codes, and of their upper bits; upper codes of a token. */
  function places(headDim: number, token: number) {
    const [, levels, codes, high] = layout(headDim).sections;
    return {
      levels: levels!.firstBit,
      codes: codes!.firstBit + token * headDim * codeBits,
      high: high!.firstBit + token * high!.count * codeBits,
      count: high!.count,
    };
  }

  return {
    encode(vectors, record) {
      const headDim = vectors[0]!.length;
      const limits = blockLimits(vectors).channels;
      const { levels: levelsBit, count } = places(headDim, 0);
      const isPromoted = promotedChannels(
        limits.map(({ low, high }) => Math.fround(high - low)), // as kernels subtract
        count,
      );
      let upper = 0;
      limits.forEach(({ low, high }, channel) => {
        const numbers = vectors.map((vector) => vector[channel]!);
        const bits = isPromoted[channel]! ? 2 * codeBits : codeBits;
        const levels = bits === 1
          ? pairLevels(numbers.map((number) => Math.min(Math.max(number, low), high)))
          : rangeLevels({ low, high }, 2 ** bits - 1);
        writeBits(record, channel, 1, Number(isPromoted[channel]));
        writeBits(record, levelsBit + 32 * channel, 16, toFloat16Bits(levels.scale));
        writeBits(record, levelsBit + 32 * channel + 16, 16, toFloat16Bits(levels.minimum));
        numbers.forEach((number, token) => {
          const at = places(headDim, token);
          const code = levelCode(number, levels, 2 ** bits - 1);
          writeBits(record, at.codes + channel * codeBits, codeBits, code);
          if (isPromoted[channel]) {
            writeBits(record, at.high + upper * codeBits, codeBits, code >> codeBits);
          }
        });
        if (isPromoted[channel]) upper++;
      });
    },

    decode(record, token, headDim) {
      const at = places(headDim, token);
      let upper = 0;
      return Float64Array.from({ length: headDim }, (_, channel) => {
        const levelsBit = at.levels + 32 * channel;
        let code = readBits(record, at.codes + channel * codeBits, codeBits);
        if (readBits(record, channel, 1) === 1) {
          code += readBits(record, at.high + upper++ * codeBits, codeBits) << codeBits;
        }
        const scale = fromFloat16Bits(readBits(record, levelsBit, 16));
        return fromFloat16Bits(readBits(record, levelsBit + 16, 16)) + scale * code;
      });
    },
  };
}
