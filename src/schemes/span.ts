/** Schemes for spans: the levels of a channel are shared by all tokens of a span. */
import type { Side } from "../model/side.ts";
import { recordLayout } from "../records/layout.ts";
import { readCode, writeCode } from "../records/pack.ts";
import type { Codec, CodingContext } from "./codec.ts";
import { float16Quotient, levelCode, type Levels, rangeLevels } from "./levels.ts";
import type { OwnScheme, Scheme, SchemeId } from "./scheme.ts";

/** Tokens of a record: a whole page, because a span is coded at once. */
const RECORD_TOKENS = 64;

/**
 * How far apart the two levels of a scheme of 1 bit are, as a share of the channel's range, about
 * whose middle they lie. Binary fractions, so that f32 is exact on numbers of few bits.
 */
const SHARES: Readonly<Record<Side, number>> = { keys: 1 / 2, values: 5 / 16 };

/**
 * CalibQuant (arXiv 2502.14882 §4): `sc<bits>` codes each channel of a whole span by levels that
 * lie evenly between the channel's smallest and largest number. With 1 bit the two levels are drawn
 * towards each other, as there, but about the middle of the range and not towards zero: a channel
 * may lie on one side of it.
 */
export function span(id: SchemeId): OwnScheme | undefined {
  const match = /^sc([124])$/.exec(id);
  if (match === null) return undefined;
  const codeBits = Number(match[1]);
  return {
    id,
    family: "span",
    channels: 1,
    codeBits,
    block: 1,
    bits: codeBits,
    centroids: 0,
    codebook: "none",
    positional: false,
    lossless: false,
    forSpans: true,
    layout: (headDim) => recordLayout(headDim, codeBits, undefined, RECORD_TOKENS),
    work: (headDim) => ({ levels: headDim }),
  };
}

/** The levels of one channel. Kernels compute in f32, and decide by exact comparisons. */
function fitChannel(numbers: readonly number[], bits: number, side: Side): Levels {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  if (bits > 1) return rangeLevels({ low, high }, 2 ** bits - 1);
  const share = SHARES[side];
  const minimum = Math.fround((1 + share) * low + (1 - share) * high) / 2;
  const extent = Math.fround(share * Math.fround(high - low));
  return { scale: float16Quotient(extent, 1), minimum: nearestHalf(minimum) };
}

/** The binary16 number nearest to one, ties to even; never the negative zero. */
function nearestHalf(number: number): number {
  return Math.sign(number) * float16Quotient(Math.abs(number), 1) + 0;
}

/** The codec of a scheme for spans. */
export function spanCodec({ codeBits, layout }: Scheme): Codec {
  return {
    fit(vectors, side) {
      const { length } = vectors[0]!;
      const fitted = Array.from({ length }, (_, channel) => {
        const numbers = vectors.map((vector) => vector[channel]!);
        const { scale, minimum } = fitChannel(numbers, codeBits, side);
        return [scale, minimum];
      });
      return Float64Array.from(fitted.flat());
    },

    encode(vectors, record, token, { levels }) {
      vectors.forEach((vector, i) => {
        const own = layout(vector.length);
        for (let channel = 0; channel < vector.length; channel++) {
          const [scale, minimum] = [levels![2 * channel]!, levels![2 * channel + 1]!];
          const code = levelCode(vector[channel]!, { scale, minimum }, 2 ** codeBits - 1);
          writeCode(own, record, token + i, channel, code);
        }
      });
    },

    decode(record, token, headDim, { levels }: CodingContext) {
      const own = layout(headDim);
      return Float64Array.from(
        { length: headDim },
        (_, channel) =>
          levels![2 * channel + 1]! + levels![2 * channel]! * readCode(own, record, token, channel),
      );
    },
  };
}
