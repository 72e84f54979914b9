/**
 * Which entries of a `config.json` say nothing about a cache, and which may. An entry that nobody
 * read and that may say something is refused by its name.
 */

/** Parts of the names of entries that may change attention. */
const SUSPECT =
  /attn|attention|rope|rotary|rotat|window|sink|head|kv|softcap|soft_cap|alibi|bias|query|key|value|qk|layer_types|layers_block|block_type|position|lora_rank|latent|clip|chunk|sparse|compress|global|local|sliding|causal|prefix_lm|relative|shared_layers|cross_layer|freq|yarn|ntk|mscale|temperature|logit_scale|score|nope|recurrent|interval|per_layer_config|index/i;

/** Entries with such names that change nothing about keys, values and scores. */
const HARMLESS: readonly string[] = [
  // How transformers computes, and in training.
  "_attn_implementation",
  "_attn_implementation_internal",
  "_attn_implementation_autoset",
  "_flash_attn_2_enabled",
  "attn_implementation",
  "use_flash_attn",
  "use_flash_attention",
  "use_flash_attn_2",
  "use_flash_attention_2",
  "flash_attn",
  "attn_pdrop",
  "attn_dropout",
  "attention_dropout",
  "attention_probs_dropout_prob",
  "attention_softmax_in_fp32",
  "scale_attention_softmax_in_fp32",
  "reorder_and_upcast_attn",
  "use_cache_quantization",
  "use_cache_kernel",
  "output_attentions",
  "keys_to_ignore_at_inference",
  "chunk_size_feed_forward",
  "pruned_heads",
  "num_logits_to_keep",
  "use_bfloat16",
  // Norms of queries and keys, and gates of the output: the host's, before and after the cache.
  "qk_layernorm",
  "qk_norm",
  "use_qk_norm",
  "use_query_key_norm",
  "qk_norm_type",
  "use_qk_layernorm",
  "use_q_norm",
  "clip_qkv",
  "qkv_clip",
  "attn_output_gate",
  "attention_out_bias",
  "attention_out_multiplier",
  "attention_in_multiplier",
  "key_multiplier",
  "use_attn_output_gate",
  "attention_output_gate",
  "attn_use_gate",
  // Feed-forward parts, experts, embeddings and logits.
  "mlp_bias",
  "use_mlp_bias",
  "lm_head_bias",
  "lm_head_multiplier",
  "norm_bias",
  "norm_after_attn",
  "logit_scale",
  "final_logit_softcapping",
  "router_bias",
  "use_expert_bias",
  "use_routing_bias",
  "moe_router_bias_update_rate",
  "moe_router_enable_expert_bias",
  "router_logit_softcapping",
  "moe_router_logit_softcapping",
  "mlp_layer_types",
  "moe_layer_start_index",
  "moe_layer_end_index",
  "moe_layer_interval",
  "scoring_func",
  "score_function",
  "decoder_sparse_step",
  "activation_sparsity_pattern",
  "altup_coef_clip",
  "hidden_activation_clip",
  "swiglu_limit",
  "mtp_layer_types",
  "num_nextn_predict_layers",
  "classifier_bias",
  "decoder_bias",
  "parallel_attn",
  "use_parallel_residual",
  "num_ln_in_parallel_attn",
  // Layers that keep a state.
  "conv_bias",
  "conv_use_bias",
  "use_conv_bias",
  "projectors_bias",
  "chunk_size",
  "recurrent_layer_type",
  // Tokens of multimodal inputs.
  "image_token_index",
  "video_token_index",
  "audio_token_index",
  "boi_token_index",
  "eoi_token_index",
];

/** Entries that say with these values that there is nothing of the kind. */
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  alibi: [false],
  use_alibi: [false],
  use_mrope: [false],
  use_dynamic_ntk: [false],
  use_logn_attn: [false],
  use_sliding_window: [false],
  use_bidirectional_attention: [false],
  use_bias: [false],
  bias: [false],
  qkv_bias: [false],
  use_qkv_bias: [false],
  add_qkv_bias: [false],
  add_cross_attention: [false],
  add_classification_head: [false],
  use_rotary_pos_emb: [true],
  position_embedding_xdrope: [false],
  use_mla: [false],
  is_causal: [true],
  use_rope: [true],
  rope_interleaved: [false],
  rotary: [true],
  position_embedding_type: ["rope", "rotary"],
  num_kv_shared_layers: [0],
  rope_ratio: [1],
};

/** Beginnings of such names: of parts with entries of their own. */
const HARMLESS_PARTS =
  /^(linear_|mamba_|n_mamba_|ssm_|vision_|visual_|image_|video_|audio_|mm_|projector_|moe_|router_|quantization_|time_step_|layer_?norm)|experts?_|_experts?$/;

/** Whether an entry may change attention. */
export function maySayMore(name: string, value: unknown): boolean {
  if (Object.hasOwn(NEUTRAL, name) && NEUTRAL[name]!.includes(value)) return false;
  return SUSPECT.test(name) && !HARMLESS.includes(name) && !HARMLESS_PARTS.test(name);
}

/** Whether an entry within `rope_scaling` and the like may: all but those known do. */
export function maySayMoreOfRope(name: string): boolean {
  return !HARMLESS_IN_ROPE.includes(name);
}

/** Entries within `rope_scaling` and the like that change nothing. */
const HARMLESS_IN_ROPE: readonly string[] = [
  "finetuned",
  // The same as beside the object.
  "max_position_embeddings",
  // Which pairs belong to which section: the host's, as keys are scored.
  "mrope_interleaved",
  // Of kinds of layers that the model does not have.
  "full_attention",
  "sliding_attention",
  "chunked_attention",
];
