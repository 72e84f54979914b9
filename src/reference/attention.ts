import type { KeyOptions } from "../model/model.ts";
import { CoupletError } from "../base/errors.ts";
import { inverseFrequencies, rotate } from "../model/rope.ts";
import type { ExactTiers } from "../plan/options.ts";

/** Keys and values of all tokens of one sequence and layer, in one of their two forms. */
export interface TokenVectors {
  /** `[tokens][keyValueHeads][headDim]`. */
  readonly keys: ArrayLike<number>;
  /** `[tokens][keyValueHeads][valueHeadDim]`. */
  readonly values: ArrayLike<number>;
}

/**
 * The input of {@linkcode attend}: a whole layer, or one KV head and its query heads.
 */
export interface AttentionInput {
  /** Query heads; query heads `[g * q / k, (g + 1) * q / k)` share KV head g. */
  readonly queryHeads: number;
  /** KV heads; divides `queryHeads`. */
  readonly keyValueHeads: number;
  /** Channels per head of queries and keys. */
  readonly headDim: number;
  /** Channels per head of values and the output. Defaults to `headDim`. */
  readonly valueHeadDim?: number;
  /** `[queryTokens][queryHeads][headDim]`, at consecutive positions. */
  readonly queries: ArrayLike<number>;
  /** Position of the first query token. */
  readonly firstPosition: number;
  /**
   * Tokens from position 0, at least up to the last query's. Only those that a query sees exactly
   * are read.
   */
  readonly exact: TokenVectors;
  /** The same tokens, decoded from their codes. Without it, every token is exact. */
  readonly coded?: TokenVectors;
  /** Which tokens are seen exactly if `coded` is given. Defaults to none. */
  readonly tiers?: ExactTiers;
  /** Tokens below this one, except sinks, are coded even in the window. Defaults to 0. */
  readonly exactFrom?: number;
  /** Tokens that leave the window together. Defaults to 1. */
  readonly block?: number;
  /**
   * `pre-rope` and `anchored`: the rotary embedding is applied to queries and keys here.
   * `as-scored`, the default: they are used as they are.
   */
  readonly keySpace?: KeyOptions;
  /**
   * `[tokens]` of positions from the first token on, three each, where the rotary embedding has
   * sections. Defaults to a token's place, three times.
   */
  readonly positions?: readonly (readonly number[])[];
  /** Factor of `q . k`. Defaults to `headDim ** -0.5`. */
  readonly scale?: number;
  /** If given, scores become `softcap * tanh(score / softcap)`. */
  readonly softcap?: number;
  /** Most recent tokens a query sees, its own included. 0, the default, means all. */
  readonly slidingWindow?: number;
  /**
   * `[queryHeads]`: one more logit in each head's softmax, without a value (learned sinks).
   * Defaults to none.
   */
  readonly sinkLogits?: ArrayLike<number>;
  /**
   * Tokens that every query sees besides, as they are scored: a span each. Defaults to none.
   */
  readonly spans?: readonly SpanVectors[];
}

/** Keys and values of a span. */
export interface SpanVectors extends TokenVectors {
  /**
   * What the range of a query's scores over the span is narrowed by: a score `a` becomes `m + (a -
   * m) * max(0, 1 - tau / (M - m))`, where `m` and `M` are the least and the greatest. Defaults to
   * nothing.
   */
  readonly tau?: number;
}

/** The result of {@linkcode attend}. */
export interface AttentionResult {
  /** `[queryTokens][queryHeads][valueHeadDim]`. */
  readonly output: Float64Array<ArrayBuffer>;
  /** `[queryTokens][queryHeads]`: natural log of the sum of the exponentials of the scores. */
  readonly logSumExp: Float64Array<ArrayBuffer>;
}

/**
 * Whether a query at position `query` sees the token at position `token` exactly, and not by its
 * code.
 *
 * @param exactFrom The first token after the sinks that is held exactly. Above 0 only after a
 * rollback.
 * @param block Tokens that leave the window together. Those of an incomplete block are seen
 * exactly.
 */
export function seesExactly(
  tiers: ExactTiers,
  query: number,
  token: number,
  exactFrom = 0,
  block = 1,
): boolean {
  const aged = Math.max(0, query + 1 - tiers.sinks - tiers.window);
  const lost = Math.min(exactFrom, query + 1) - tiers.sinks;
  return token < tiers.sinks || token - tiers.sinks >= Math.max(aged - aged % block, lost);
}

/**
 * Causal attention in float64 by definition: score, softmax, weighted mean, one query head at a
 * time. The oracle of every attention kernel.
 *
 * @throws {CoupletError} `shape` where sizes do not match or divide, or where a query has no token.
 */
