/**
 * Anchors: runs of consecutive tokens inside which a band of slowly turning pairs of channels turns
 * so little that keys can be coded with it. A key's rotation is that of its anchor's middle and of
 * its offset from there. The codes hold the offset's, so a query is turned once for all tokens of an
 * anchor. Pairs that turn faster are coded before the rotary embedding.
 */
import { type Fields, POSITIVE } from "../base/check_options.ts";
import type { AnchorOptions, KeyOptions, RopeParameters } from "./model.ts";
import { inverseFrequencies, pairChannels, rotate } from "./rope.ts";

/** Pairs of channels that have anchors of the same length. */
export const BAND_PAIRS = 8;

/**
 * Fewest tokens of an anchor: as many as an invocation scores with one query that it has turned.
 * Pairs that would need shorter ones are coded before the rotary embedding.
 */
export const LEAST_ANCHOR = 8;

/** Most tokens of an anchor. */
export const LARGEST_ANCHOR = 512;

/** What a pair turns at most from its anchor's middle, in radians, if nothing else is said. */
const RADIANS = 0.3;

/** What anchors may be made by. */
export const ANCHOR_FIELDS: Fields<AnchorOptions> = { "radians?": POSITIVE };

/**
 * The tokens of an anchor, by band of eight pairs of channels: a power of two, or 0 where the pairs
 * are coded before the rotary embedding. None is less than that of a band before it, so that all
 * bands without anchors come first.
 *
 * @throws {CoupletError} `shape` as {@linkcode inverseFrequencies} does.
 */
export function anchorTokens(
  rope: RopeParameters,
  headDim: number,
  { radians = RADIANS }: AnchorOptions = {},
): readonly number[] {
  const frequencies = inverseFrequencies(rope, headDim).map(Math.abs);
  const anchors: number[] = [];
  // The fastest pair of a band, or of those after it, decides.
  for (let end = Math.ceil(frequencies.length / BAND_PAIRS); end > 0; end--) {
    const fastest = frequencies.subarray((end - 1) * BAND_PAIRS).reduce(
      (a, b) => Math.max(a, b),
      0,
    );
    let tokens = LARGEST_ANCHOR;
    while (tokens >= LEAST_ANCHOR && (tokens / 2) * fastest > radians) tokens /= 2;
    anchors.unshift(tokens < LEAST_ANCHOR ? 0 : tokens);
  }
  return anchors;
}

/** The anchors of keys in a space, or undefined where it has none. */
export function keyAnchors(keys: KeyOptions, headDim: number): readonly number[] | undefined {
  return keys.space === "anchored" ? anchorTokens(keys.rope, headDim, keys.anchor) : undefined;
}

/** A rotation of a vector by a token's position, or with -1 its inverse. */
export type TokenTurn = (
  vector: ArrayLike<number>,
  token: number,
  direction: 1 | -1,
) => Float64Array<ArrayBuffer>;

/**
 * The rotation of keys from before their rotary embedding into the anchored space: each band by a
 * token's offset from its anchor's middle.
 *
 * @param anchors The result of {@linkcode anchorTokens}.
 * @returns Its tokens are counted from the first that is coded.
 */
export function anchorTurn(
  rope: RopeParameters,
  headDim: number,
  anchors: readonly number[],
): TokenTurn {
  const own = { ...rope, positionOffset: 0 };
  const angles = anchorAngles(rope, headDim, anchors);
  return (vector, token, direction) => rotate(vector, direction, own, angles(token));
}

/**
 * The mean squares of channels after {@linkcode anchorTurn}, of those before it, where channels are
 * independent of each other.
 */
export function anchorTurnOfSquares(
  rope: RopeParameters,
  headDim: number,
  anchors: readonly number[],
): (squares: ArrayLike<number>, token: number) => Float64Array<ArrayBuffer> {
  const anglesAt = anchorAngles(rope, headDim, anchors);
  return (squares, token) => {
    const turned = Float64Array.from(squares);
    const angles = anglesAt(token);
    for (const [pair, angle] of angles.entries()) {
      const [first, second] = pairChannels(rope, pair, angles.length);
      const [a, b, share] = [squares[first]!, squares[second]!, Math.sin(angle) ** 2];
      turned[first] = a + share * (b - a);
      turned[second] = b + share * (a - b);
    }
    return turned;
  };
}

/** What each pair of a token turns from its anchor's middle. */
function anchorAngles(
  rope: RopeParameters,
  headDim: number,
  anchors: readonly number[],
): (token: number) => Float64Array<ArrayBuffer> {
  const frequencies = inverseFrequencies(rope, headDim);
  return (token) =>
    frequencies.map((frequency, pair) => {
      const tokens = anchors[Math.floor(pair / BAND_PAIRS)]!;
      return tokens === 0 ? 0 : frequency * ((token % tokens) - tokens / 2);
    });
}
