import type { RopeParameters } from "./model.ts";
import { checkOptions, whole } from "../base/check_options.ts";
import { CoupletError } from "../base/errors.ts";
import { ROPE_FIELDS } from "./rope_options.ts";

const WHAT = "Cannot rotate keys and queries";
const COUNT = whole(1);

/** Positions of a token whose rotary embedding has sections: time, height, width. */
export const POSITIONS = 3;

/**
 * The rotary embedding's frequencies: `theta ** (-2 i / rotaryDim)` radians per position for pair i
 * (RoFormer, arXiv 2104.09864 §3.2.2), or the explicit ones if the parameters have them.
 *
 * @param headDim Channels per head, the default of the rotary dimension.
 * @returns `[rotaryDim / 2]`.
 * @throws {CoupletError} `shape` where the rotary dimension is odd, zero or above `headDim`, where
 * there is another number of frequencies or sections, or where a parameter is not finite.
 */
export function inverseFrequencies(
  rope: RopeParameters,
  headDim: number,
): Float64Array<ArrayBuffer> {
  checkOptions("shape", WHAT, { rope: ROPE_FIELDS, headDim: COUNT }, { rope, headDim });
  const rotaryDim = rope.rotaryDim ?? headDim;
  if (!(rotaryDim <= headDim) || rotaryDim % 2) {
    throw ropeError(
      `the rotary dimension is ${rotaryDim} and the head dimension ${headDim}`,
      "Rotate an even number of channels, at most the head dimension",
    );
  }
  const pairs = rotaryDim / 2;
  const { inverseFrequencies: explicit, sections } = rope;
  for (const list of [explicit, sections]) {
    if (list === undefined || list.length === pairs) continue;
    throw ropeError(
      `${list.length} frequencies or sections were given`,
      `Give ${pairs}, one per pair`,
    );
  }
  if (explicit !== undefined) return Float64Array.from(explicit);
  return Float64Array.from(
    { length: pairs },
    (_, pair) => rope.theta ** ((-2 * pair) / rotaryDim),
  );
}

/**
 * Applies the rotary embedding to one head's vector, in float64. Channels from the rotary dimension
 * on are not changed.
 *
 * @param vector `[headDim]`, a key or a query.
 * @param position The token's position in its sequence, before `rope.positionOffset`; where the
 * embedding has sections, its three, or one for all of them.
 * @param frequencies The result of {@linkcode inverseFrequencies}, if the caller keeps it.
 * @returns `[headDim]`, a new array.
 * @throws {CoupletError} `shape` as {@linkcode inverseFrequencies} does.
 */
export function rotate(
  vector: ArrayLike<number>,
  position: number | readonly number[],
  rope: RopeParameters,
  frequencies: ArrayLike<number> = inverseFrequencies(rope, vector.length),
): Float64Array<ArrayBuffer> {
  const rotated = Float64Array.from(vector);
  const pairs = frequencies.length;
  for (let pair = 0; pair < pairs; pair++) {
    const own = typeof position === "number" ? position : position[rope.sections?.[pair] ?? 0]!;
    const angle = (own + (rope.positionOffset ?? 0)) * frequencies[pair]!;
    const [first, second] = pairChannels(rope, pair, pairs);
    rotated[first] = vector[first]! * Math.cos(angle) - vector[second]! * Math.sin(angle);
    rotated[second] = vector[second]! * Math.cos(angle) + vector[first]! * Math.sin(angle);
  }
  return rotated;
}

/** The two channels of one of `pairs` pairs. */
export function pairChannels(
  { layout }: RopeParameters,
  pair: number,
  pairs: number,
): readonly [first: number, second: number] {
  return layout === "half" ? [pair, pair + pairs] : [2 * pair, 2 * pair + 1];
}

function ropeError(why: string, remedy: string): CoupletError {
  return new CoupletError("shape", { what: WHAT, why, remedy });
}
