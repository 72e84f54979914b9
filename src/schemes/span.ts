/** Schemes for spans: the levels of a channel are shared by all tokens of a span. */
import { fromFloat16Bits, roundToFloat16, toFloat16Bits } from "../base/float16.ts";
import type { Side } from "../model/side.ts";
import { recordLayout } from "../records/layout.ts";
import { readCode, writeCode } from "../records/pack.ts";
import type { Codec, CodingContext } from "./codec.ts";
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

/**
 * The scale and minimum of one channel, binary16. Kernels compute in f32, and decide by exact
 * comparisons.
 */
function fitChannel(numbers: readonly number[], bits: number, side: Side): readonly number[] {
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const range = Math.fround(high - low);
  if (bits > 1) return [nearestQuotient(range, 2 ** bits - 1), roundToFloat16(low) + 0];
  const share = SHARES[side];
  const minimum = Math.fround((1 + share) * low + (1 - share) * high) / 2;
  return [nearestQuotient(Math.fround(share * range), 1), nearestHalf(minimum)];
}

/** The binary16 number nearest to a magnitude divided by `steps`, ties to even, not infinite. */
function nearestQuotient(extent: number, steps: number): number {
  let bits = Math.max(0, toFloat16Bits(extent / steps) - 1);
  const middle = () => (steps * (fromFloat16Bits(bits) + fromFloat16Bits(bits + 1))) / 2;
  while (extent > middle() || (extent === middle() && bits % 2 === 1)) bits++;
  return fromFloat16Bits(bits);
}

/** The binary16 number nearest to one, ties to even; never the negative zero. */
function nearestHalf(number: number): number {
  return Math.sign(number) * nearestQuotient(Math.abs(number), 1) + 0;
}

/** The codec of a scheme for spans. */
export function spanCodec({ codeBits, layout }: Scheme): Codec {
  return {
    fit(vectors, side) {
      const { length } = vectors[0]!;
      return Float64Array.from(
        Array.from(
          { length },
          (_, channel) => fitChannel(vectors.map((vector) => vector[channel]!), codeBits, side),
        ).flat(),
      );
    },

    encode(vectors, record, token, { levels }) {
      vectors.forEach((vector, i) => {
        const own = layout(vector.length);
        for (let channel = 0; channel < vector.length; channel++) {
          const [scale, minimum] = [levels![2 * channel]!, levels![2 * channel + 1]!];
          // Of two equally near levels the higher.
          const code = scale === 0
            ? 0
            : Math.floor(Math.fround(vector[channel]! - minimum) / scale + 0.5);
          const most = 2 ** codeBits - 1;
          writeCode(own, record, token + i, channel, Math.min(Math.max(code, 0), most));
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
