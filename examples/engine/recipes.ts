/** What the families' networks are made of, beside their attention, which `planOptions()` reads. */

import type { Activation } from "./kernels/gate.ts";

/** How a family's feed-forward weights lie in its checkpoints. */
export type FeedForwardLayout = "dense" | "separate experts" | "packed experts";

/** The entries of `config.json` that describe experts. */
export interface ExpertEntries {
  /** How many there are. */
  readonly count: string;
  /** Channels between the halves of each. */
  readonly width: string;
  /**
   * Whether the shares of those chosen add up to 1: always, or where this entry is true. Defaults
   * to always.
   */
  readonly normalized?: string;
}

/** A family's network. */
export interface Recipe {
  /** The tensors of a layer's norms, by what they norm. */
  readonly norms: {
    /** The attention's input. */
    readonly attention: string;
    /** Its output, before it is added to the residual stream. */
    readonly attentionOutput?: string;
    /** The feed-forward block's input. */
    readonly feedForward: string;
    /** Its output, before it is added to the residual stream. */
    readonly feedForwardOutput?: string;
  };
  /** Whether norms multiply by 1 + weight (Gemma). */
  readonly gainsFromOne?: true;
  /** Whether queries and keys pass a norm per head before the rotary embedding. */
  readonly queryKeyNorm?: true;
  /** Whether the attention's output projection has no bias even where the others have (Qwen2). */
  readonly plainAttentionOutput?: true;
  /** The entry that says whether feed-forward projections have a bias. Defaults to none having one. */
  readonly feedForwardBias?: string;
  /** Whether embeddings are multiplied by the root of their width (Gemma). */
  readonly scaledEmbeddings?: true;
  /** What the feed-forward block's gates pass. */
  readonly activation: Activation;
  /**
   * transformers' default of `final_logit_softcapping`, the bound of the output's logits; 0 for none.
   * Absent where the family has no such entry.
   */
  readonly logitSoftcap?: number;
  /** Where the feed-forward weights are. */
  readonly feedForward: FeedForwardLayout;
  /** Of models with experts. */
  readonly experts?: ExpertEntries;
  /** transformers' defaults of entries that files leave out, where they are not {@linkcode DEFAULTS}. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  /** Entries that must have these values, with what it would mean if they had not. */
  readonly only?: Readonly<
    Record<string, { readonly values: readonly unknown[]; readonly why: string }>
  >;
}

/** transformers' defaults of entries that files leave out. */
export const DEFAULTS: Readonly<Record<string, unknown>> = {
  rms_norm_eps: 1e-6,
  tie_word_embeddings: false,
  max_position_embeddings: 2048,
};

const LLAMA: Recipe = {
  norms: { attention: "input_layernorm", feedForward: "post_attention_layernorm" },
  activation: "silu",
  feedForward: "dense",
};

const QWEN3: Recipe = { ...LLAMA, queryKeyNorm: true };

const GEMMA2: Recipe = {
  norms: {
    attention: "input_layernorm",
    attentionOutput: "post_attention_layernorm",
    feedForward: "pre_feedforward_layernorm",
    feedForwardOutput: "post_feedforward_layernorm",
  },
  gainsFromOne: true,
  scaledEmbeddings: true,
  activation: "gelu tanh",
  feedForward: "dense",
  logitSoftcap: 30,
  defaults: { tie_word_embeddings: true },
};

/** By `model_type`. */
export const RECIPES = {
  llama: { ...LLAMA, feedForwardBias: "mlp_bias", defaults: { mlp_bias: false } },
  mistral: LLAMA,
  qwen2: { ...LLAMA, plainAttentionOutput: true },
  qwen3: QWEN3,
  qwen3_moe: {
    ...QWEN3,
    feedForward: "separate experts",
    experts: { count: "num_experts", width: "moe_intermediate_size", normalized: "norm_topk_prob" },
    defaults: { norm_topk_prob: false },
    only: {
      decoder_sparse_step: { values: [1], why: "some layers have no experts" },
      mlp_only_layers: { values: [[]], why: "some layers have no experts" },
    },
  },
  gemma2: GEMMA2,
  gemma3_text: {
    ...GEMMA2,
    queryKeyNorm: true,
    logitSoftcap: 0,
  },
  gpt_oss: {
    ...LLAMA,
    activation: "clamped silu",
    feedForward: "packed experts",
    experts: { count: "num_local_experts", width: "intermediate_size" },
    defaults: { rms_norm_eps: 1e-5, swiglu_limit: 7 },
  },
} as const satisfies Readonly<Record<string, Recipe>>;

/** The families this engine runs, by `model_type`. */
export type ModelType = keyof typeof RECIPES;

/** Every {@linkcode ModelType}. */
export const MODEL_TYPES: readonly ModelType[] = Object.keys(RECIPES) as ModelType[];
