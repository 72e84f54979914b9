/**
 * Which visual tokens matter most to a text: semantic token protection (VidKV, arXiv 2503.16257
 * §3.3). They get a span of their own, with more bits.
 */
import { checkOptions, type Fields, kind, whole } from "../base/check_options.ts";
import { NUMBER, NUMBERS } from "../base/data_kinds.ts";
import { raise } from "../base/raise.ts";

/** An image's or video's tokens, and the text that asks about it. */
export interface ProtectedTokensOptions {
  /** `[visual tokens][width]`: embeddings as the language model is given them, not normalised. */
  readonly visual: ArrayLike<number>;
  /** `[text tokens][width]`: embeddings of the text's tokens. */
  readonly text: ArrayLike<number>;
  /** Channels of an embedding. */
  readonly width: number;
  /** The part of the visual tokens to protect, above 0 and up to 1. */
  readonly share: number;
}

/** Tokens of a span, cut in two: indices for two spans that have no token in common. */
export interface TokenSelection {
  /** Indices of the protected tokens, ascending. */
  readonly protected: readonly number[];
  /** Indices of all others, ascending. */
  readonly others: readonly number[];
}

/** Tokens are protected by as many. */
const GROUP = 32;

const WHAT = "Cannot choose the tokens to protect";

/** What the options of {@linkcode protectedTokens} may be. */
export function protectedFields(): Fields<ProtectedTokensOptions> {
  return {
    visual: NUMBERS,
    text: NUMBERS,
    width: whole(1),
    share: kind(
      "a number above 0 and up to 1",
      (value) => NUMBER[1](value) && value > 0 && value <= 1,
    ),
  };
}

/**
 * Chooses the visual tokens whose embedding has the greatest mean dot product with those of the
 * text's tokens, of equal ones the first: `max(32, floor(tokens * share / 32) * 32)` of them, or
 * all where there are fewer.
 *
 * @throws {CoupletError} `shape` where an option is of another kind, there is no token, or
 * embeddings are not whole; `samples` where one is not finite.
 */
export function protectedTokens(options: ProtectedTokensOptions): TokenSelection {
  checkOptions("shape", WHAT, protectedFields(), options);
  const { visual, text, width, share } = options;
  for (const [name, { length }] of Object.entries({ visual, text })) {
    if (length > 0 && length % width === 0) continue;
    raise("shape", WHAT, `${name} has ${length} numbers`, `Give tokens of ${width} numbers`);
  }
  // The mean of dot products is the dot product with the mean.
  const mean = new Float64Array(width);
  const textTokens = text.length / width;
  for (let i = 0; i < text.length; i++) mean[i % width]! += text[i]! / textTokens;
  const similarities = Array.from({ length: visual.length / width }, (_, token) => {
    let dot = 0;
    for (let i = 0; i < width; i++) dot += visual[token * width + i]! * mean[i]!;
    if (!Number.isFinite(dot)) {
      raise("samples", WHAT, `token ${token} has a similarity of ${dot}`, "Give finite embeddings");
    }
    return dot;
  });
  const tokens = similarities.map((_, token) => token);
  const wanted = Math.max(GROUP, Math.floor(tokens.length * share / GROUP) * GROUP);
  // Sorting is stable: the first of equals stays the first.
  const ranked = tokens.toSorted((a, b) => similarities[b]! - similarities[a]!);
  const chosen = new Set(ranked.slice(0, wanted));
  return {
    protected: tokens.filter((token) => chosen.has(token)),
    others: tokens.filter((token) => !chosen.has(token)),
  };
}
