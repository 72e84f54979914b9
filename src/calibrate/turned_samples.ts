/** The rotary embedding of samples, for schemes that code keys with it. */
import { inverseFrequencies, rotate } from "../model/rope.ts";
import type { KeySpace } from "../model/model.ts";
import { raise } from "../base/raise.ts";
import type { CodingContext } from "../schemes/codec.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { type CalibrationSamples, tokensOf } from "./samples.ts";

/** Applies the rotary embedding of a sampled token, or its inverse. */
export type Turn = NonNullable<CodingContext["turn"]>;

/**
 * The rotary embedding of the samples' tokens; undefined where the scheme codes them without it.
 *
 * @throws {CoupletError} `samples` where it is needed and the samples do not have positions and
 * parameters, `shape` where they do not have one position per token.
 */
export function turnOf(
  samples: CalibrationSamples,
  scheme: SchemeId,
  keySpace: KeySpace,
): Turn | undefined {
  const { layer, side, headDim, positions, rope } = samples;
  if (side !== "keys" || keySpace !== "pre-rope" || !parseScheme(scheme).positional) {
    return undefined;
  }
  const what = `Cannot code the sampled keys of layer ${layer}`;
  const remedy = "Give each token's position and the model's rotary embedding (positions, rope)";
  if (positions === undefined || rope === undefined) {
    raise(
      "samples",
      what,
      `${scheme} codes keys with their rotary embedding, and the samples have no ${
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
  // An offset that all positions share cancels in scores, so codes ignore it.
  const own = { ...rope, positionOffset: 0 };
  const frequencies = inverseFrequencies(own, headDim);
  return (vector, token, direction) =>
    rotate(vector, direction * positions[token]!, own, frequencies);
}
