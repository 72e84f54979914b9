/** The options of the reference cache, and what they may be. */
import { CAPACITY_FIELDS, type ExactTiers, SINK_LOGITS, type SpanKinds } from "./options.ts";
import { checkOptions, type Fields } from "../base/check_options.ts";
import { CODEBOOKS, MODEL } from "../codebooks/find.ts";
import { PLAN_FIELDS } from "./plan.ts";
import type { KeyOptions, ModelFingerprint, ModelShape, RopeByLayer } from "../model/model.ts";
import type { Policy } from "../schemes/policy.ts";
import type { CodebookSet } from "../codebooks/codebook.ts";

/**
 * Options of {@linkcode createReferenceCache}: those of a plan, without limits and kernels.
 */
export interface ReferenceCacheOptions {
  /** The shape of the model's attention. */
  readonly shape: ModelShape;
  /** Which scheme each layer uses for keys and for values. */
  readonly policy: Policy;
  /** How keys and queries reach the cache. */
  readonly keys: KeyOptions | RopeByLayer;
  /** Tokens that are kept exactly. */
  readonly tiers: ExactTiers;
  /**
   * The only fixed size: sequences grow without bound.
   */
  readonly capacity: {
    /** Most new tokens of one sequence in one step. */
    readonly appendTokens: number;
  };
  /** Factor of `q . k`, once or by layer. Defaults to each layer's `headDim ** -0.5`. */
  readonly scale?: number | readonly number[];
  /** If given, scores become `softcap * tanh(score / softcap)`. */
  readonly softcap?: number;
  /**
   * Learned attention sinks, `[layers][queryHeads]`: one more logit in each head's softmax, without
   * a value.
   */
  readonly sinkLogits?: Float32Array<ArrayBuffer>;
  /**
   * Codebooks of every layer, side and scheme of the policy. Schemes that need no calibration need
   * none.
   */
  readonly codebooks?: CodebookSet;
  /** The model in use. Codebooks of another model are refused. */
  readonly model?: ModelFingerprint;
  /** Kinds of spans ({@linkcode spanKinds}). How many fit is not checked. Defaults to none. */
  readonly spans?: SpanKinds;
}

/** What the options of a reference cache may be. */
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
 * @throws {CoupletError} `shape` for an unknown option, or a value that an option cannot have.
 */
export function checkReferenceOptions(options: ReferenceCacheOptions): void {
  checkOptions("shape", "Cannot create a reference cache", referenceFields(), options);
}
