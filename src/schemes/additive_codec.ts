import { readBits, readCode, tokenBit, writeBits, writeCode } from "../records/pack.ts";
import type { RecordLayout } from "../records/layout.ts";
import type { Codec, CodingContext, Normalisation } from "./codec.ts";
import type { Scheme } from "./scheme.ts";
import { beamWidth } from "./additive.ts";
import { BestSums } from "./best_sums.ts";
import { meanLevel, meanOf, NORM_BITS, sizeLevel } from "./normalisation.ts";

/**
 * The codes of normalised, additive schemes, found by beam search.
 *
 * @param width Sums that are kept from stage to stage.
 */
export function additiveCodec(scheme: Scheme, width: number = beamWidth(scheme)): Codec {
  const { channels, centroids: count, codebookSpec, layout } = scheme;
  const stages = codebookSpec!.stages!;
  const search = beamSearch(channels, count, stages, width);

  /** Centroids in the space of distances, in which channels are weighted by importance. */
  function scaledCentroids(
    { centroids, scale }: CodingContext,
    headDim: number,
  ): ArrayLike<number> {
    if (scale === undefined) return centroids;
    const perChannel = centroids.length / headDim;
    return Float64Array.from(centroids, (value, at) => {
      const first = Math.floor(at / (perChannel * channels)) * channels;
      return value * scale[first + at % channels]!;
    });
  }

  /** What a token's codes stand for in a channel, before its size. */
  function addedCentroids(
    own: RecordLayout,
    record: Uint32Array,
    token: number,
    channel: number,
    centroids: ArrayLike<number>,
  ): number {
    const group = Math.floor(channel / channels);
    let sum = 0;
    for (let stage = 0; stage < stages; stage++) {
      const index = group * stages + stage;
      const at = index * count + readCode(own, record, token, index);
      sum += centroids[at * channels + channel % channels]!;
    }
    return sum;
  }

  return {
    encode(vectors, record, token, context) {
      const { normalisation, scale } = context;
      const headDim = vectors[0]!.length;
      const own = layout(headDim);
      const centroids = scaledCentroids(context, headDim);
      const sums = Float64Array.from(
        { length: headDim },
        (_, channel) => vectors.reduce((sum, vector) => sum + vector[channel]!, 0),
      );
      const mean = writeMeans(record, normalisation, sums, vectors.length);
      vectors.forEach((vector, i) => {
        const rest = mean.map((value, channel) =>
          (vector[channel]! - value) * (scale?.[channel] ?? 1)
        );
        const energy = rest.reduce((sum, value) => sum + value * value, 0);
        const size = normalisation?.sizes[sizeLevel(energy, headDim, normalisation.sizes)] ?? 1;
        let square = 0;
        for (let group = 0; group * channels < headDim; group++) {
          const target = rest.subarray(group * channels, (group + 1) * channels);
          const { codes, sum } = search(target, size, centroids, group * stages * count * channels);
          codes.forEach((code, stage) =>
            writeCode(own, record, token + i, group * stages + stage, code)
          );
          for (const value of sum) square += value * value;
        }
        if (normalisation === undefined) return;
        // Sums are shorter than what they stand for. With this size it keeps its length.
        const kept = sizeLevel(energy, square, normalisation.sizes);
        writeBits(record, tokenBit(own, token + i), NORM_BITS, kept);
        for (let channel = 0; channel < headDim; channel++) {
          sums[channel]! -= normalisation.sizes[kept]! *
            addedCentroids(own, record, token + i, channel, context.centroids);
        }
      });
      // Whatever codes miss on average, the means make up for.
      writeMeans(record, normalisation, sums, vectors.length);
    },

    decode(record, token, headDim, { centroids, normalisation }) {
      const own = layout(headDim);
      const size = normalisation?.sizes[readBits(record, tokenBit(own, token), NORM_BITS)] ?? 1;
      return Float64Array.from({ length: headDim }, (_, channel) => {
        const sum = addedCentroids(own, record, token, channel, centroids);
        return sum * size + readMean(record, channel, normalisation);
      });
    },
  };
}

