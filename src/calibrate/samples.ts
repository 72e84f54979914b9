/** The samples a calibration learns from, and the checks they must pass. */
import { CoupletError } from "../base/errors.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import type { Side } from "../model/side.ts";
import type { RopeParameters } from "../model/model.ts";
import type { KmeansInput } from "./kmeans.ts";

/** Vectors of one layer and side, in the form the cache will be given them. */
export interface CalibrationSamples {
  /** Layer index, from 0. */
  readonly layer: number;
  /** Which side the vectors belong to. */
  readonly side: Side;
  /** KV heads of the layer. */
  readonly keyValueHeads: number;
  /** Channels per head. */
  readonly headDim: number;
  /**
   * `[tokens][keyValueHeads][headDim]`, in the model's own units: keys in the space they will be
   * coded in.
   */
  readonly values: Float32Array;
  /**
   * The weight of each squared error. None is negative, and the unit does not matter. Its length
   * decides between
   *
   * - `[tokens][keyValueHeads][headDim]`, summed over each group's channels: squared gradients of
   *   the loss with respect to `values`, the diagonal Fisher information of Coupled Quantization
   *   (arXiv 2405.03917 §3.2)
   * - `[tokens][keyValueHeads][headDim / channels]`: one weight per group, for schemes of that
   *   width
   * - `[tokens][keyValueHeads]`: one weight per vector
   *
   * Weights per channel refer to the values' own space: with a scale, a squared error of the scaled
   * space counts `weight / scale^2`. Weights per group or vector apply after the scale.
   */
  readonly weights?: Float32Array;
  /**
   * `[keyValueHeads][headDim]`, positive. It becomes {@linkcode Codebook.scale}; for schemes whose
   * groups share their centroids, errors count times its square.
   */
  readonly scale?: Float32Array<ArrayBuffer>;
  /**
   * `[tokens]`, each token's position in its sequence. Schemes that code keys with their rotary
   * embedding need it for keys before it, and {@linkcode CalibrationSamples.rope}. A position that
   * is not one more than that before it begins another sequence.
   */
  readonly positions?: ArrayLike<number>;
  /** The model's rotary embedding. */
  readonly rope?: RopeParameters;
}

/** The largest binary16 value: beyond it a vector can be held neither exactly nor by a centroid. */
const MAX_HALF = 65504;

/** Fewest samples per centroid where centroids of several stages are added. */
const LEAST_OF_STAGE = 16;

/** Samples per centroid of a stage that are enough for held-out errors near those of learning. */
const ENOUGH_OF_STAGE = 24;

/**
 * Samples that a scheme's codebooks are better learned from than from so many tokens; undefined where
 * these are enough.
 */
export function moreSamples(id: SchemeId, tokens: number): number | undefined {
  const { centroids, codebookSpec } = parseScheme(id);
  const enough = ENOUGH_OF_STAGE * centroids;
  return (codebookSpec?.stages ?? 1) > 1 && tokens < enough ? enough : undefined;
}

/** Tokens in the samples. */
export function tokensOf({ values, keyValueHeads, headDim }: CalibrationSamples): number {
  return values.length / (keyValueHeads * headDim);
}

/**
 * Checks samples against every scheme they will serve.
 *
 * @throws {CoupletError} `shape` where sizes do not divide or match; `samples` where a value is not
 * finite or exceeds binary16, a weight is negative or not finite, all weights are zero, or there
 * are fewer samples than centroids.
 */
