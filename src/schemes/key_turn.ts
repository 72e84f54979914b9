/** What keys before their rotary embedding are turned by before they are coded. */
import { anchorTurn, keyAnchors, type TokenTurn } from "../model/anchors.ts";
import type { KeyOptions, RopeParameters } from "../model/model.ts";
import { inverseFrequencies, rotate } from "../model/rope.ts";
import type { Scheme } from "./scheme.ts";

/** Keys before their rotary embedding, as far as their codes depend on it. */
export interface TurnedKeys {
  readonly rope: RopeParameters;
  readonly headDim: number;
  /** The tokens of anchors by band, in a space that has some. */
  readonly anchors: readonly number[] | undefined;
  /** Tokens of a sequence before the first that may be coded. */
  readonly sinks: number;
}

/** Whether keys in the anchored space are coded with what they turn from their anchors. */
export function codesAnchored({ codebook, positional }: Scheme): boolean {
  return codebook === "learned" && !positional;
}

/**
 * The rotation that keys are coded with, undefined where they are coded as they come. Tokens are
 * counted from the first that may be coded.
 *
 * @param sinks Tokens of a sequence before the first that may be coded.
 */
export function keyTurn(
  scheme: Scheme,
  keys: KeyOptions,
  headDim: number,
  sinks: number,
): TokenTurn | undefined {
  if (keys.space === "as-scored") return undefined;
  const anchors = keyAnchors(keys, headDim);
  return turnOfKeys(scheme, { rope: keys.rope, headDim, anchors, sinks });
}

/** The same, where the anchors are known. */
export function turnOfKeys(
  scheme: Scheme,
  { rope, headDim, anchors, sinks }: TurnedKeys,
): TokenTurn | undefined {
  if (scheme.positional) {
    // An offset that all positions share cancels in scores, so codes ignore it.
    const own = { ...rope, positionOffset: 0 };
    const frequencies = inverseFrequencies(own, headDim);
    return (vector, token, direction) =>
      rotate(vector, direction * (sinks + token), own, frequencies);
  }
  return anchors !== undefined && codesAnchored(scheme)
    ? anchorTurn(rope, headDim, anchors)
    : undefined;
}
