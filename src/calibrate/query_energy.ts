/**
 * Channel scales for keys from the queries that score them (TaSQ, arXiv 2610.03027): no gradient is
 * needed.
 */
import type { RopeParameters } from "../model/model.ts";
import { checkOptions, type Fields, listOf } from "../base/check_options.ts";
import { NUMBER, NUMBERS } from "../base/data_kinds.ts";
import { CoupletError } from "../base/errors.ts";
import { inverseFrequencies } from "../model/rope.ts";
import { ROPE_FIELDS } from "../model/rope_options.ts";

/** One layer's queries, and the shape of its heads. */
export interface QueryEnergyOptions {
  /**
   * `[tokens of all sequences][queryHeads][headDim]`: before the rotary embedding where `rope` is
   * given, else as they score keys.
   */
  readonly queries: ArrayLike<number>;
  /** Query heads of the layer, a multiple of its KV heads. */
  readonly queryHeads: number;
  /** KV heads of the layer. */
  readonly keyValueHeads: number;
  /** Channels per head. */
  readonly headDim: number;
  /** Tokens of each sequence, one after the other. Defaults to one sequence of all tokens. */
  readonly lengths?: readonly number[];
  /** The rotary embedding, where keys are coded before it. */
  readonly rope?: RopeParameters;
}

/** What the options of {@linkcode queryScale} may be. */
export function queryFields(): Fields<QueryEnergyOptions> {
  return {
    queries: NUMBERS,
    queryHeads: NUMBER,
    keyValueHeads: NUMBER,
    headDim: NUMBER,
    "lengths?": listOf(NUMBER),
    "rope?": ROPE_FIELDS,
  };
}

/**
 * A channel's scale is at least this part of its head's root mean square, even if no sampled query
 * uses it.
 */
const LEAST_SCALE = 1e-3;

/**
 * The scale of keys that makes squared errors count as much as the scores they spoil: `w` with
 * `w^2` the diagonal of `M = E[R_p^T q_t q_t^T R_p]` over all pairs of a key at p and a query at t
 * >= p, `R_p` the rotary embedding of position p and `q_t` the queries, after theirs, of all heads
 * that share the KV head; relative to the head's mean. Use it as
 * {@linkcode CalibrationSamples.scale}.
 *
 * The expectation has a closed form in the sums of `q_t q_t^T` from a position on, so its cost is
 * linear in the tokens.
 *
 * @returns `[keyValueHeads][headDim]`, positive, with a mean square of about one in each head.
 * @throws {CoupletError} `shape` where the queries do not divide into heads and sequences;
 * `samples` where they are not finite or are all zero.
 */
export function queryScale(options: QueryEnergyOptions): Float32Array<ArrayBuffer> {
  checkOptions("shape", WHAT, queryFields(), options);
  const { queryHeads, keyValueHeads, headDim } = options;
  const lengths = checkQueries(options);
  const shared = queryHeads / keyValueHeads;
  const pairs = options.rope === undefined ? [] : rotatedPairs(options.rope, headDim);
  const energy = new Float64Array(keyValueHeads * headDim);
  let first = 0;
  for (const length of lengths) {
    for (let head = 0; head < queryHeads; head++) {
      addEnergy(
        options,
        pairs,
        { first, length, head },
        energy.subarray(
          Math.floor(head / shared) * headDim,
          (Math.floor(head / shared) + 1) * headDim,
        ),
      );
    }
    first += length;
  }
  return relativeScale(energy, headDim);
}

/** Square roots of energies, relative to each head's mean. */
function relativeScale(energy: Float64Array, headDim: number): Float32Array<ArrayBuffer> {
  const scale = new Float32Array(energy.length);
  for (let start = 0; start < energy.length; start += headDim) {
    const head = energy.subarray(start, start + headDim);
    const mean = head.reduce((sum, one) => sum + one, 0) / headDim;
    // All channels of a head whose queries are 0 count alike.
    head.forEach((one, i) => {
      scale[start + i] = mean > 0 ? Math.max(LEAST_SCALE, Math.sqrt(one / mean)) : 1;
    });
  }
  return scale;
}

/** Two channels that the rotary embedding rotates together. */
interface Pair {
  readonly first: number;
  readonly second: number;
  readonly frequency: number;
}

