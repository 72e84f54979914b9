import { fromFloat8E5M3, toFloat8E5M3 } from "../base/float8.ts";
import { checkHadamard, hadamard, hadamardInverse } from "./hadamard.ts";
import { recordLayout } from "../records/layout.ts";
import { readBits, readCode, tokenBit, writeBits, writeCode } from "../records/pack.ts";
import type { Codec } from "./codec.ts";
import type { OwnScheme, Scheme, SchemeId } from "./scheme.ts";
import { d4Codebook, e8Codebook } from "./lattice_codebooks.ts";
import { readMeans, STEP_BITS, writeMeans } from "./block_means.ts";
import { blockLimits, limited } from "./outliers.ts";
import {
  decodeRotated,
  definedCodebook,
  encodeRotated,
  storedCentroids,
} from "./hadamard_codes.ts";
import { findWaves, packWave, unpackWave, type Wave, waveAt, waveCount } from "./waves.ts";

const ID = /^u(4|8)b8$/;

/** Tokens whose mean is taken: a page, and the window of NSNQuant. */
const BLOCK = 64;

/** Bits of a channel's mean. With waves, the mean has a byte, and the waves have the other. */
const MEAN_BITS = 16;

function meanBits(scored: boolean): number {
  return scored ? MEAN_BITS / 2 : MEAN_BITS;
}

/** Codebooks by channels per code. Both have 256 points, so a code is a byte. */
const CODEBOOKS: Readonly<Record<number, () => number[][]>> = { 4: d4Codebook, 8: e8Codebook };

/**
 * Data-free codes, after NSNQuant (arXiv 2505.18231 §4): vectors get a Hadamard rotation, the mean
 * of a block of tokens is subtracted from each channel, each token's residual is divided by its
 * size, and groups of channels share one code of 8 bits. Of keys before their rotary embedding the
 * mean is subtracted first, and the rotary embedding is applied then. All models share one
 * codebook, which has a definition and no training set.
 *
 * A record is one block: a binary16 number per channel for the mean, a byte (E5M3) per token for
 * the scale, the codes. The scale restores the length of the coded vector, which serves attention
 * better than least squares would. A number far from all others of its channel is first clamped to
 * the nearest of them, so that it spoils no other token.
 *
 * In keys as they are scored, constants that the model adds to single channels have become waves,
 * which would spread over all channels. They are subtracted first, and stored behind means of a
 * byte (E4M3) per channel.
 */
export function lattice(id: SchemeId): OwnScheme | undefined {
  const match = ID.exec(id);
  if (match === null) return undefined;
  const channels = Number(match[1]);
  const codeBits = 8;

  function layout(headDim: number) {
    checkHadamard(id, headDim);
    const metadata = { sharedBits: headDim * MEAN_BITS + STEP_BITS, tokenBits: 8 };
    return recordLayout(headDim / channels, codeBits, metadata, BLOCK);
  }

  return {
    id,
    family: "hadamard",
    channels,
    codeBits,
    block: BLOCK,
    bits: codeBits / channels,
    centroids: 2 ** codeBits,
    codebook: "universal",
    codebookSpec: definedCodebook(
      channels,
      codeBits,
      () => storedCentroids(id, () => CODEBOOKS[channels]!().flat()),
    ),
    positional: true,
    // As scored, an offset has become two waves, one in each channel of a rotary pair.
    keyOffsets: (headDim, space) => space === "as-scored" ? waveCount(headDim) / 2 : headDim,
    lossless: false,
    layout,
    work: (headDim) => ({ universal: headDim }),
  };
}

/** Codes as {@linkcode lattice} describes. */
export function latticeCodec({ channels, layout }: Scheme): Codec {
  return {
    encode(vectors, record, _token, { centroids, turn, scored = false }) {
      const headDim = vectors[0]!.length;
      const own = layout(headDim);
      const limits = blockLimits(vectors);
      const kept = vectors.map((vector) => limited(vector, limits.channels));
      const waves = scored ? findWaves(kept, limits.typical) : [];
      if (scored) writeWaves(record, headDim, waves);
      kept.forEach((vector, token) => addWaves(vector, waves, token, -1));
      // Before the rotary embedding, tokens have more in common. The Hadamard rotation of a mean is
      // the mean of the rotated vectors.
      const spread = turn === undefined ? kept.map(hadamard) : kept;
      const sums = spread.reduce((sums, vector) => sums.map((sum, i) => sum + vector[i]!));
      const means = sums.map((sum) => sum / spread.length);
      writeMeans(record, means, meanBits(scored));
      const mean = readMeans(record, headDim, meanBits(scored));
      spread.forEach((vector, token) => {
        const centred = mean.map((value, channel) => vector[channel]! - value);
        const rest = turn === undefined ? centred : hadamard(turn(centred, token, 1));
        const { codes, deviation, codedDeviation } = encodeRotated(rest, centroids, channels);
        const scale = toFloat8E5M3(deviation / codedDeviation);
        writeBits(record, tokenBit(own, token), 8, scale);
        codes.forEach((code, group) => writeCode(own, record, token, group, code));
      });
    },

    decode(record, token, headDim, { centroids, turn, scored = false }) {
      const own = layout(headDim);
      const codes = Array.from(
        { length: own.codes },
        (_, group) => readCode(own, record, token, group),
      );
      const scale = fromFloat8E5M3(readBits(record, tokenBit(own, token), 8));
      const rest = decodeRotated(codes, centroids, channels).map((value) => value * scale);
      const mean = readMeans(record, headDim, meanBits(scored));
      if (turn === undefined) {
        const vector = hadamardInverse(rest.map((value, channel) => value + mean[channel]!));
        if (scored) addWaves(vector, readWaves(record, headDim), token, 1);
        return vector;
      }
      const centred = turn(hadamardInverse(rest), token, -1);
      return centred.map((value, channel) => value + mean[channel]!);
    },
  };
}

/** The words that hold waves, behind the means. */
function waveWords(record: Uint32Array, headDim: number): Uint32Array {
  const first = (headDim * MEAN_BITS) / 2 / 32;
  return record.subarray(first, first + 2 * waveCount(headDim));
}

function writeWaves(record: Uint32Array, headDim: number, waves: readonly Wave[]): void {
  waveWords(record, headDim).fill(0);
  waves.forEach((wave, i) => waveWords(record, headDim).set(packWave(wave), 2 * i));
}

function readWaves(record: Uint32Array, headDim: number): Wave[] {
  const words = waveWords(record, headDim);
  return Array.from(
    { length: words.length / 2 },
    (_, i) => unpackWave(words[2 * i]!, words[2 * i + 1]!),
  )
    .filter((wave) => wave !== undefined);
}

/** Adds waves to the vector of a token of a block, or with -1 subtracts them. */
function addWaves(
  vector: Float64Array,
  waves: readonly Wave[],
  token: number,
  factor: 1 | -1,
): void {
  for (const wave of waves) vector[wave.channel]! += factor * waveAt(wave, token, BLOCK);
}
