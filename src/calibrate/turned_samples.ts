/** The rotary embedding of samples, for schemes that code keys with it. */
import { anchorTurnOfSquares, BAND_PAIRS, type TokenTurn } from "../model/anchors.ts";
import { inverseFrequencies } from "../model/rope.ts";
import type { KeySpace } from "../model/model.ts";
import { raise } from "../base/raise.ts";
import { codesAnchored, turnOfKeys } from "../schemes/key_turn.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { type CalibrationSamples, tokensOf } from "./samples.ts";

/** The space that keys are coded in: that of a set of codebooks. */
export interface CodedSpace {
  readonly keySpace: KeySpace;
  /** The tokens of anchors, in a space that has some. */
  readonly anchors?: readonly number[];
}

/**
 * What the samples' tokens are turned by before they are coded; undefined where the scheme codes
 * them as they are.
 *
 * @throws {CoupletError} `samples` where it is needed and the samples do not have positions and
 * parameters, `shape` where they do not have one position per token, `codebook` where anchors are
 * not those of such an embedding.
 */
export function turnOf(
  samples: CalibrationSamples,
  id: SchemeId,
  { keySpace, anchors }: CodedSpace,
): TokenTurn | undefined {
  const { layer, side, headDim, positions, rope } = samples;
  const scheme = parseScheme(id);
  const isTurned = scheme.positional
    ? keySpace !== "as-scored"
    : keySpace === "anchored" && codesAnchored(scheme);
  if (side !== "keys" || !isTurned) return undefined;
  const what = `Cannot code the sampled keys of layer ${layer}`;
  const remedy = "Give each token's position and the model's rotary embedding (positions, rope)";
  if (positions === undefined || rope === undefined) {
    raise(
      "samples",
      what,
      `${id} codes keys with their rotary embedding, and the samples have no ${
        rope === undefined ? "rope" : "positions"
      }`,
      `${remedy}, or sample keys as they are scored`,
    );
  }
  if (positions.length !== tokensOf(samples)) {
    raise(
      "shape",
      what,
      `there are ${positions.length} positions for ${tokensOf(samples)} tokens`,
      remedy,
    );
  }
  if (!scheme.positional) checkAnchors(what, anchors, inverseFrequencies(rope, headDim).length);
  const turn = turnOfKeys(scheme, { rope, headDim, anchors, sinks: 0 })!;
  return (vector, token, direction) => turn(vector, positions[token]!, direction);
}

/** Refuses anchors that are none, or of other bands than a rotary embedding has. */
function checkAnchors(what: string, anchors: readonly number[] | undefined, pairs: number): void {
  const isAnchor = (tokens: number) =>
    tokens === 0 || tokens >= 1 && Number.isInteger(Math.log2(tokens));
  if (anchors?.length === Math.ceil(pairs / BAND_PAIRS) && anchors.every(isAnchor)) return;
  raise(
    "codebook",
    what,
    `their ${pairs} pairs of channels cannot have anchors of ${anchors} tokens`,
    "Give the rotary embedding that the codebooks were learned with (rope), or calibrate again",
  );
}

/**
 * Samples in the space that a scheme codes them in, which is another one where it codes keys with
 * what they turn from their anchors. Squared gradients of two channels that turn together become
 * those of the turned channels, as if the gradients were independent of each other.
 *
 * @throws {CoupletError} as {@linkcode turnOf} does.
 */
export function samplesAsCoded(
  samples: CalibrationSamples,
  id: SchemeId,
  space: CodedSpace,
): CalibrationSamples {
  const { values, weights, keyValueHeads, headDim, positions, rope } = samples;
  const turn = parseScheme(id).positional ? undefined : turnOf(samples, id, space);
  if (turn === undefined) return samples;
  const inPlace = (
    vectors: Float32Array,
    turned: (own: Float32Array, token: number) => Float64Array,
  ) => {
    const all = new Float32Array(vectors.length);
    for (let at = 0; at < vectors.length; at += headDim) {
      const token = Math.floor(at / (keyValueHeads * headDim));
      all.set(turned(vectors.subarray(at, at + headDim), token), at);
    }
    return all;
  };
  const square = anchorTurnOfSquares(rope!, headDim, space.anchors!);
  return {
    ...samples,
    values: inPlace(values, (vector, token) => turn(vector, token, 1)),
    // Weights of a group or a vector are those of its error, in any basis.
    ...(weights?.length === values.length
      ? { weights: inPlace(weights, (squares, token) => square(squares, positions![token]!)) }
      : {}),
  };
}
