/**
 * Waves: what the rotary embedding makes of a constant in a model's keys, such as a bias. In a
 * channel of keys as they are scored, the constant rotates with the position, so subtracting the
 * mean of a block does not remove it. Subtracting a wave does.
 */
import { finiteFloat16Bits, fromFloat16Bits, MAX_FLOAT16 } from "../base/float16.ts";

/** A wave of one channel over the tokens of a block: `cosine * cos(angle) + sine * sin(angle)`. */
export interface Wave {
  /** The channel. */
  readonly channel: number;
  /**
   * How far it turns from token to token, in parts of a turn. Angles count from the block's middle.
   */
  readonly step: number;
  /** A binary16 number. */
  readonly cosine: number;
  /** A binary16 number. */
  readonly sine: number;
}

/** Parts of a turn. */
const TURN = 2 ** 24;

/** The least share of a channel's energy for a wave. */
const LEAST_SHARE = 0.75;

/**
 * Parts of a turn between the steps that are tried: first all up to a quarter turn, then those
 * around the best. No rotary embedding turns faster than a radian from token to token.
 */
const SPACINGS: readonly number[] = [2 ** 16, 2 ** 11, 2 ** 6];
const TRIES = 64;

/** Most waves of a block. */
export function waveCount(headDim: number): number {
  return Math.min(16, headDim / 8);
}

/** The angle of a wave at token `token` of `tokens`, in radians. */
function angleAt(step: number, token: number, tokens: number): number {
  return ((Math.PI * step) / TURN) * (2 * token - (tokens - 1));
}

/** What a wave adds to its channel at token `token` of a block of `tokens`. */
export function waveAt({ step, cosine, sine }: Wave, token: number, tokens: number): number {
  const angle = angleAt(step, token, tokens);
  return cosine * Math.cos(angle) + sine * Math.sin(angle);
}

/** What the sum of squared sines counts at least, so that nothing is divided by 0. */
const LEAST_SQUARE = 1e-12;

/**
 * The least-squares wave of a given step. Cosines and sines around the middle are orthogonal.
 */
function fitWave(numbers: readonly number[], step: number) {
  const sums = { cosine: 0, sine: 0, cosines: 0, sines: 0 };
  numbers.forEach((number, token) => {
    const angle = angleAt(step, token, numbers.length);
    sums.cosine += number * Math.cos(angle);
    sums.sine += number * Math.sin(angle);
    sums.cosines += Math.cos(angle) ** 2;
    sums.sines += Math.sin(angle) ** 2;
  });
  const cosine = sums.cosine / sums.cosines;
  // The slower the wave, the larger the factor of a slope, up to the largest that is kept.
  const slope = sums.sine / Math.max(sums.sines, LEAST_SQUARE);
  const sine = Math.min(Math.max(slope, -MAX_FLOAT16), MAX_FLOAT16);
  const energy = cosine * sums.cosine + sine * (2 * sums.sine - sine * sums.sines);
  return { step, cosine, sine, energy };
}

/** The wave of most energy in a channel's numbers, to the last of {@linkcode SPACINGS}. */
function bestWave(numbers: readonly number[]) {
  let middle = (SPACINGS[0]! * TRIES) / 2;
  let best = fitWave(numbers, 0);
  for (const spacing of SPACINGS) {
    for (let i = 0; i < TRIES; i++) {
      const found = fitWave(numbers, Math.max(0, middle + (i - TRIES / 2) * spacing));
      if (found.energy > best.energy) best = found;
    }
    middle = best.step;
  }
  return best;
}

/**
 * The waves that stand out in a block, those of most energy first.
 *
 * @param vectors `[block]` vectors `[headDim]`.
 * @param typical The block's typical magnitude.
 */
export function findWaves(vectors: readonly ArrayLike<number>[], typical: number): Wave[] {
  const headDim = vectors[0]!.length;
  const loud = typical ** 2 * vectors.length;
  const channels = Array.from({ length: headDim }, (_, channel) => ({
    channel,
    energy: vectors.reduce((sum, vector) => sum + vector[channel]! * vector[channel]!, 0),
  }));
  return channels
    .filter(({ energy }) => energy > loud)
    .sort((a, b) => b.energy - a.energy)
    .slice(0, waveCount(headDim))
    .flatMap(({ channel, energy }) => {
      const best = bestWave(vectors.map((vector) => vector[channel]!));
      if (best.energy < LEAST_SHARE * energy) return [];
      const [cosine, sine] = [best.cosine, best.sine]
        .map((factor) => fromFloat16Bits(finiteFloat16Bits(factor)));
      return [{ channel, step: best.step, cosine: cosine!, sine: sine! }];
    });
}

/** The two words of a record that hold a wave. */
export function packWave({ channel, step, cosine, sine }: Wave): [number, number] {
  return [channel + step * 256, finiteFloat16Bits(cosine) + finiteFloat16Bits(sine) * 65536];
}

/** The inverse of {@linkcode packWave}; undefined where the words hold none. */
export function unpackWave(place: number, factors: number): Wave | undefined {
  if (factors === 0) return undefined;
  return {
    channel: place & 0xff,
    step: place >>> 8,
    cosine: fromFloat16Bits(factors & 0xffff),
    sine: fromFloat16Bits(factors >>> 16),
  };
}
