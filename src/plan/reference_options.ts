/** The options of the reference cache, and what they may be. */
import { CAPACITY_FIELDS, type ExactTiers, SINK_LOGITS } from "./options.ts";
import { checkOptions, type Fields } from "../base/check_options.ts";
import { CODEBOOKS, MODEL } from "../codebooks/find.ts";
import { PLAN_FIELDS } from "./plan.ts";
import type { KeyOptions, ModelFingerprint, ModelShape } from "../model/model.ts";
import type { Policy } from "../schemes/policy.ts";
import type { CodebookSet } from "../codebooks/codebook.ts";

/**
 * What {@linkcode createReferenceCache} needs: the options of a plan, of which limits and kernels
 * do not matter here.
 */
export interface ReferenceCacheOptions {
  /** The shape of the model's attention. */
  readonly shape: ModelShape;
  /** Which scheme each layer uses for keys and for values. */
  readonly policy: Policy;
  /** How keys (and queries) reach the cache. */
  readonly keys: KeyOptions;
  /** Tokens each query sees exactly. */
  readonly tiers: ExactTiers;
  /**
   * Sequences grow without bound; only the number of tokens one sequence may add in one step is
   * fixed.
   */
  readonly capacity: {
    /** Most new tokens of one sequence in one step. */
    readonly appendTokens: number;
  };
  /** Factor of `q . k`; `headDim ** -0.5` where absent. */
  readonly scale?: number;
  /** Scores become `softcap * tanh(score / softcap)` where present. */
  readonly softcap?: number;
  /**
   * Learned attention sinks, `[layers][queryHeads]`: one more logit in each head's softmax, without
   * a value.
   */
  readonly sinkLogits?: Float32Array<ArrayBuffer>;
  /**
   * Codebooks of every layer, side and scheme of the policy; not needed where all schemes are
   * `f16`.
   */
  readonly codebooks?: CodebookSet;
  /** The model in use, to refuse the codebooks of another. */
  readonly model?: ModelFingerprint;
}

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