export function checkSamples(samples: CalibrationSamples, schemes: readonly SchemeId[]): void {
  const { layer, side, keyValueHeads, headDim, values, weights, scale } = samples;
  const what = `Cannot calibrate the ${side} of layer ${layer}`;
  const counts = { layer: layer + 1, keyValueHeads, headDim };
  for (const [name, count] of Object.entries(counts)) {
    if (!Number.isSafeInteger(count) || count < 1) {
      throw shapeError(what, `its ${name} is not a count`, "Give whole numbers");
    }
  }
  const tokens = tokensOf(samples);
  const vector = keyValueHeads * headDim;
  if (!Number.isInteger(tokens)) {
    throw shapeError(
      what,
      `${values.length} values do not divide into tokens of ${keyValueHeads} heads and ${headDim} channels`,
      "Give whole tokens, [tokens][keyValueHeads][headDim]",
    );
  }
  if (scale !== undefined && scale.length !== vector) {
    throw shapeError(
      what,
      `its scale has ${scale.length} values, not ${keyValueHeads} heads of ${headDim} channels`,
      "Give one scale per channel, [keyValueHeads][headDim]",
    );
  }
  for (const id of schemes) {
    const { channels, centroids, codebookSpec, layout } = parseScheme(id);
    layout(headDim);
    if (weights !== undefined && weightChannels(samples, channels) === undefined) {
      throw shapeError(
        what,
        `${weights.length} weights are neither one per channel, per group of ${channels} channels, nor per vector of ${tokens} tokens`,
        "Give one weight per channel, which serves every scheme",
      );
    }
    const points = codebookSpec?.groupsShare ? tokens * headDim / channels : tokens;
    // What a stage learns from few samples of what others leave would not hold for other tokens.
    const least = centroids * ((codebookSpec?.stages ?? 1) > 1 ? LEAST_OF_STAGE : 1);
    if (points < least) {
      throw new CoupletError("samples", {
        what,
        why: `there are ${points} samples for the ${centroids} centroids of ${id}`,
        remedy: `Sample at least ${
          Math.ceil(least * tokens / points)
        } tokens (64 per centroid is good), or use a scheme with fewer bits per code`,
      });
    }
  }
  const bad = values.findIndex((value) => !(Math.abs(value) <= MAX_HALF));
  if (bad >= 0) {
    throw new CoupletError("samples", {
      what,
      why: `the sample of token ${Math.floor(bad / vector)}, head ${
        Math.floor(bad / headDim) % keyValueHeads
      }, channel ${bad % headDim} is ${values[bad]}, ${
        Number.isFinite(values[bad]) ? "beyond the range of binary16" : "not a finite number"
      }`,
      remedy: "Find out where the model's activations go wrong, or leave that token out",
    });
  }
  const badScale = scale?.findIndex((value) => !(value > 0 && value < Infinity)) ?? -1;
  if (badScale >= 0) {
    throw new CoupletError("samples", {
      what,
      why: `the scale of head ${Math.floor(badScale / headDim)}, channel ${badScale % headDim} is ${
        scale![badScale]
      }`,
      remedy: "Give positive, finite scales",
    });
  }
  if (weights !== undefined) {
    checkWeights(samples, weights, what);
    for (const id of schemes) checkWeighted(samples, id, what);
  }
}

function checkWeights(samples: CalibrationSamples, weights: Float32Array, what: string): void {
  const perToken = weights.length / tokensOf(samples);
  const bad = weights.findIndex((weight) => !(weight >= 0 && weight < Infinity));
  if (bad >= 0) {
    throw new CoupletError("samples", {
      what,
      why: `weight ${bad % perToken} of token ${Math.floor(bad / perToken)} is ${weights[bad]}`,
      remedy: "Give finite weights of zero or more, such as squared gradients",
    });
  }
  if (weights.every((weight) => weight === 0)) {
    throw new CoupletError("samples", {
      what,
      why: "all weights are zero",
      remedy: "Give a positive weight to every sample that counts, or no weights at all",
    });
  }
}

/**
 * Checks that every group has at least as many samples of positive weight as the scheme has
 * centroids. Of groups that share theirs, k-means itself counts the samples.
 */
function checkWeighted(samples: CalibrationSamples, id: SchemeId, what: string): void {
  const { channels, centroids, codebookSpec } = parseScheme(id);
  if (codebookSpec?.groupsShare) return;
  const groups = samples.headDim / channels;
  for (let group = 0; group < samples.keyValueHeads * groups; group++) {
    const weights = groupWeights(samples, channels, group)!;
    const positive = weights.reduce((count, weight) => count + (weight > 0 ? 1 : 0), 0);
    if (positive < centroids) {
      throw new CoupletError("samples", {
        what,
        why: `${positive} of the ${weights.length} samples of head ${
          Math.floor(group / groups)
        }, group ${group % groups} have a positive weight, and ${id} has ${centroids} centroids`,
        remedy: "Give more samples a weight, or use a scheme with fewer bits per code",
      });
    }
  }
}

