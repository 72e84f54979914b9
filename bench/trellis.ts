/**
 * Whether trellis codes would serve data-free schemes better than lattices do: the error of a bitshift trellis (QTIP,
 * arXiv 2406.11235 §3) beside those of `u8b8` and `u4b8`, on Gaussian channels, which Hadamard-rotated vectors are close
 * to. In float64, by exhaustive search.
 */
import { type Random, seededRandom } from "../src/base/random.ts";
import { parseScheme, type SchemeId } from "../mod.ts";
import { fromFloat16Array } from "../src/base/float16.ts";
import { normal } from "../tests/helpers/normal.ts";

/** Bits of a state, with which exhaustive search still takes seconds. */
const STATE_BITS = 10;

const VECTORS = 1000;
const DIMENSIONS: readonly number[] = [64, 128];

/** Schemes of lattice points by bits per channel. */
const LATTICES = { 1: "u8b8", 2: "u4b8" } as const satisfies Record<number, SchemeId>;

/**
 * A trellis whose state is the last bits of a code: each channel shifts some more in, and its number is the state's.
 * What a channel stands for thus depends on the bits of several channels, and decoding needs no search.
 */
export interface Trellis {
  readonly stateBits: number;
  /** Bits that a channel takes. */
  readonly bits: number;
  /** `[2^stateBits]`. */
  readonly numbers: Float64Array;
}

/** A trellis for Gaussian channels of variance 1: their quantiles, in random order. */
export function gaussianTrellis(stateBits: number, bits: number, random: Random): Trellis {
  const states = 2 ** stateBits;
  const numbers = Float64Array.from(
    { length: states },
    (_, i) => gaussianQuantile((i + 0.5) / states),
  );
  for (let i = states - 1; i > 0; i--) {
    const other = random.below(i + 1);
    [numbers[i], numbers[other]] = [numbers[other]!, numbers[i]!];
  }
  return { stateBits, bits, numbers };
}

/** The states nearest to a vector, and their squared error. */
export interface TrellisPath {
  /** `[channels]`. */
  readonly states: Uint16Array;
  readonly error: number;
}

/**
 * The best of all paths (Viterbi).
 *
 * @param seam The last bits of both the state before the first channel and the last one's, all but the oldest `bits`.
 * Defaults to any, which need not be alike.
 */
export function searchTrellis(
  vector: ArrayLike<number>,
  { stateBits, bits, numbers }: Trellis,
  seam?: number,
): TrellisPath {
  const states = numbers.length;
  const shared = stateBits - bits;
  const fits = (state: number) => seam === undefined || state % 2 ** shared === seam;
  let errors = Float64Array.from({ length: states }, (_, state) => fits(state) ? 0 : Infinity);
  let next = new Float64Array(states);
  // The bits that leave a state as it is entered.
  const left = Array.from({ length: vector.length }, () => new Uint8Array(states));
  for (let channel = 0; channel < vector.length; channel++) {
    for (let state = 0; state < states; state++) {
      let least = Infinity;
      for (let old = 0; old < 2 ** bits; old++) {
        const error = errors[(state >> bits) + (old << shared)]!;
        if (error < least) {
          least = error;
          left[channel]![state] = old;
        }
      }
      next[state] = least + (vector[channel]! - numbers[state]!) ** 2;
    }
    [errors, next] = [next, errors];
  }
  let last = -1;
  errors.forEach((error, state) => {
    if (fits(state) && (last < 0 || error < errors[last]!)) last = state;
  });
  const path = new Uint16Array(vector.length);
  for (let channel = vector.length - 1, state = last; channel >= 0; channel--) {
    path[channel] = state;
    state = (state >> bits) + (left[channel]![state]! << shared);
  }
  return { states: path, error: errors[last]! };
}

/**
 * A path whose ends meet, so that a code takes no bits but those of its channels: the seam is what the best free path of
 * the vector, begun in its middle, has there (QTIP §3.3).
 */
