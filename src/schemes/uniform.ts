/** Uniform quantisation: the codec, and the record. */
import { fromFloat16Bits, toFloat16Bits } from "../base/float16.ts";
import { type RecordLayout, recordLayout, requireMultiple } from "../records/layout.ts";
import { readBits, readCode, tokenBit, writeBits, writeCode } from "../records/pack.ts";
import type { Codec } from "./codec.ts";
import type { OwnScheme, Scheme, SchemeId } from "./scheme.ts";
import { float16Quotient, levelCode, type Levels, rangeLevels } from "./levels.ts";
import { blockLimits, type ChannelLimits } from "./outliers.ts";

/** Numbers that share a scale, unless a whole head does. */
const GROUP = 32;

/**
 * The uniform quantisation of each group of numbers: code `c` stands for `minimum + scale * (c -
 * zero)`. Scale and minimum are binary16.
 */
export interface UniformLevels {
  /**
   * What a group is.
   *
   * - `tokens`: 32 consecutive tokens of one channel, which are a block
   * - `channels`: 32 consecutive channels of one token
   * - `head`: all channels of one token
   */
  readonly group: "tokens" | "channels" | "head";
  /**
   * The span that the scale divides into `steps`.
   *
   * - `range`: from the group's smallest number, which is kept as the minimum, to its largest
   * - `magnitude`: from 0 to the largest magnitude, without a minimum
   * - `extreme`: the same, but the scale has the sign that puts the number of largest magnitude at
   *   the lowest code; of two equally large, the negative one
   */
  readonly span: "range" | "magnitude" | "extreme";
  /** Scales in the span. */
  readonly steps: number;
  /** The code of `minimum`, or of 0 where there is none. */
  readonly zero: number;
}

/** Data of this family's schemes. */
const levelsOfSchemes = /* @__PURE__ */ new WeakMap<Scheme, UniformLevels>();

/** The levels of a scheme that {@linkcode levelScheme} made. */
export function uniformLevels(scheme: Scheme): UniformLevels {
  return levelsOfSchemes.get(scheme)!;
}

/** Numbers of a group. */
export function groupNumbers({ group }: UniformLevels, headDim: number): number {
  return group === "head" ? headDim : GROUP;
}

/** The levels of a group whose numbers lie between two of them. */
function levelsOf(
  { span, steps }: UniformLevels,
  { low, high }: ChannelLimits,
): Levels {
  if (span === "range") return rangeLevels({ low, high }, steps);
  const magnitude = float16Quotient(Math.max(-low, high), steps);
  return { scale: span === "extreme" && high > -low ? -magnitude : magnitude, minimum: 0 };
}

/** Bits of a group's scale, and of its minimum where there is one. */
function groupBitsOf({ span }: UniformLevels): number {
  return span === "range" ? 32 : 16;
}

/**
 * A scheme of uniform quantisation, which needs no codebook. A record has each group's scale, with
 * the minimum, if any, in its upper half word, channel by channel or token by token, and then the
 * codes.
 *
 * Codes are reproducible: scale and minimum are rounded to binary16 first, and then each number
 * gets the level nearest to it. Where a group is a channel of a block, a number far from all others
 * is excluded from the range, and gets the last level.
 */
export function levelScheme(id: SchemeId, codeBits: number, levels: UniformLevels): OwnScheme {
  const { group } = levels;
  const block = group === "tokens" ? GROUP : 1;
  const groupBits = groupBitsOf(levels);

  function layout(headDim: number): RecordLayout {
    requireMultiple(id, headDim, GROUP);
    const metadata = group === "tokens"
      ? { sharedBits: headDim * groupBits, tokenBits: 0 }
      : { sharedBits: 0, tokenBits: (headDim / groupNumbers(levels, headDim)) * groupBits };
    return recordLayout(headDim, codeBits, metadata, block);
  }

  const scheme: OwnScheme = {
    id,
    family: "uniform",
    channels: 1,
    codeBits,
    block,
    bits: codeBits,
    centroids: 0,
    codebook: "none",
    positional: false,
    // Channels that share a scale share its levels.
    ...(group === "tokens" ? {} : { keyOffsets: () => 0 }),
    lossless: false,
    layout,
    work: (headDim) => ({ levels: headDim }),
  };
  levelsOfSchemes.set(scheme, levels);
  return scheme;
}

/** The codec of a scheme of uniform quantisation. */
export function levelsCodec(scheme: Scheme): Codec {
  const { codeBits, layout } = scheme;
  const levels = uniformLevels(scheme);
  const { group, span, zero } = levels;
  const groupBits = groupBitsOf(levels);

  /** The bit at which the metadata of the group of a number begin; `width` channels are a group. */
  function groupBit(own: RecordLayout, width: number, token: number, channel: number): number {
    return group === "tokens"
      ? channel * groupBits
      : tokenBit(own, token) + Math.floor(channel / width) * groupBits;
  }

  return {
    encode(vectors, record, token) {
      const headDim = vectors[0]!.length;
      const own = layout(headDim);
      const width = group === "tokens" ? 1 : groupNumbers(levels, headDim);
      const limits = group === "tokens" ? blockLimits(vectors).channels : undefined;
      for (let first = 0; first < headDim; first += width) {
        const numbers = vectors.flatMap((vector) =>
          Array.from({ length: width }, (_, i) => vector[first + i]!)
        );
        const { scale, minimum } = levelsOf(
          levels,
          limits?.[first] ?? { low: Math.min(...numbers), high: Math.max(...numbers) },
        );
        const bit = groupBit(own, width, token, first);
        writeBits(record, bit, 16, toFloat16Bits(scale));
        if (span === "range") writeBits(record, bit + 16, 16, toFloat16Bits(minimum));
        numbers.forEach((number, i) => {
          const code = levelCode(number, { scale, minimum }, 2 ** codeBits - 1, zero);
          writeCode(own, record, token + Math.floor(i / width), first + i % width, code);
        });
      }
    },

    decode(record, token, headDim) {
      const own = layout(headDim);
      const width = groupNumbers(levels, headDim);
      return Float64Array.from({ length: headDim }, (_, channel) => {
        const bit = groupBit(own, width, token, channel);
        const scale = fromFloat16Bits(readBits(record, bit, 16));
        const minimum = span === "range" ? fromFloat16Bits(readBits(record, bit + 16, 16)) : 0;
        return minimum + scale * (readCode(own, record, token, channel) - zero);
      });
    },
  };
}
