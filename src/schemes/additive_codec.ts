import { readBits, readCode, tokenBit, writeBits, writeCode } from "../records/pack.ts";
import type { Codec, CodingContext, Normalisation } from "./codec.ts";
import type { Scheme } from "./scheme.ts";
import { beamWidth } from "./additive.ts";
import { NORM_BITS, NORM_LEVELS } from "./normalisation.ts";

/** The integer of a mean that equals its channel's offset would be this. */
const MIDDLE = (NORM_LEVELS - 1) / 2;

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

  return {
    encode(vectors, record, token, context) {
      const { normalisation, scale, orthogonal = false } = context;
      const headDim = vectors[0]!.length;
      const own = layout(headDim);
      const centroids = scaledCentroids(context, headDim);
      const mean = normalisation === undefined
        ? new Float64Array(headDim)
        : writeMeans(record, normalisation, vectors);
      vectors.forEach((vector, i) => {
        const rest = mean.map((value, channel) =>
          (vector[channel]! - value) * (scale?.[channel] ?? 1)
        );
        const energy = rest.reduce((sum, value) => sum + value * value, 0);
        const nearest = normalisation === undefined ? 0 : sizeOf(energy, headDim, normalisation);
        const size = normalisation?.sizes[nearest] ?? 1;
        let product = 0;
        let square = 0;
        for (let group = 0; group * channels < headDim; group++) {
          const target = rest.subarray(group * channels, (group + 1) * channels);
          const { codes, sum } = search(target, size, centroids, group * stages * count * channels);
          codes.forEach((code, stage) =>
            writeCode(own, record, token + i, group * stages + stage, code)
          );
          sum.forEach((value, channel) => {
            product += target[channel]! * value;
            square += value * value;
          });
        }
        if (normalisation === undefined) return;
        const { sizes } = normalisation;
        const adjusted = orthogonal
          ? orthogonalSize(energy, product, sizes) ?? nearest
          : leastSquaresSize(product, square, sizes);
        writeBits(record, tokenBit(own, token + i), NORM_BITS, adjusted);
      });
    },

    decode(record, token, headDim, { centroids, normalisation }) {
      const own = layout(headDim);
      const size = normalisation?.sizes[readBits(record, tokenBit(own, token), NORM_BITS)] ?? 1;
      return Float64Array.from({ length: headDim }, (_, channel) => {
        const group = Math.floor(channel / channels);
        let sum = 0;
        for (let stage = 0; stage < stages; stage++) {
          const index = group * stages + stage;
          const at = index * count + readCode(own, record, token, index);
          sum += centroids[at * channels + channel % channels]!;
        }
        return sum * size + readMean(record, channel, normalisation);
      });
    },
  };
}

/** How many of the conditions hold, of those between neighbours of {@linkcode NORM_LEVELS}. */
function countBelow(holds: (above: number) => boolean): number {
  let level = 0;
  while (level + 1 < NORM_LEVELS && holds(level + 1)) level++;
  return level;
}

/** Writes the mean of each channel over the vectors, and returns it as it will be read. */
function writeMeans(
  record: Uint32Array,
  normalisation: Normalisation,
  vectors: readonly ArrayLike<number>[],
): Float64Array<ArrayBuffer> {
  return Float64Array.from({ length: vectors[0]!.length }, (_, channel) => {
    const offset = normalisation.offsets[channel]!;
    const step = normalisation.meanSteps[channel]!;
    const sum = vectors.reduce((total, vector) => total + vector[channel]!, 0);
    const level = countBelow((above) =>
      sum >= vectors.length * (offset + step * (above - NORM_LEVELS / 2))
    );
    writeBits(record, channel * NORM_BITS, NORM_BITS, level);
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
  return normalisation.offsets[channel]! + normalisation.meanSteps[channel]! * (level - MIDDLE);
}

/** The size nearest to the root mean square of channels of some energy, as a ratio. */
export function sizeOf(
  energy: number,
  headDim: number,
  { sizes }: Pick<Normalisation, "sizes">,
): number {
  return countBelow((above) => energy >= headDim * sizes[above - 1]! * sizes[above]!);
}

/**
 * The size that makes the error orthogonal to the token, or undefined where none does. Centroids
 * are shorter than the vectors they stand for. Beside tokens that are exact, and have their whole
 * length, coded ones would get less of the softmax than is theirs.
 */
function orthogonalSize(
  energy: number,
  product: number,
  sizes: ArrayLike<number>,
): number | undefined {
  if (product <= 0) return undefined;
  return countBelow((above) =>
    energy * energy >= sizes[above - 1]! * sizes[above]! * product * product
  );
}

/** The size of least squared error. */
function leastSquaresSize(product: number, square: number, sizes: ArrayLike<number>): number {
  return countBelow((above) => 2 * product >= (sizes[above - 1]! + sizes[above]!) * square);
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
  interface Beam {
    /** `[width]`: how much of the target's energy is explained, halved. */
    readonly gains: Float64Array;
    /** `[width][stages]`. */
    readonly codes: Uint16Array;
    /** `[width][channels]`. */
    readonly sums: Float64Array;
    kept: number;
  }
  const empty = (): Beam => ({
    gains: new Float64Array(width),
    codes: new Uint16Array(width * stages),
    sums: new Float64Array(width * channels),
    kept: 0,
  });
  let beam = empty();
  let next = empty();
  const rest = new Float64Array(channels);
  const squares = new Float64Array(count);
  const parents = new Uint16Array(width);
  const last = new Uint16Array(width);

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
    beam.kept = 1;
    beam.gains[0] = 0;
    beam.sums.fill(0);
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
          rest[i] = target[i]! - size * beam.sums[parent * channels + i]!;
        }
        for (let code = 0, at = from; code < count; code++) {
          let product = 0;
          for (let i = 0; i < channels; i++, at++) product += rest[i]! * centroids[at]!;
          const gain = beam.gains[parent]! + size * (product - (size / 2) * squares[code]!);
          if (next.kept === width && gain <= next.gains[width - 1]!) continue;
          let place = next.kept === width ? width - 1 : next.kept++;
          for (; place > 0 && gain > next.gains[place - 1]!; place--) {
            next.gains[place] = next.gains[place - 1]!;
            parents[place] = parents[place - 1]!;
            last[place] = last[place - 1]!;
          }
          next.gains[place] = gain;
          parents[place] = parent;
          last[place] = code;
        }
      }
      for (let place = 0; place < next.kept; place++) {
        const parent = parents[place]!;
        for (let before = 0; before < stage; before++) {
          next.codes[place * stages + before] = beam.codes[parent * stages + before]!;
        }
        next.codes[place * stages + stage] = last[place]!;
        const at = from + last[place]! * channels;
        for (let i = 0; i < channels; i++) {
          next.sums[place * channels + i] = beam.sums[parent * channels + i]! + centroids[at + i]!;
        }
      }
      [beam, next] = [next, beam];
    }
    return { codes: beam.codes.subarray(0, stages), sum: beam.sums.subarray(0, channels) };
  };
}
