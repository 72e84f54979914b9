/**
 * Codebooks that all groups of a KV head share: their points are the groups of all channels after a
 * transform, and which transform serves a head is found by trying each.
 */
import type { Codebook } from "../codebooks/codebook.ts";
import { centroidNumbers, roundToGrid } from "../codebooks/grid.ts";
import { toFloat16Array } from "../base/float16.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { roundTrip } from "../schemes/round_trip.ts";
import { schemeCodec } from "../schemes/scheme_codec.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { type CalibrationSamples, tokensOf, weightAt } from "./samples.ts";
import type { TokenTurn } from "../model/anchors.ts";

/** Points per centroid that are enough. */
const ENOUGH_POINTS = 64;

/** Points that are always taken if there are so many. */
const FEW_POINTS = 32768;

/** Every so many tokens, one is held out. */
const HELD_EVERY = 8;

/** Most tokens that transforms are compared on. */
const COMPARED_TOKENS = 256;

/** What one codebook is learned from. */
export interface SharedGroups {
  /**
   * Points of every KV head with every transform: one "head" each, of one group, `[groups of all
   * tokens][keyValueHeads * transforms][channels]`.
   */
  readonly points: CalibrationSamples;
  /** `[keyValueHeads][transforms]`. */
  readonly transforms: readonly (readonly Float64Array[])[];
  /** Tokens that the transforms are compared on. */
  readonly compared: readonly number[];
}

/** At most `most` of some tokens, evenly spread. */
function spread(tokens: readonly number[], most: number): number[] {
  const count = Math.min(tokens.length, most);
  return Array.from({ length: count }, (_, i) => tokens[Math.floor(i * tokens.length / count)]!);
}

/** The vector `[headDim]` of a sampled token, as it is coded. */
function codedVector(
  { values, keyValueHeads, headDim }: CalibrationSamples,
  head: number,
  token: number,
  turn: TokenTurn | undefined,
): ArrayLike<number> {
  const at = (token * keyValueHeads + head) * headDim;
  const vector = values.subarray(at, at + headDim);
  return turn?.(vector, token, 1) ?? vector;
}

/** The points of a scheme whose groups share their centroids. */
export function shareGroups(
  samples: CalibrationSamples,
  schemeId: SchemeId,
  turn: TokenTurn | undefined,
): SharedGroups {
  const scheme = parseScheme(schemeId);
  const { channels, centroids } = scheme;
  const { transforms: choices, transformed } = schemeCodec(scheme).learning!;
  const { layer, side, keyValueHeads, headDim } = samples;
  const groups = headDim / channels;
  const tokens = Array.from({ length: tokensOf(samples) }, (_, token) => token);
  const enough = tokens.length * groups * (1 - 1 / HELD_EVERY) >= ENOUGH_POINTS * centroids;
  const held = tokens.filter((token) => enough && token % HELD_EVERY === HELD_EVERY - 1);
  const learned = spread(
    enough ? tokens.filter((token) => token % HELD_EVERY !== HELD_EVERY - 1) : tokens,
    Math.ceil(Math.max(FEW_POINTS, ENOUGH_POINTS * centroids) / groups),
  );
  const transforms = Array.from(
    { length: keyValueHeads },
    (_, head) => choices(learned.map((token) => codedVector(samples, head, token, turn)), side),
  );
  const columns = transforms.flat().length;
  const values = new Float32Array(learned.length * groups * columns * channels);
  const weights = samples.weights === undefined && samples.scale === undefined
    ? undefined
    : new Float32Array(learned.length * groups * columns);
  let column = 0;
  for (const [head, own] of transforms.entries()) {
    for (const transform of own) {
      learned.forEach((token, row) => {
        const vector = transformed(codedVector(samples, head, token, turn), transform);
        for (let group = 0; group < groups; group++) {
          const point = (row * groups + group) * columns + column;
          values.set(vector.subarray(group * channels, (group + 1) * channels), point * channels);
          if (weights !== undefined) {
            weights[point] = pointWeight(samples, head, token, transform, group, channels);
          }
        }
      });
      column++;
    }
  }
  return {
    points: {
      layer,
      side,
      keyValueHeads: columns,
      headDim: channels,
      values,
      ...(weights === undefined ? {} : { weights }),
    },
    transforms,
    compared: spread(held.length > 0 ? held : learned, COMPARED_TOKENS),
  };
}

/**
 * The weight of a group's squared error in the space of the centroids. A rotation spreads an error
 * over all channels, so all groups of the token have one weight.
 */
function pointWeight(
  samples: CalibrationSamples,
  head: number,
  token: number,
  transform: ArrayLike<number>,
  group: number,
  channels: number,
): number {
  const rotated = transform[0] !== 0;
  const first = rotated ? 0 : group * channels;
  const count = rotated ? samples.headDim : channels;
  let sum = 0;
  for (let i = first; i < first + count; i++) {
    const factor = rotated ? transform[2 * i]! : 1;
    sum += weightAt(samples, channels, head, token, i) * factor * factor;
  }
  return sum / count;
}

/**
 * Keeps for each KV head the transform whose centroids code the compared tokens with the least
 * weighted squared error in the samples' own space.
 *
 * @param centroids `[keyValueHeads * transforms][centroids][channels]`, in the order of the points.
 */
export function chooseTransforms(
  { transforms, compared }: SharedGroups,
  samples: CalibrationSamples,
  schemeId: SchemeId,
  turn: TokenTurn | undefined,
  centroids: readonly ArrayLike<number>[],
): Pick<Codebook, "centroids" | "grid" | "transform"> {
  const scheme = parseScheme(schemeId);
  const { headDim, keyValueHeads, values } = samples;
  let column = 0;
  const chosen = transforms.map((own, head) => {
    const learned = own.map((transform) => {
      const numbers = centroids[column++]!;
      const rounded = centroidNumbers({ scheme: schemeId, ...roundToGrid(numbers, schemeId) });
      let error = 0;
      for (const token of compared) {
        const at = (token * keyValueHeads + head) * headDim;
        const vector = values.subarray(at, at + headDim);
        const [decoded] = roundTrip(scheme, [vector], {
          centroids: rounded,
          transform,
          ...(turn && { turn: (coded, _, direction) => turn(coded, token, direction) }),
        });
        for (let i = 0; i < headDim; i++) {
          error += weightAt(samples, scheme.channels, head, token, i) *
            (vector[i]! - decoded![i]!) ** 2;
        }
      }
      return { transform, numbers, error };
    });
    return learned.reduce((best, one) => one.error < best.error ? one : best);
  });
  return {
    ...roundToGrid(chosen.flatMap(({ numbers }) => Array.from(numbers)), schemeId),
    transform: toFloat16Array(chosen.flatMap(({ transform }) => [...transform])),
  };
}