/**
 * Channels that share one of the samples' weights, or undefined where their number fits no allowed
 * shape.
 */
function weightChannels(samples: CalibrationSamples, channels: number): number | undefined {
  const values = samples.values.length;
  return [1, channels, samples.headDim].find((n) => samples.weights!.length * n === values);
}

/** What a squared error of one channel counts, in the values' own space. */
export function weightAt(
  samples: CalibrationSamples,
  channels: number,
  head: number,
  token: number,
  channel: number,
): number {
  const { keyValueHeads, headDim, weights, scale } = samples;
  const scaled = scale === undefined ? 1 : scale[head * headDim + channel]! ** 2;
  if (weights === undefined) return scaled;
  const shared = weightChannels(samples, channels)!;
  const at = (token * keyValueHeads + head) * headDim + channel;
  return weights[Math.floor(at / shared)]! * (shared === 1 ? 1 : scaled);
}

/** The points one group is clustered from. Groups are counted over all heads. */
export function groupInput(
  samples: CalibrationSamples,
  channels: number,
  group: number,
): KmeansInput {
  const { values } = samples;
  const tokens = tokensOf(samples);
  const stride = samples.keyValueHeads * samples.headDim;
  const points = new Float64Array(tokens * channels);
  for (let token = 0, p = 0; token < tokens; token++) {
    const at = token * stride + group * channels;
    for (let j = 0; j < channels; j++, p++) points[p] = values[at + j]!;
  }
  return {
    points,
    channels,
    weights: groupWeights(samples, channels, group),
    scale: groupScale(samples, channels, group),
  };
}

/** One group's scale, `[channels]`, or undefined where the samples have none. */
export function groupScale(
  { scale }: CalibrationSamples,
  channels: number,
  group: number,
): Float32Array | undefined {
  return scale?.subarray(group * channels, (group + 1) * channels);
}

/** The samples of `heads` KV heads from `first` on. */
export function samplesOfHeads(
  samples: CalibrationSamples,
  first: number,
  heads: number,
): CalibrationSamples {
  const { values, weights, scale, keyValueHeads, headDim } = samples;
  const tokens = tokensOf(samples);
  function cut(all: Float32Array, rows: number): Float32Array<ArrayBuffer> {
    const perHead = all.length / rows / keyValueHeads;
    const part = new Float32Array(rows * heads * perHead);
    for (let row = 0; row < rows; row++) {
      const at = (row * keyValueHeads + first) * perHead;
      part.set(all.subarray(at, at + heads * perHead), row * heads * perHead);
    }
    return part;
  }
  return {
    layer: samples.layer,
    side: samples.side,
    keyValueHeads: heads,
    headDim,
    values: cut(values, tokens),
    ...(weights === undefined ? {} : { weights: cut(weights, tokens) }),
    ...(scale === undefined ? {} : { scale: cut(scale, 1) }),
  };
}

function groupWeights(
  samples: CalibrationSamples,
  channels: number,
  group: number,
): Float64Array | undefined {
  if (samples.weights === undefined) return undefined;
  const shared = weightChannels(samples, channels)!;
  const stride = (samples.keyValueHeads * samples.headDim) / shared;
  const first = Math.floor((group * channels) / shared);
  const count = Math.max(1, channels / shared);
  const scale = shared === 1 ? groupScale(samples, channels, group) : undefined;
  const factors = Array.from({ length: count }, (_, i) => 1 / (scale?.[i] ?? 1) ** 2);
  const weights = new Float64Array(tokensOf(samples));
  for (let token = 0; token < weights.length; token++) {
    for (let i = 0; i < count; i++) {
      weights[token]! += samples.weights[token * stride + first + i]! * factors[i]!;
    }
  }
  return weights;
}

function shapeError(what: string, why: string, remedy: string): CoupletError {
  return new CoupletError("shape", { what, why, remedy });
}