function rotatedPairs(rope: RopeParameters, headDim: number): Pair[] {
  const frequencies = inverseFrequencies(rope, headDim);
  const count = frequencies.length;
  return Array.from(frequencies, (frequency, pair) => ({
    first: rope.layout === "half" ? pair : 2 * pair,
    second: rope.layout === "half" ? pair + count : 2 * pair + 1,
    frequency,
  }));
}

/** Adds the energy of one query head of one sequence, from the last position to the first. */
function addEnergy(
  { queries, queryHeads, headDim }: QueryEnergyOptions,
  pairs: readonly Pair[],
  { first, length, head }: {
    readonly first: number;
    readonly length: number;
    readonly head: number;
  },
  energy: Float64Array,
): void {
  const start = (first * queryHeads + head) * headDim;
  const stride = queryHeads * headDim;
  const turning = new Set(pairs.flatMap((pair) => [pair.first, pair.second]));
  for (let channel = 0; channel < headDim; channel++) {
    if (turning.has(channel)) continue;
    // A query at t scores the t + 1 keys up to it.
    for (let t = 0; t < length; t++) {
      energy[channel]! += (t + 1) * queries[start + t * stride + channel]! ** 2;
    }
  }
  // An offset of all positions rotates queries and keys alike.
  for (const { first: a, second: b, frequency } of pairs) {
    let squaresA = 0;
    let squaresB = 0;
    let products = 0;
    for (let p = length - 1; p >= 0; p--) {
      const cosine = Math.cos(p * frequency);
      const sine = Math.sin(p * frequency);
      const low = queries[start + p * stride + a]!;
      const high = queries[start + p * stride + b]!;
      const turnedA = low * cosine - high * sine;
      const turnedB = high * cosine + low * sine;
      squaresA += turnedA * turnedA;
      squaresB += turnedB * turnedB;
      products += turnedA * turnedB;
      // Squares of the sums, rotated back by the key's own rotation.
      const mixed = 2 * cosine * sine * products;
      energy[a]! += cosine * cosine * squaresA + sine * sine * squaresB + mixed;
      energy[b]! += cosine * cosine * squaresB + sine * sine * squaresA - mixed;
    }
  }
}

/** Checks the queries. Returns the sequences' lengths. */
function checkQueries(
  { queries, queryHeads, keyValueHeads, headDim, lengths, rope }: QueryEnergyOptions,
): readonly number[] {
  for (const [name, count] of Object.entries({ queryHeads, keyValueHeads, headDim })) {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw shapeError(`${name} is ${count}`, "Give whole numbers of heads and channels");
    }
  }
  if (queryHeads % keyValueHeads !== 0) {
    throw shapeError(
      `${queryHeads} query heads do not share ${keyValueHeads} KV heads evenly`,
      "Give the layer's own numbers of heads",
    );
  }
  if (rope !== undefined) inverseFrequencies(rope, headDim);
  const tokens = queries.length / (queryHeads * headDim);
  const all = lengths ?? [tokens];
  if (
    !Number.isInteger(tokens) || !all.every((length) => Number.isSafeInteger(length) && length >= 0)
  ) {
    throw shapeError(
      `${queries.length} values do not divide into tokens of ${queryHeads} heads and ${headDim} channels`,
      "Give whole tokens, [tokens][queryHeads][headDim], and whole lengths",
    );
  }
  const sum = all.reduce((total, length) => total + length, 0);
  if (sum !== tokens) {
    throw shapeError(
      `the sequences have ${sum} tokens and the queries ${tokens}`,
      "Give the length of every sequence, in the queries' order",
    );
  }
  let largest = 0;
  for (let i = 0; i < queries.length; i++) {
    const value = Math.abs(queries[i]!);
    if (!(value < Infinity)) {
      throw samplesError(
        `value ${i} of the queries is ${queries[i]}`,
        "Find out where the model's activations go wrong, or leave that sequence out",
      );
    }
    largest = Math.max(largest, value);
  }
  if (largest === 0) {
    throw samplesError(
      tokens === 0 ? "there are no queries" : "all queries are zero",
      "Capture the queries of a text that the model reads",
    );
  }
  return all;
}

const WHAT = "Cannot scale keys by their queries";

function shapeError(why: string, remedy: string): CoupletError {
  return new CoupletError("shape", { what: WHAT, why, remedy });
}

function samplesError(why: string, remedy: string): CoupletError {
  return new CoupletError("samples", { what: WHAT, why, remedy });
}