export function searchCircle(vector: Float64Array, trellis: Trellis): TrellisPath {
  const half = vector.length / 2;
  const turned = Float64Array.from(vector, (_, i) => vector[(i + half) % vector.length]!);
  const { states } = searchTrellis(turned, trellis);
  const seam = states[half - 1]! % 2 ** (trellis.stateBits - trellis.bits);
  return searchTrellis(vector, trellis, seam);
}

/** The squared error of the points that are nearest to groups of a vector's channels, times the vector's own deviation. */
function latticeError(vector: Float64Array, scheme: SchemeId): number {
  const { channels, codebookSpec } = parseScheme(scheme);
  const points = fromFloat16Array(codebookSpec!.definition!(vector.length));
  const deviation = Math.sqrt(vector.reduce((sum, number) => sum + number ** 2, 0) / vector.length);
  let error = 0;
  for (let first = 0; first < vector.length; first += channels) {
    let least = Infinity;
    for (let point = 0; point < points.length; point += channels) {
      let distance = 0;
      for (let i = 0; i < channels; i++) {
        distance += (vector[first + i]! - deviation * points[point + i]!) ** 2;
      }
      least = Math.min(least, distance);
    }
    error += least;
  }
  return error;
}

/** Mean squared errors of Gaussian channels of variance 1. */
export interface TrellisRow {
  readonly dimension: number;
  /** Per channel; a free start takes more. */
  readonly bits: number;
  readonly scheme: string;
  readonly lattice: number;
  /** Of paths whose ends meet. */
  readonly circle: number;
  /** Of paths with a free start, whose other bits are stored. */
  readonly free: number;
  /** Bits per channel of a free start. */
  readonly startBits: number;
}

/** Measures trellises beside lattices. */
export function measureTrellis(): TrellisRow[] {
  return DIMENSIONS.flatMap((dimension) =>
    ([1, 2] as const).map((bits): TrellisRow => {
      const random = seededRandom("trellis", dimension, bits);
      const trellis = gaussianTrellis(STATE_BITS, bits, random);
      const scheme = LATTICES[bits];
      const sums = { lattice: 0, circle: 0, free: 0 };
      for (let i = 0; i < VECTORS; i++) {
        const vector = Float64Array.from({ length: dimension }, () => normal(random));
        sums.lattice += latticeError(vector, scheme);
        sums.circle += searchCircle(vector, trellis).error;
        sums.free += searchTrellis(vector, trellis).error;
      }
      const count = VECTORS * dimension;
      return {
        dimension,
        bits,
        scheme,
        lattice: sums.lattice / count,
        circle: sums.circle / count,
        free: sums.free / count,
        startBits: (STATE_BITS - bits) / dimension,
      };
    })
  );
}

/** A row in a line. */
export function formatTrellis(row: TrellisRow): string {
  const { dimension, bits, scheme, lattice, circle, free, startBits } = row;
  // Each bit more divides the error of any good code by four.
  const alike = free * 4 ** startBits;
  const gain = (error: number) => `${Math.round(100 * (1 - error / lattice)) + 0} % less`;
  return `${dimension} channels, ${bits} bits: ${scheme} ${lattice.toFixed(4)}, ` +
    `ends that meet ${circle.toFixed(4)} (${gain(circle)}), ` +
    `a free start ${free.toFixed(4)} for ${startBits.toFixed(2)} bits more (${
      gain(alike)
    } at as many bits)`;
}

/** The number that a Gaussian channel of variance 1 stays below with a probability, by bisection of its distribution. */
function gaussianQuantile(probability: number): number {
  let [low, high] = [-8, 8];
  for (let i = 0; i < 50; i++) {
    const middle = (low + high) / 2;
    if (gaussianBelow(middle) < probability) low = middle;
    else high = middle;
  }
  return low;
}

/** The probability of a Gaussian channel to stay below a number: the Taylor series of the density's integral. */
function gaussianBelow(number: number): number {
  let term = number;
  let sum = number;
  for (let i = 1; Math.abs(term) > 1e-12 * Math.abs(sum); i++) {
    term *= number ** 2 / (2 * i + 1);
    sum += term;
  }
  return 0.5 + sum * Math.exp(-(number ** 2) / 2) / Math.sqrt(2 * Math.PI);
}
