/**
 * The reference's functions with their arguments checked. The reference itself calls the unchecked
 * ones, for speed.
 */
import type { RopeParameters } from "../model/model.ts";
import { type ExactTiers, TIER_FIELDS } from "../plan/options.ts";
import {
  checkOptions,
  type Fields,
  type Kind,
  kind,
  listOf,
  whole,
} from "../base/check_options.ts";
import { known, NUMBER, NUMBERS } from "../base/data_kinds.ts";
import { ROPE_FIELDS } from "../model/rope_options.ts";
import * as attention from "../reference/attention.ts";
import * as rope from "../model/rope.ts";
import { keyFields } from "../model/key_fields.ts";

/**
 * Whether a query at position `query` sees the token at position `token` exactly, and not by its
 * code.
 *
 * @param exactFrom The first token after the sinks that is held exactly. Above 0 only after a
 * rollback.
 * @param block Tokens that leave the window together. Those of an incomplete block are seen
 * exactly.
 * @throws {CoupletError} `shape` where an argument is not a number.
 */
export function seesExactly(
  tiers: ExactTiers,
  query: number,
  token: number,
  exactFrom = 0,
  block = 1,
): boolean {
  const position = NUMBER;
  checkOptions("shape", "Cannot tell what a query sees", {
    tiers: TIER_FIELDS,
    query: position,
    token: position,
    exactFrom: position,
    block: position,
  }, { tiers, query, token, exactFrom, block });
  return attention.seesExactly(tiers, query, token, exactFrom, block);
}

/**
 * Causal attention in float64 by definition: score, softmax, weighted mean, one query head at a
 * time. The oracle of every attention kernel.
 *
 * @throws {CoupletError} `shape` where sizes do not match or divide, or where a query has no token.
 */
export function attend(input: attention.AttentionInput): attention.AttentionResult {
  const fields = attentionFields();
  checkOptions("shape", "Cannot compute reference attention", fields, known(fields, input));
  return attention.attend(input);
}

/** What a token's position may be. */
const POSITION: Kind<number | readonly number[]> = /* @__PURE__ */ kind(
  "a number, or a list of three",
  (value) => NUMBER[1](value) || (Array.isArray(value) && NUMBERS[1](value) && value.length === 3),
);

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
  parameters: RopeParameters,
  frequencies?: ArrayLike<number>,
): Float64Array<ArrayBuffer> {
  checkOptions("shape", "Cannot rotate keys and queries", {
    vector: NUMBERS,
    position: POSITION,
    rope: ROPE_FIELDS,
    "frequencies?": NUMBERS,
  }, { vector, position, rope: parameters, frequencies });
  return rope.rotate(vector, position, parameters, frequencies);
}

/** What spans may be. */
const SPANS: Kind<readonly attention.SpanVectors[]> = /* @__PURE__ */ listOf(
  /* @__PURE__ */ kind("{ keys, values }, each a list of numbers", (value) => {
    const { keys, values } = Object(value);
    return NUMBERS[1](keys) && NUMBERS[1](values);
  }),
);

/** What the input of attention may be. */
function attentionFields(): Fields<attention.AttentionInput> {
  const count = whole(1);
  const position = whole(0);
  const vectors: Fields<attention.TokenVectors> = { keys: NUMBERS, values: NUMBERS };
  return {
    queryHeads: count,
    keyValueHeads: count,
    headDim: count,
    "valueHeadDim?": count,
    queries: NUMBERS,
    firstPosition: NUMBER,
    exact: vectors,
    "coded?": vectors,
    "tiers?": TIER_FIELDS,
    "exactFrom?": position,
    "block?": count,
    "keySpace?": keyFields,
    "positions?": listOf(listOf(whole(0))),
    "scale?": NUMBER,
    "softcap?": NUMBER,
    "slidingWindow?": position,
    "sinkLogits?": NUMBERS,
    "spans?": SPANS,
  };
}
