/** What the options of the reference cache, and of attention in float64, may be. */
import { CAPACITY_FIELDS, keyFields, SINK_LOGITS, TIER_FIELDS } from "./cache_options.ts";
import { checkOptions, type Fields, whole } from "./check_options.ts";
import { NUMBER, NUMBERS } from "./data_kinds.ts";
import { CODEBOOKS, MODEL } from "./find_codebook.ts";
import { PLAN_FIELDS } from "./plan.ts";
import type { AttentionInput, TokenVectors } from "./reference/attention.ts";
import type { ReferenceCacheOptions } from "./reference/reference_cache.ts";

/** What the options of a reference cache may be: those of a plan, of which it asks for fewer. */
export function referenceFields(): Fields<ReferenceCacheOptions> {
  const { kernels, ...planned } = PLAN_FIELDS;
  const { appendTokens, sequences, tokens, sequenceTokens, stepTokens } = CAPACITY_FIELDS;
  return {
    ...planned,
    ...{ "kernels?": kernels },
    capacity: {
      appendTokens,
      ...{
        "sequences?": sequences,
        "tokens?": tokens,
        "sequenceTokens?": sequenceTokens,
        "stepTokens?": stepTokens,
      },
    },
    "sinkLogits?": SINK_LOGITS,
    "codebooks?": CODEBOOKS,
    "model?": MODEL,
  };
}

/**
 * Checks the options of a reference cache.
 *
 * @throws {CoupletError} `shape` for a name that no option has, and a value that it cannot have.
 */
export function checkReferenceOptions(options: ReferenceCacheOptions): void {
  checkOptions("shape", "Cannot create a reference cache", referenceFields(), options);
}

/** What the input of attention may be. */
export function attentionFields(): Fields<AttentionInput> {
  const count = whole(1);
  const position = whole(0);
  const vectors: Fields<TokenVectors> = { keys: NUMBERS, values: NUMBERS };
  return {
    queryHeads: count,
    keyValueHeads: count,
    headDim: count,
    queries: NUMBERS,
    firstPosition: NUMBER,
    exact: vectors,
    "coded?": vectors,
    "tiers?": TIER_FIELDS,
    "exactFrom?": position,
    "block?": count,
    "keySpace?": keyFields,
    "scale?": NUMBER,
    "softcap?": NUMBER,
    "slidingWindow?": position,
    "sinkLogits?": NUMBERS,
  };
}