/**
 * Writes the mean of each channel, where there is one, and returns it as it will be read.
 *
 * @param sums Of `count` numbers of each channel.
 */
function writeMeans(
  record: Uint32Array,
  normalisation: Normalisation | undefined,
  sums: Float64Array<ArrayBuffer>,
  count: number,
): Float64Array<ArrayBuffer> {
  return sums.map((sum, channel) => {
    if (normalisation === undefined) return 0;
    const offset = normalisation.offsets[channel]!;
    const step = normalisation.meanSteps[channel]!;
    writeBits(record, channel * NORM_BITS, NORM_BITS, meanLevel(sum, count, offset, step));
    return readMean(record, channel, normalisation);
  });
}

function readMean(
  record: Uint32Array,
  channel: number,
  normalisation: Normalisation | undefined,
): number {
  if (normalisation === undefined) return 0;
  const level = readBits(record, channel * NORM_BITS, NORM_BITS);
  return meanOf(level, normalisation.offsets[channel]!, normalisation.meanSteps[channel]!);
}

/** The codes of a group, one for each stage, and the sum of their centroids. */
interface Found {
  readonly codes: Uint16Array;
  readonly sum: Float64Array;
}

/**
 * A beam search for the codes of one group: of all sums of the stages so far, the `width` best are
 * kept. Ties go to what comes first, in the order of the beam and then of the codes.
 */
function beamSearch(channels: number, count: number, stages: number, width: number) {
  const best = [new BestSums(width), new BestSums(width)];
  // Of the sums so far, and of those that extend them.
  let codes = new Uint16Array(width * stages);
  let nextCodes = codes.slice();
  let sums = new Float64Array(width * channels);
  let nextSums = sums.slice();
  const rest = new Float64Array(channels);
  const squares = new Float64Array(count);

  /**
   * @param target `[channels]`.
   * @param size What sums are multiplied by.
   * @param centroids All numbers; those of the group begin at `first`.
   */
  return (
    target: ArrayLike<number>,
    size: number,
    centroids: ArrayLike<number>,
    first: number,
  ): Found => {
    let [beam, next] = best as [BestSums, BestSums];
    beam.kept = 1;
    beam.gains[0] = 0;
    sums.fill(0);
    for (let stage = 0; stage < stages; stage++) {
      const from = first + stage * count * channels;
      for (let code = 0, at = from; code < count; code++) {
        let square = 0;
        for (let i = 0; i < channels; i++, at++) square += centroids[at]! * centroids[at]!;
        squares[code] = square;
      }
      next.kept = 0;
      for (let parent = 0; parent < beam.kept; parent++) {
        for (let i = 0; i < channels; i++) {
          rest[i] = target[i]! - size * sums[parent * channels + i]!;
        }
        for (let code = 0, at = from; code < count; code++) {
          let product = 0;
          for (let i = 0; i < channels; i++, at++) product += rest[i]! * centroids[at]!;
          const gain = beam.gains[parent]! + size * (product - (size / 2) * squares[code]!);
          next.offer(gain, parent, code);
        }
      }
      for (let place = 0; place < next.kept; place++) {
        const parent = next.parents[place]!;
        const code = next.codes[place]!;
        for (let before = 0; before < stage; before++) {
          nextCodes[place * stages + before] = codes[parent * stages + before]!;
        }
        nextCodes[place * stages + stage] = code;
        for (let i = 0; i < channels; i++) {
          nextSums[place * channels + i] = sums[parent * channels + i]! +
            centroids[from + code * channels + i]!;
        }
      }
      [beam, next] = [next, beam];
      [codes, nextCodes] = [nextCodes, codes];
      [sums, nextSums] = [nextSums, sums];
    }
    return { codes: codes.subarray(0, stages), sum: sums.subarray(0, channels) };
  };
}