export function attend(input: AttentionInput): AttentionResult {
  const { queryHeads, keyValueHeads, headDim, valueHeadDim = headDim, firstPosition } = input;
  const queryTokens = checkShapes(input);
  const tokens = firstPosition + queryTokens;
  const scale = input.scale ?? headDim ** -0.5;
  const softcap = input.softcap;
  const tiers = input.tiers ?? { sinks: 0, window: 0 };
  const isExact = (position: number, token: number) =>
    seesExactly(tiers, position, token, input.exactFrom, input.block);

  const queries = scored(input, input.queries, queryHeads, firstPosition, queryTokens);
  const exactKeys = scored(input, input.exact.keys, keyValueHeads, 0, tokens);
  const codedKeys = input.coded && scored(input, input.coded.keys, keyValueHeads, 0, tokens);

  const output = new Float64Array(queryTokens * queryHeads * valueHeadDim);
  const logSumExp = new Float64Array(queryTokens * queryHeads);
  for (let row = 0; row < queryTokens * queryHeads; row++) {
    const position = firstPosition + Math.floor(row / queryHeads);
    const keyValueHead = Math.floor((row % queryHeads) / (queryHeads / keyValueHeads));

    const oldest = Math.max(0, position + 1 - (input.slidingWindow || Infinity));
    const scores = new Float64Array(position + 1).fill(-Infinity);
    for (let token = oldest; token <= position; token++) {
      const exact = codedKeys === undefined || isExact(position, token);
      const keys = exact ? exactKeys : codedKeys;
      const at = (token * keyValueHeads + keyValueHead) * headDim;
      let score = 0;
      for (let i = 0; i < headDim; i++) score += queries[row * headDim + i]! * keys[at + i]!;
      score *= scale;
      scores[token] = softcap === undefined ? score : softcap * Math.tanh(score / softcap);
    }

    const spans = (input.spans ?? []).map(({ keys, values, tau }) => {
      const plain = new Float64Array(keys.length / (keyValueHeads * headDim));
      for (let token = 0; token < plain.length; token++) {
        const at = (token * keyValueHeads + keyValueHead) * headDim;
        let score = 0;
        for (let i = 0; i < headDim; i++) score += queries[row * headDim + i]! * keys[at + i]!;
        score *= scale;
        plain[token] = softcap === undefined ? score : softcap * Math.tanh(score / softcap);
      }
      return { values, scores: tau === undefined ? plain : narrowed(plain, tau) };
    });

    // The largest score is subtracted before exponentials, so that none overflows.
    const sink = input.sinkLogits?.[row % queryHeads] ?? -Infinity;
    const all = [scores, ...spans.map((span) => span.scores)];
    const largest = all.reduce((most, own) => own.reduce((a, b) => Math.max(a, b), most), sink);
    const weights = scores.map((score) => Math.exp(score - largest));
    const others = spans.map((span) => span.scores.map((score) => Math.exp(score - largest)));
    const sum = [weights, ...others]
      .reduce((total, own) => own.reduce((a, b) => a + b, total), Math.exp(sink - largest));
    logSumExp[row] = largest + Math.log(sum);
    spans.forEach(({ values }, index) =>
      others[index]!.forEach((weight, token) => {
        const at = (token * keyValueHeads + keyValueHead) * valueHeadDim;
        for (let i = 0; i < valueHeadDim; i++) {
          output[row * valueHeadDim + i]! += (weight / sum) * values[at + i]!;
        }
      })
    );

    for (let token = oldest; token <= position; token++) {
      // A value of weight 0 adds nothing, even if it is not finite.
      if (weights[token] === 0) continue;
      const exact = input.coded === undefined || isExact(position, token);
      const values = exact ? input.exact.values : input.coded!.values;
      const at = (token * keyValueHeads + keyValueHead) * valueHeadDim;
      for (let i = 0; i < valueHeadDim; i++) {
        output[row * valueHeadDim + i]! += (weights[token]! / sum) * values[at + i]!;
      }
    }
  }
  return { output, logSumExp };
}

/** Scores over a span with a narrower range; as they are where all are alike. */
function narrowed(scores: Float64Array, tau: number): Float64Array {
  const [least, greatest] = [Math.min(...scores), Math.max(...scores)];
  if (least === greatest) return scores;
  const factor = Math.max(0, 1 - tau / (greatest - least));
  return scores.map((score) => least + (score - least) * factor);
}

/**
 * The vectors as they are scored: with the rotary embedding applied, if the key space is before it.
 */
function scored(
  input: AttentionInput,
  vectors: ArrayLike<number>,
  heads: number,
  firstPosition: number,
  tokens: number,
): ArrayLike<number> {
  const space = input.keySpace;
  if (space === undefined || space.space === "as-scored") return vectors;
  const { headDim } = input;
  const frequencies = inverseFrequencies(space.rope, headDim);
  const rotated = new Float64Array(tokens * heads * headDim);
  for (let row = 0; row < tokens * heads; row++) {
    const vector = Array.from({ length: headDim }, (_, i) => vectors[row * headDim + i]!);
    const token = firstPosition + Math.floor(row / heads);
    const position = input.positions?.[token] ?? token;
    rotated.set(rotate(vector, position, space.rope, frequencies), row * headDim);
  }
  return rotated;
}

/** Checks all sizes. Returns the number of query tokens. */
function checkShapes(input: AttentionInput): number {
  const { queryHeads, keyValueHeads, headDim, valueHeadDim = headDim, firstPosition } = input;
  const queryTokens = input.queries.length / (queryHeads * headDim);
  if (queryHeads % keyValueHeads !== 0) {
    throw shapeError(
      `${queryHeads} query heads do not divide among ${keyValueHeads} KV heads`,
      "Pass whole groups of query heads",
    );
  }
  if (!Number.isInteger(queryTokens) || !Number.isInteger(firstPosition) || firstPosition < 0) {
    throw shapeError(
      `${input.queries.length} query values are no tokens of ${queryHeads} x ${headDim}, or the first position is ${firstPosition}`,
      "Pass [tokens][queryHeads][headDim] queries and a position from 0",
    );
  }
  const heads = (firstPosition + queryTokens) * keyValueHeads;
  const [keys, values] = [heads * headDim, heads * valueHeadDim];
  for (const form of [input.exact, input.coded]) {
    if (form !== undefined && (form.keys.length < keys || form.values.length < values)) {
      throw shapeError(
        `${keys} key and ${values} value channels are needed up to the last query's position, and ${form.keys.length} and ${form.values.length} were given`,
        "Pass every token from position 0 to the last query's",
      );
    }
  }
  return queryTokens;
}

function shapeError(why: string, remedy: string): CoupletError {
  return new CoupletError("shape", { what: "Cannot compute reference attention", why, remedy });
}
