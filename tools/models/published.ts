/**
 * Configurations of published models, as far as attention goes, with what is to be made of them.
 *
 * Entries and numbers are those of the models' own `config.json`; "transformers" says that they are
 * the defaults of its configuration class.
 *
 * @module
 */
import type { KeySpace } from "../../src/model/model.ts";

/** A model's configuration. */
export interface PublishedModel {
  /** The model, or `transformers`. */
  readonly model: string;
  /** Its `config.json`. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Tokens to plan for; 4096 where absent. */
  readonly length?: number;
  /** What is planned, or what the refusal says. */
  readonly planned: Planned | RegExp;
}

/** What is planned of a model, in words. */
export type Planned = readonly [
  layers: string,
  heads: string,
  rope: string,
  space: KeySpace,
  scale: string,
  others?: string,
];

const llama3 = (factor: number, original = 8192) => ({
  rope_type: "llama3",
  factor,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: original,
});

/** Sizes under their usual names. */
function sizes(
  model_type: string,
  num_hidden_layers: number,
  num_attention_heads: number,
  num_key_value_heads: number | undefined,
  hidden_size: number,
) {
  return {
    model_type,
    num_hidden_layers,
    num_attention_heads,
    ...(num_key_value_heads === undefined ? {} : { num_key_value_heads }),
    hidden_size,
  };
}

/** What models that cache a latent vector say of it, and of their heads. */
function latent(
  kv_lora_rank: number,
  qk_nope_head_dim: number,
  qk_rope_head_dim: number,
  v_head_dim?: number,
) {
  return {
    kv_lora_rank,
    qk_nope_head_dim,
    qk_rope_head_dim,
    ...(v_head_dim === undefined ? {} : { v_head_dim }),
  };
}

/** n names, as they repeat. */
function repeat(n: number, ...names: readonly string[]): readonly string[] {
  return Array.from({ length: n }, (_, i) => names[i % names.length]!);
}

const S = "sliding_attention";
const F = "full_attention";
const L = "linear_attention";

/** All of them, by family. */
export const PUBLISHED: readonly PublishedModel[] = [
  {
    model: "Llama-3.1-8B",
    config: {
      ...sizes("llama", 32, 32, 8, 4096),
      max_position_embeddings: 131072,
      rope_theta: 500000,
      rope_scaling: llama3(8),
      attention_bias: false,
      attention_dropout: 0,
      mlp_bias: false,
    },
    planned: ["32 full", "32/8 x 128", "half 128 @500000 scaled", "pre-rope", "128^-0.5"],
  },
  {
    model: "Llama-3.2-1B",
    config: {
      ...sizes("llama", 16, 32, 8, 2048),
      head_dim: 64,
      rope_theta: 500000,
      rope_scaling: llama3(32),
    },
    planned: ["16 full", "32/8 x 64", "half 64 @500000 scaled", "pre-rope", "64^-0.5"],
  },
  {
    model: "Llama-2-7b",
    config: { ...sizes("llama", 32, 32, 32, 4096), rope_scaling: null, pretraining_tp: 1 },
    planned: ["32 full", "32/32 x 128", "half 128 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Yi-1.5-9B",
    config: { ...sizes("llama", 48, 32, 4, 4096), rope_theta: 5000000 },
    planned: ["48 full", "32/4 x 128", "half 128 @5000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "SmolLM2-135M",
    config: {
      ...sizes("llama", 30, 9, 3, 576),
      rope_theta: 100000,
      rope_interleaved: false,
      "transformers.js_config": { kv_cache_dtype: { q4f16: "float16" } },
    },
    planned: ["30 full", "9/3 x 64", "half 64 @100000", "pre-rope", "64^-0.5"],
  },
  {
    model: "Mistral-7B-v0.1",
    config: { ...sizes("mistral", 32, 32, 8, 4096), sliding_window: 4096 },
    planned: ["32 sliding 4096", "32/8 x 128", "half 128 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Mistral-Nemo",
    config: {
      ...sizes("mistral", 40, 32, 8, 5120),
      head_dim: 128,
      rope_theta: 1000000,
      sliding_window: null,
    },
    planned: ["40 full", "32/8 x 128", "half 128 @1000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Mixtral-8x7B",
    config: {
      ...sizes("mixtral", 32, 32, 8, 4096),
      rope_theta: 1000000,
      sliding_window: null,
      num_local_experts: 8,
    },
    planned: ["32 full", "32/8 x 128", "half 128 @1000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Ministral-8B",
    config: {
      ...sizes("ministral", 36, 32, 8, 4096),
      head_dim: 128,
      rope_theta: 100000000,
      sliding_window: 32768,
      layer_types: repeat(36, F, S, S, S),
    },
    planned: [
      "9 full, 27 sliding 32768",
      "32/8 x 128",
      "half 128 @100000000",
      "pre-rope",
      "128^-0.5",
    ],
  },
  {
    model: "Ministral-3-3B",
    config: {
      model_type: "mistral3",
      text_config: {
        ...sizes("ministral3", 26, 32, 8, 3072),
        head_dim: 128,
        max_position_embeddings: 262144,
        sliding_window: null,
        rope_parameters: {
          type: "yarn",
          rope_type: "yarn",
          rope_theta: 1000000,
          factor: 16,
          beta_fast: 32,
          beta_slow: 1,
          mscale: 1,
          mscale_all_dim: 1,
          original_max_position_embeddings: 16384,
          llama_4_scaling_beta: 0.1,
        },
      },
    },
    planned: ["26 full", "32/8 x 128", "half 128 @1000000 scaled", "pre-rope", "128^-0.5"],
  },
  {
    model: "Apertus-8B",
    config: { ...sizes("apertus", 32, 32, 8, 4096), rope_theta: 12000000, rope_scaling: llama3(8) },
    planned: ["32 full", "32/8 x 128", "half 128 @12000000 scaled", "pre-rope", "128^-0.5"],
  },
  {
    model: "AFM-4.5B",
    config: {
      ...sizes("arcee", 36, 20, 4, 2560),
      head_dim: 128,
      max_position_embeddings: 65536,
      rope_scaling: {
        rope_type: "yarn",
        factor: 20,
        beta_fast: 128,
        beta_slow: 1,
        mscale: 1,
        original_max_position_embeddings: 4096,
      },
    },
    planned: [
      "36 full",
      "20/4 x 128",
      "half 128 @10000 scaled x1.29957",
      "pre-rope",
      "0.149278",
    ],
  },
  {
    model: "transformers",
    config: sizes("aria_text", 32, 32, 32, 4096),
    planned: ["32 full", "32/32 x 128", "half 128 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "bitnet-b1.58-2B-4T",
    config: { ...sizes("bitnet", 30, 20, 5, 2560), rope_theta: 500000 },
    planned: ["30 full", "20/5 x 128", "half 128 @500000", "pre-rope", "128^-0.5"],
  },
  {
    model: "cwm",
    config: {
      ...sizes("cwm", 64, 48, 8, 6144),
      head_dim: 128,
      rope_theta: 1000000,
      rope_scaling: llama3(16),
      sliding_window: 8192,
      layer_types: repeat(64, F, S, S, S),
    },
    planned: [
      "16 full, 48 sliding 8192",
      "48/8 x 128",
      "half 128 @1000000 scaled",
      "pre-rope",
      "128^-0.5",
    ],
  },
  {
    model: "dots.llm1",
    config: {
      ...sizes("dots1", 62, 32, 32, 4096),
      rope_theta: 10000000,
      sliding_window: null,
      max_window_layers: 62,
      n_shared_experts: 2,
    },
    planned: ["62 full", "32/32 x 128", "half 128 @10000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "EXAONE-3.5-2.4B",
    config: {
      model_type: "exaone",
      num_layers: 30,
      num_attention_heads: 32,
      num_key_value_heads: 8,
      hidden_size: 2560,
      head_dim: 80,
      rope_theta: 1000000,
      rope_scaling: llama3(8),
      attention_dropout: 0,
    },
    planned: ["30 full", "32/8 x 80", "half 80 @1000000 scaled", "pre-rope", "80^-0.5"],
  },
  {
    model: "transformers",
    config: { ...sizes("flex_olmo", 32, 32, 32, 4096), rope_theta: 500000 },
    planned: ["32 full", "32/32 x 128", "half 128 @500000", "pre-rope", "128^-0.5"],
  },
  {
    model: "GLM-4.5-Air",
    config: {
      ...sizes("glm4_moe", 46, 96, 8, 4096),
      head_dim: 128,
      partial_rotary_factor: 0.5,
      rope_theta: 1000000,
      attention_bias: true,
      use_qk_norm: false,
    },
    planned: ["46 full", "96/8 x 128", "half 64 @1000000", "pre-rope", "128^-0.5", "key bias"],
  },
  {
    model: "gpt-oss-20b",
    config: {
      ...sizes("gpt_oss", 24, 64, 8, 2880),
      head_dim: 64,
      attention_bias: true,
      initial_context_length: 4096,
      max_position_embeddings: 131072,
      sliding_window: 128,
      layer_types: repeat(24, S, F),
      rope_theta: 150000,
      rope_scaling: {
        rope_type: "yarn",
        factor: 32,
        beta_fast: 32,
        beta_slow: 1,
        truncate: false,
        original_max_position_embeddings: 4096,
      },
    },
    planned: [
      "12 sliding 128, 12 full",
      "64/8 x 64",
      "half 64 @150000 scaled x1.34657",
      "pre-rope",
      "0.226658",
      "learned sinks, key bias",
    ],
  },
  {
    model: "Hunyuan-7B",
    config: {
      ...sizes("hunyuan_v1_dense", 32, 32, 8, 4096),
      head_dim: 128,
      attention_head_dim: 128,
      add_classification_head: false,
      kv_lora_rank: null,
      position_embedding_xdrope: false,
      use_cla: false,
      use_mla: false,
      use_qk_norm: true,
      use_rotary_pos_emb: true,
      rope_theta: 10000,
      rope_scaling: {
        type: "dynamic",
        alpha: 1000,
        factor: 1,
        beta_fast: 32,
        beta_slow: 1,
        mscale: 1,
        mscale_all_dim: 1,
      },
    },
    planned: ["32 full", "32/8 x 128", "half 128 @11158839.9", "as-scored", "128^-0.5"],
  },
  {
    model: "transformers",
    config: { ...sizes("hy_v3", 80, 64, 8, 4096), head_dim: 128, rope_theta: 11158840 },
    planned: ["80 full", "64/8 x 128", "half 128 @11158840", "pre-rope", "128^-0.5"],
  },
  {
    model: "internlm2_5-7b",
    config: {
      ...sizes("internlm2", 32, 32, 8, 4096),
      bias: false,
      attn_implementation: "eager",
      max_position_embeddings: 32768,
      rope_theta: 1000000,
      rope_scaling: { type: "dynamic", factor: 2 },
    },
    planned: ["32 full", "32/8 x 128", "half 128 @1000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "internlm3-8b",
    config: {
      ...sizes("internlm3", 48, 32, 2, 4096),
      head_dim: 128,
      bias: false,
      qkv_bias: false,
      max_position_embeddings: 32768,
      rope_theta: 50000000,
      rope_scaling: { rope_type: "dynamic", factor: 6 },
    },
    length: 65536,
    planned: ["48 full", "32/2 x 128", "half 128 @360979300", "pre-rope", "128^-0.5"],
  },
  {
    model: "transformers",
    config: { ...sizes("jais2", 32, 26, 26, 3328), attention_bias: true },
    planned: ["32 full", "26/26 x 128", "half 128 @10000", "pre-rope", "128^-0.5", "key bias"],
  },
  {
    model: "MiniCPM-2B",
    config: { ...sizes("minicpm", 40, 36, 36, 2304), scale_emb: 12, scale_depth: 1.4 },
    planned: ["40 full", "36/36 x 64", "half 64 @10000", "pre-rope", "64^-0.5"],
  },
  {
    model: "MiniMax-M2",
    config: {
      ...sizes("minimax_m2", 62, 48, 8, 3072),
      head_dim: 128,
      rotary_dim: 64,
      rope_theta: 5000000,
      use_qk_norm: true,
      qk_norm_type: "per_layer",
      scoring_func: "sigmoid",
      use_routing_bias: true,
      attn_type_list: new Array(62).fill(1),
    },
    planned: ["62 full", "48/8 x 128", "half 64 @5000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Minitron-4B",
    config: { ...sizes("nemotron", 32, 24, 8, 3072), head_dim: 128, partial_rotary_factor: 0.5 },
    planned: ["32 full", "24/8 x 128", "half 64 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "OLMo-7B-0724",
    config: { ...sizes("olmo", 32, 32, 32, 4096), clip_qkv: 8 },
    planned: ["32 full", "32/32 x 128", "half 128 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "OLMo-2-7B",
    config: { ...sizes("olmo2", 32, 32, 32, 4096), rope_theta: 500000 },
    planned: ["32 full", "32/32 x 128", "half 128 @500000", "pre-rope", "128^-0.5"],
  },
  {
    model: "OLMoE-1B-7B",
    config: { ...sizes("olmoe", 16, 16, 16, 2048), clip_qkv: null },
    planned: ["16 full", "16/16 x 128", "half 128 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Seed-OSS-36B",
    config: {
      ...sizes("seed_oss", 64, 80, 8, 5120),
      head_dim: 128,
      attention_bias: true,
      attention_out_bias: false,
      rope_theta: 10000000,
      rope_scaling: { rope_type: "default" },
    },
    planned: ["64 full", "80/8 x 128", "half 128 @10000000", "pre-rope", "128^-0.5", "key bias"],
  },
  {
    model: "SmolLM3-3B",
    config: {
      ...sizes("smollm3", 36, 16, 4, 2048),
      rope_theta: 5000000,
      no_rope_layer_interval: 4,
      no_rope_layers: repeat(36, "1", "1", "1", "0").map(Number),
      use_sliding_window: false,
      sliding_window: null,
      layer_types: repeat(36, F),
    },
    planned: ["36 full", "16/4 x 128", "half 128 @5000000 | none", "pre-rope", "128^-0.5"],
  },
  {
    model: "transformers",
    config: { ...sizes("solar_open", 48, 64, 8, 4096), rope_theta: 1000000, head_dim: 128 },
    planned: ["48 full", "64/8 x 128", "half 128 @1000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "stablelm-2-1_6b",
    config: {
      ...sizes("stablelm", 24, 32, 32, 2048),
      partial_rotary_factor: 0.25,
      use_qkv_bias: true,
      qk_layernorm: false,
    },
    planned: ["24 full", "32/32 x 64", "half 16 @10000", "pre-rope", "64^-0.5", "key bias"],
  },
  {
    model: "stablelm-zephyr-3b",
    config: {
      ...sizes("stablelm", 32, 32, 32, 2560),
      partial_rotary_factor: 0.25,
      use_qkv_bias: false,
    },
    planned: ["32 full", "32/32 x 80", "half 20 @10000", "as-scored", "80^-0.5"],
  },
  {
    model: "starcoder2-3b",
    config: {
      ...sizes("starcoder2", 30, 24, 2, 3072),
      rope_theta: 999999.4420358813,
      sliding_window: 4096,
      use_bias: true,
      attention_dropout: 0.1,
    },
    planned: [
      "30 sliding 4096",
      "24/2 x 128",
      "half 128 @999999.442",
      "pre-rope",
      "128^-0.5",
      "key bias",
    ],
  },
  {
    model: "c4ai-command-r-v01",
    config: { ...sizes("cohere", 40, 64, 64, 8192), rope_theta: 8000000, logit_scale: 0.0625 },
    planned: ["40 full", "64/64 x 128", "interleaved 128 @8000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "ERNIE-4.5-0.3B",
    config: {
      ...sizes("ernie4_5", 18, 16, 2, 1024),
      head_dim: 128,
      rope_theta: 500000,
      use_bias: false,
      compression_ratio: 1,
    },
    planned: ["18 full", "16/2 x 128", "interleaved 128 @500000", "pre-rope", "128^-0.5"],
  },
  {
    model: "ERNIE-4.5-21B-A3B",
    config: { ...sizes("ernie4_5_moe", 28, 20, 4, 2560), rope_theta: 500000, use_bias: false },
    planned: ["28 full", "20/4 x 128", "interleaved 128 @500000", "pre-rope", "128^-0.5"],
  },
  {
    model: "glm-4-9b-hf",
    config: {
      ...sizes("glm", 40, 32, 2, 4096),
      head_dim: 128,
      partial_rotary_factor: 0.5,
      attention_bias: true,
    },
    planned: ["40 full", "32/2 x 128", "interleaved 64 @10000", "pre-rope", "128^-0.5", "key bias"],
  },
  {
    model: "GLM-4-32B-0414",
    config: {
      ...sizes("glm4", 61, 48, 2, 6144),
      head_dim: 128,
      partial_rotary_factor: 0.5,
      attention_bias: false,
    },
    planned: ["61 full", "48/2 x 128", "interleaved 64 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "transformers",
    config: { ...sizes("helium", 24, 20, 20, 2560), head_dim: 128, rope_theta: 100000 },
    planned: ["24 full", "20/20 x 128", "interleaved 128 @100000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Baichuan2-7B",
    config: sizes("baichuan", 32, 32, undefined, 4096),
    planned: ["32 full", "32/32 x 128", "half 128 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Baichuan2-13B",
    config: sizes("baichuan", 40, 40, undefined, 5120),
    planned: /hidden_size is 5120: .*ALiBi/,
  },
  {
    model: "persimmon-8b",
    config: {
      ...sizes("persimmon", 36, 64, undefined, 4096),
      partial_rotary_factor: 0.5,
      rope_theta: 25000,
      qk_layernorm: true,
    },
    planned: ["36 full", "64/64 x 64", "half 32 @25000", "pre-rope", "64^-0.5", "key bias"],
  },
  {
    model: "transformers",
    config: sizes("nanochat", 12, 6, 6, 768),
    planned: ["12 full", "6/6 x 128", "half 128 @10000", "as-scored", "128^-0.5"],
  },
  {
    model: "gpt-neox-20b",
    config: {
      ...sizes("gpt_neox", 44, 64, undefined, 6144),
      rotary_pct: 0.25,
      rotary_emb_base: 10000,
    },
    planned: ["44 full", "64/64 x 96", "half 24 @10000", "as-scored", "96^-0.5", "key bias"],
  },
  {
    model: "pythia-160m",
    config: {
      ...sizes("gpt_neox", 12, 12, undefined, 768),
      rotary_pct: 0.25,
      rotary_emb_base: 10000,
      use_parallel_residual: true,
    },
    planned: ["12 full", "12/12 x 64", "half 16 @10000", "pre-rope", "64^-0.5", "key bias"],
  },

  // Qwen.
  {
    model: "Qwen2.5-0.5B",
    config: {
      ...sizes("qwen2", 24, 14, 2, 896),
      rope_theta: 1000000,
      max_window_layers: 24,
      sliding_window: 32768,
      use_mrope: false,
      use_sliding_window: false,
    },
    planned: ["24 full", "14/2 x 64", "half 64 @1000000", "pre-rope", "64^-0.5", "key bias"],
  },
  {
    model: "Qwen2.5-7B, with the scaling its card tells",
    config: {
      ...sizes("qwen2", 28, 28, 4, 3584),
      rope_theta: 1000000,
      max_position_embeddings: 32768,
      rope_scaling: { type: "yarn", factor: 4, original_max_position_embeddings: 32768 },
    },
    planned: [
      "28 full",
      "28/4 x 128",
      "half 128 @1000000 scaled x1.13863",
      "pre-rope",
      "0.114593",
      "key bias",
    ],
  },
  {
    model: "Qwen2-57B-A14B",
    config: {
      ...sizes("qwen2_moe", 28, 28, 4, 3584),
      rope_theta: 1000000,
      sliding_window: 65536,
      max_window_layers: 28,
      use_sliding_window: false,
      decoder_sparse_step: 1,
      shared_expert_intermediate_size: 20480,
    },
    planned: ["28 full", "28/4 x 128", "half 128 @1000000", "pre-rope", "128^-0.5", "key bias"],
  },
  {
    model: "Qwen2-VL-7B",
    config: {
      ...sizes("qwen2_vl", 28, 28, 4, 3584),
      rope_theta: 1000000,
      sliding_window: 32768,
      use_sliding_window: false,
      rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] },
      vision_config: { num_heads: 16 },
    },
    planned: ["28 full", "28/4 x 128", "half 128 @1000000", "as-scored", "128^-0.5", "key bias"],
  },
  {
    model: "Qwen2.5-Omni-7B",
    config: {
      model_type: "qwen2_5_omni",
      thinker_config: {
        model_type: "qwen2_5_omni_thinker",
        text_config: {
          ...sizes("qwen2_5_omni_text", 28, 28, 4, 3584),
          rope_theta: 1000000,
          rope_scaling: { rope_type: "default", mrope_section: [16, 24, 24], type: "default" },
        },
      },
    },
    planned: ["28 full", "28/4 x 128", "half 128 @1000000", "as-scored", "128^-0.5", "key bias"],
  },
  {
    model: "Qwen3-0.6B",
    config: {
      ...sizes("qwen3", 28, 16, 8, 1024),
      head_dim: 128,
      rope_theta: 1000000,
      max_window_layers: 28,
      sliding_window: null,
    },
    planned: ["28 full", "16/8 x 128", "half 128 @1000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Qwen3-30B-A3B",
    config: {
      ...sizes("qwen3_moe", 48, 32, 4, 2048),
      head_dim: 128,
      rope_theta: 1000000,
      max_window_layers: 48,
    },
    planned: ["48 full", "32/4 x 128", "half 128 @1000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "Qwen3-VL-4B",
    config: {
      model_type: "qwen3_vl",
      text_config: {
        ...sizes("qwen3_vl_text", 36, 32, 8, 2560),
        head_dim: 128,
        rope_theta: 5000000,
        rope_scaling: {
          rope_type: "default",
          mrope_interleaved: true,
          mrope_section: [24, 20, 20],
        },
      },
    },
    planned: ["36 full", "32/8 x 128", "half 128 @5000000", "as-scored", "128^-0.5"],
  },
  {
    model: "Qwen3-VL-30B-A3B",
    config: {
      model_type: "qwen3_vl_moe",
      text_config: {
        ...sizes("qwen3_vl_moe_text", 48, 32, 4, 2048),
        head_dim: 128,
        rope_theta: 5000000,
        rope_scaling: { rope_type: "default", mrope_section: [24, 20, 20] },
      },
    },
    planned: ["48 full", "32/4 x 128", "half 128 @5000000", "as-scored", "128^-0.5"],
  },
  {
    model: "Qwen3-Omni-30B-A3B",
    config: {
      model_type: "qwen3_omni_moe",
      thinker_config: {
        model_type: "qwen3_omni_moe_thinker",
        text_config: {
          ...sizes("qwen3_omni_moe_text", 48, 32, 4, 2048),
          head_dim: 128,
          rope_theta: 1000000,
          rope_scaling: { rope_type: "default", mrope_section: [24, 20, 20] },
        },
      },
    },
    planned: ["48 full", "32/4 x 128", "half 128 @1000000", "as-scored", "128^-0.5"],
  },
  {
    model: "Qwen3-Next-80B-A3B",
    config: {
      ...sizes("qwen3_next", 48, 16, 2, 2048),
      head_dim: 256,
      full_attention_interval: 4,
      partial_rotary_factor: 0.25,
      rope_theta: 10000000,
      linear_num_key_heads: 16,
      linear_num_value_heads: 32,
    },
    planned: ["12 full of 48", "16/2 x 256", "half 64 @10000000", "pre-rope", "256^-0.5"],
  },
  {
    model: "Qwen3.5-27B",
    config: {
      model_type: "qwen3_5",
      text_config: {
        ...sizes("qwen3_5_text", 64, 24, 4, 5120),
        head_dim: 256,
        full_attention_interval: 4,
        layer_types: repeat(64, L, L, L, F),
        attn_output_gate: true,
        rope_parameters: {
          rope_type: "default",
          rope_theta: 10000000,
          partial_rotary_factor: 0.25,
          mrope_interleaved: true,
          mrope_section: [11, 11, 10],
        },
      },
    },
    planned: ["16 full of 64", "24/4 x 256", "half 64 @10000000", "as-scored", "256^-0.5"],
  },
  {
    model: "transformers",
    config: {
      ...sizes("qwen3_5_moe_text", 40, 16, 2, 2048),
      head_dim: 256,
      layer_types: repeat(40, L, L, L, F),
    },
    planned: ["10 full of 40", "16/2 x 256", "half 64 @10000", "as-scored", "256^-0.5"],
  },

  // Gemma.
  {
    model: "gemma-2b",
    config: { ...sizes("gemma", 18, 8, 1, 2048), head_dim: 256 },
    planned: ["18 full", "8/1 x 256", "half 256 @10000", "pre-rope", "256^-0.5"],
  },
  {
    model: "gemma-2-27b",
    config: {
      ...sizes("gemma2", 46, 32, 16, 4608),
      head_dim: 128,
      query_pre_attn_scalar: 144,
      attn_logit_softcapping: 50,
      final_logit_softcapping: 30,
      sliding_window: 4096,
      sliding_window_size: 4096,
    },
    planned: [
      "23 sliding 4096, 23 full",
      "32/16 x 128",
      "half 128 @10000",
      "pre-rope",
      "0.0833333",
      "softcap 50",
    ],
  },
  {
    model: "gemma-3-1b",
    config: {
      ...sizes("gemma3_text", 26, 4, 1, 1152),
      head_dim: 256,
      query_pre_attn_scalar: 256,
      rope_theta: 1000000,
      rope_local_base_freq: 10000,
      sliding_window: 512,
      sliding_window_pattern: 6,
    },
    planned: [
      "22 sliding 512, 4 full",
      "4/1 x 256",
      "half 256 @10000 | half 256 @1000000",
      "pre-rope",
      "256^-0.5",
    ],
  },
  {
    model: "gemma-3-4b",
    config: {
      model_type: "gemma3",
      text_config: {
        model_type: "gemma3_text",
        hidden_size: 2560,
        num_hidden_layers: 34,
        rope_scaling: { factor: 8, rope_type: "linear" },
        sliding_window: 1024,
      },
    },
    planned: [
      "29 sliding 1024, 5 full",
      "8/4 x 256",
      "half 256 @10000 | half 256 @1000000 scaled",
      "pre-rope",
      "256^-0.5",
    ],
  },
  {
    model: "gemma-3n-E2B",
    config: {
      model_type: "gemma3n",
      text_config: {
        ...sizes("gemma3n_text", 30, 8, 2, 2048),
        head_dim: 256,
        num_kv_shared_layers: 10,
        sliding_window: 512,
        layer_types: repeat(30, S, S, S, S, F),
        rope_theta: 1000000,
        rope_local_base_freq: 10000,
      },
    },
    planned: [
      "24 sliding 512, 6 full",
      "8/2 x 256",
      "half 256 @10000 | half 256 @1000000",
      "pre-rope",
      "1",
      "10 share",
    ],
  },
  {
    model: "gemma-4-31b",
    config: {
      model_type: "gemma4",
      text_config: {
        ...sizes("gemma4_text", 60, 32, 16, 5376),
        head_dim: 256,
        global_head_dim: 512,
        num_global_key_value_heads: 4,
        attention_k_eq_v: true,
        sliding_window: 1024,
        layer_types: repeat(60, S, S, S, S, S, F),
      },
    },
    planned: [
      "50 sliding 1024, 10 full",
      "32/16 or 4 x 256 or 512",
      "half 256 @10000 | half 512 @1000000 scaled",
      "pre-rope",
      "1",
    ],
  },
  {
    model: "recurrentgemma-2b",
    config: {
      ...sizes("recurrent_gemma", 26, 10, 1, 2560),
      attention_window_size: 2048,
      block_types: ["recurrent", "recurrent", "attention"],
      logits_soft_cap: 30,
      partial_rotary_factor: 0.5,
      rope_theta: 10000,
    },
    planned: ["8 sliding 2048 of 26", "10/1 x 256", "half 128 @10000", "pre-rope", "256^-0.5"],
  },
  {
    model: "transformers",
    config: { ...sizes("vaultgemma", 26, 8, 4, 2304), head_dim: 256 },
    planned: [
      "13 sliding 4096, 13 full",
      "8/4 x 256",
      "half 256 @10000",
      "pre-rope",
      "256^-0.5",
      "softcap 50",
    ],
  },

  // Windows, chunks and scales.
  {
    model: "Trinity-Mini",
    config: {
      ...sizes("afmoe", 32, 32, 4, 2048),
      head_dim: 128,
      global_attn_every_n_layers: 4,
      sliding_window: 2048,
    },
    planned: [
      "24 sliding 2048, 8 full",
      "32/4 x 128",
      "half 128 @10000 | none",
      "pre-rope",
      "128^-0.5",
    ],
  },
  {
    model: "c4ai-command-r7b",
    config: {
      ...sizes("cohere2", 32, 32, 8, 4096),
      head_dim: 128,
      rope_theta: 50000,
      sliding_window: 4096,
      sliding_window_pattern: 4,
      order_of_interleaved_layers: "local_attn_first",
      position_embedding_type: "rope_gptj",
    },
    planned: [
      "24 sliding 4096, 8 full",
      "32/8 x 128",
      "interleaved 128 @50000 | none",
      "pre-rope",
      "128^-0.5",
    ],
  },
  {
    model: "EXAONE-4.0-32B",
    config: {
      ...sizes("exaone4", 64, 40, 8, 5120),
      head_dim: 128,
      sliding_window: 4096,
      sliding_window_pattern: "LLLG",
      rope_theta: 1000000,
      rope_scaling: llama3(16),
    },
    planned: [
      "48 sliding 4096, 16 full",
      "40/8 x 128",
      "half 128 @1000000 scaled | none",
      "pre-rope",
      "128^-0.5",
    ],
  },
  {
    model: "EXAONE-4.0-1.2B",
    config: {
      ...sizes("exaone4", 30, 32, 8, 2048),
      head_dim: 64,
      sliding_window: null,
      sliding_window_pattern: null,
      rope_theta: 1000000,
      rope_scaling: llama3(16),
    },
    planned: ["30 full", "32/8 x 64", "half 64 @1000000 scaled", "pre-rope", "64^-0.5"],
  },
  {
    model: "Olmo-3-7B",
    config: {
      ...sizes("olmo3", 32, 32, 32, 4096),
      sliding_window: 4096,
      layer_types: repeat(32, S, S, S, F),
      max_position_embeddings: 65536,
      rope_theta: 500000,
      rope_scaling: {
        rope_type: "yarn",
        factor: 8,
        attention_factor: 1.2079441541679836,
        beta_fast: 32,
        beta_slow: 1,
        original_max_position_embeddings: 8192,
      },
    },
    planned: [
      "24 sliding 4096, 8 full",
      "32/32 x 128",
      "half 128 @500000 | half 128 @500000 scaled x1.20794",
      "pre-rope",
      "128^-0.5 or 0.12897",
    ],
  },
  {
    model: "granite-3.1-2b",
    config: {
      ...sizes("granite", 40, 32, 8, 2048),
      attention_multiplier: 0.015625,
      rope_theta: 5000000,
      logits_scaling: 8,
    },
    planned: ["40 full", "32/8 x 64", "half 64 @5000000", "pre-rope", "0.015625"],
  },
  {
    model: "granite-3.1-1b-a400m",
    config: {
      ...sizes("granitemoe", 24, 16, 8, 1024),
      attention_multiplier: 0.015625,
      rope_theta: 1500000,
      num_local_experts: 32,
    },
    planned: ["24 full", "16/8 x 64", "half 64 @1500000", "pre-rope", "0.015625"],
  },
  {
    model: "transformers",
    config: {
      ...sizes("granite_swa", 24, 20, 4, 2560),
      sliding_window: 128,
      layer_rope_theta: new Array(24).fill(10000),
    },
    planned: [
      "6 full, 18 sliding 128",
      "20/4 x 128",
      "half 128 @10000",
      "pre-rope",
      "1",
      "learned sinks",
    ],
  },
  {
    model: "transformers",
    config: { ...sizes("hyperclovax", 32, 32, 32, 4096), attention_multiplier: 0.0884 },
    planned: ["32 full", "32/32 x 128", "half 128 @10000", "pre-rope", "0.0884"],
  },
  {
    model: "transformers, with heads by layer",
    config: {
      ...sizes("laguna", 4, 48, 8, 2048),
      head_dim: 128,
      num_attention_heads_per_layer: [48, 64, 64, 64],
      layer_types: repeat(4, F, S, S, S),
      sliding_window: 512,
    },
    planned: [
      "1 full, 3 sliding 512",
      "48 or 64/8 x 128",
      "half 64 @500000 | half 128 @10000",
      "pre-rope",
      "128^-0.5",
    ],
  },
  {
    model: "Llama-4-Scout-17B-16E",
    config: {
      model_type: "llama4",
      text_config: {
        ...sizes("llama4_text", 48, 40, 8, 5120),
        head_dim: 128,
        attention_chunk_size: 8192,
        attn_temperature_tuning: 4,
        attn_scale: 0.1,
        floor_scale: 8192,
        no_rope_layers: [],
        max_position_embeddings: 10485760,
        rope_theta: 500000,
        rope_scaling: { ...llama3(16), high_freq_factor: 1 },
        use_qk_norm: true,
        for_llm_compressor: false,
      },
    },
    planned: [
      "36 chunked 8192, 12 full",
      "40/8 x 128",
      "interleaved 128 @500000 scaled | none",
      "pre-rope",
      "128^-0.5",
    ],
  },
  {
    model: "Llama-4-Scout-17B-16E, beyond a chunk",
    config: { ...sizes("llama4_text", 48, 40, 8, 5120), head_dim: 128, attention_chunk_size: 8192 },
    length: 8193,
    planned: /chunk of 8192 alone \(attention_chunk_size\)/,
  },
  {
    model: "transformers",
    config: {
      ...sizes("mellum", 28, 32, 4, 2304),
      head_dim: 128,
      sliding_window: 1024,
      layer_types: repeat(28, S, S, S, F),
    },
    planned: [
      "21 sliding 1024, 7 full",
      "32/4 x 128",
      "half 128 @10000 | half 128 @500000",
      "pre-rope",
      "128^-0.5",
    ],
  },

  // Hybrids.
  {
    model: "LFM2-1.2B",
    config: {
      ...sizes("lfm2", 16, 32, 8, 2048),
      full_attn_idxs: [2, 5, 8, 10, 12, 14],
      conv_bias: false,
      conv_L_cache: 3,
      num_heads: 32,
      rope_theta: 1000000,
      use_pos_enc: true,
    },
    planned: ["6 full of 16", "32/8 x 64", "half 64 @1000000", "pre-rope", "64^-0.5"],
  },
  {
    model: "LFM2-8B-A1B",
    config: {
      ...sizes("lfm2_moe", 24, 32, 8, 2048),
      layer_types: repeat(24, "conv", "conv", F, "conv"),
      rope_theta: 1000000,
      use_expert_bias: true,
    },
    planned: ["6 full of 24", "32/8 x 64", "half 64 @1000000", "pre-rope", "64^-0.5"],
  },
  {
    model: "Bamba-9B",
    config: {
      ...sizes("bamba", 32, 32, 8, 4096),
      attn_layer_indices: [9, 18, 27],
      attn_rotary_emb: 64,
      mamba_n_heads: 128,
    },
    planned: ["3 full of 32", "32/8 x 128", "half 64 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "granite-4.0-h-micro",
    config: {
      ...sizes("granitemoehybrid", 40, 32, 8, 2048),
      attention_multiplier: 0.015625,
      position_embedding_type: "nope",
      rope_theta: 10000,
      layer_types: Array.from({ length: 40 }, (_, i) => i % 10 === 5 ? "attention" : "mamba"),
    },
    planned: ["4 full of 40", "32/8 x 64", "none", "as-scored", "0.015625"],
  },
  {
    model: "granite-4.0-micro",
    config: {
      ...sizes("granitemoehybrid", 40, 40, 8, 2560),
      attention_multiplier: 0.015625,
      position_embedding_type: "rope",
      rope_theta: 10000000,
      layer_types: repeat(40, "attention"),
    },
    planned: ["40 full", "40/8 x 64", "half 64 @10000000", "pre-rope", "0.015625"],
  },
  {
    model: "Falcon-H1-1.5B",
    config: {
      ...sizes("falcon_h1", 24, 8, 2, 2048),
      head_dim: 128,
      rope_theta: 100000000000,
      key_multiplier: 0.5,
      attention_in_multiplier: 1,
      attention_out_multiplier: 0.9375,
      projectors_bias: false,
    },
    planned: ["24 full", "8/2 x 128", "half 128 @100000000000", "pre-rope", "128^-0.5"],
  },
  {
    model: "AI21-Jamba-Mini-1.5",
    config: {
      ...sizes("jamba", 32, 32, 8, 4096),
      attn_layer_period: 8,
      attn_layer_offset: 4,
      sliding_window: null,
    },
    planned: ["4 full of 32", "32/8 x 128", "none", "as-scored", "128^-0.5"],
  },
  {
    model: "Nemotron-H-8B",
    config: {
      ...sizes("nemotron_h", 52, 32, 8, 4096),
      attention_head_dim: 128,
      head_dim: 128,
      hybrid_override_pattern: "M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M*-M-M-M-M-M-",
      use_bias: false,
    },
    planned: ["4 full of 52", "32/8 x 128", "none", "as-scored", "128^-0.5"],
  },
  {
    model: "transformers",
    config: { ...sizes("olmo_hybrid", 32, 30, 30, 3840), layer_types: repeat(32, L, L, L, F) },
    planned: ["8 full of 32", "30/30 x 128", "none", "as-scored", "128^-0.5"],
  },
  {
    model: "Zamba2-1.2B",
    config: {
      ...sizes("zamba2", 38, 32, 32, 2048),
      attention_head_dim: 128,
      attention_hidden_size: 4096,
      kv_channels: 64,
      use_mem_rope: true,
      rope_theta: 10000,
      num_query_groups: 32,
      layers_block_type: Array.from(
        { length: 38 },
        (_, i) => i % 6 === 5 ? "hybrid" : "mamba",
      ),
    },
    planned: ["6 full of 38", "32/32 x 128", "half 128 @10000", "pre-rope", "0.125"],
  },

  // The first GPTs, Falcon, DBRX, Phi.
  {
    model: "gpt2",
    config: {
      model_type: "gpt2",
      n_layer: 12,
      n_head: 12,
      n_embd: 768,
      n_positions: 1024,
      n_ctx: 1024,
    },
    planned: ["12 full", "12/12 x 64", "none", "as-scored", "64^-0.5", "key bias"],
  },
  {
    model: "starcoder",
    config: {
      model_type: "gpt_bigcode",
      n_layer: 40,
      n_head: 48,
      n_embd: 6144,
      n_positions: 8192,
      multi_query: true,
      scale_attn_weights: true,
      attention_softmax_in_fp32: true,
    },
    planned: ["40 full", "48/1 x 128", "none", "as-scored", "128^-0.5", "key bias"],
  },
  {
    model: "gpt-neo-125m",
    config: {
      model_type: "gpt_neo",
      num_layers: 12,
      num_heads: 12,
      hidden_size: 768,
      window_size: 256,
      attention_types: [[["global", "local"], 6]],
      attention_layers: repeat(12, "global", "local"),
      max_position_embeddings: 2048,
    },
    planned: ["6 full, 6 sliding 256", "12/12 x 64", "none", "as-scored", "1"],
  },
  {
    model: "gpt-j-6b",
    config: {
      model_type: "gptj",
      n_layer: 28,
      n_head: 16,
      n_embd: 4096,
      n_positions: 2048,
      rotary: true,
      rotary_dim: 64,
      scale_attn_weights: true,
    },
    planned: ["28 full", "16/16 x 256", "interleaved 64 @10000", "pre-rope", "256^-0.5"],
  },
  {
    model: "codegen-350M-mono",
    config: {
      model_type: "codegen",
      n_layer: 20,
      n_head: 16,
      n_embd: 1024,
      rotary_dim: 32,
      scale_attn_weights: true,
    },
    planned: ["20 full", "16/16 x 64", "interleaved 32 @10000", "pre-rope", "64^-0.5"],
  },
  {
    model: "opt-125m",
    config: { ...sizes("opt", 12, 12, undefined, 768), max_position_embeddings: 2048 },
    planned: ["12 full", "12/12 x 64", "none", "as-scored", "64^-0.5", "key bias"],
  },
  {
    model: "falcon-7b",
    config: {
      ...sizes("falcon", 32, 71, undefined, 4544),
      num_kv_heads: 71,
      multi_query: true,
      alibi: false,
      bias: false,
      new_decoder_architecture: false,
      parallel_attn: true,
    },
    planned: ["32 full", "71/1 x 64", "half 64 @10000", "pre-rope", "64^-0.5"],
  },
  {
    model: "falcon-40b",
    config: {
      model_type: "falcon",
      n_layer: 60,
      n_head: 128,
      n_head_kv: 8,
      hidden_size: 8192,
      alibi: false,
      new_decoder_architecture: true,
    },
    planned: ["60 full", "128/8 x 64", "half 64 @10000", "pre-rope", "64^-0.5"],
  },
  {
    model: "falcon-rw-1b",
    config: {
      ...sizes("falcon", 24, 32, undefined, 2048),
      alibi: true,
      bias: true,
      multi_query: false,
    },
    planned: /alibi is true/,
  },
  {
    model: "dbrx",
    config: {
      model_type: "dbrx",
      n_layers: 40,
      n_heads: 48,
      d_model: 6144,
      max_seq_len: 32768,
      attn_config: { kv_n_heads: 8, rope_theta: 500000, clip_qkv: 8, model_type: "" },
    },
    planned: ["40 full", "48/8 x 128", "half 128 @500000", "pre-rope", "128^-0.5"],
  },
  {
    model: "phi-2",
    config: { ...sizes("phi", 32, 32, 32, 2560), partial_rotary_factor: 0.4, qk_layernorm: false },
    planned: ["32 full", "32/32 x 80", "half 32 @10000", "pre-rope", "80^-0.5", "key bias"],
  },
  {
    model: "Phi-3-mini-4k",
    config: {
      ...sizes("phi3", 32, 32, 32, 3072),
      original_max_position_embeddings: 4096,
      max_position_embeddings: 4096,
      sliding_window: 2047,
      rope_scaling: null,
      attention_bias: false,
    },
    planned: ["32 sliding 2047", "32/32 x 96", "half 96 @10000", "pre-rope", "96^-0.5"],
  },
  {
    model: "Phi-3.5-mini, with factors of 1 and 2",
    config: {
      ...sizes("phi3", 32, 32, 32, 3072),
      original_max_position_embeddings: 4096,
      max_position_embeddings: 131072,
      sliding_window: 262144,
      rope_scaling: {
        type: "longrope",
        short_factor: new Array(48).fill(1),
        long_factor: new Array(48).fill(2),
      },
    },
    planned: [
      "32 sliding 262144",
      "32/32 x 96",
      "half 96 @10000 scaled x1.19024",
      "pre-rope",
      "0.144588",
    ],
  },
  {
    model: "Phi-4-mini, with factors of 1 and 2",
    config: {
      ...sizes("phi3", 32, 24, 8, 3072),
      original_max_position_embeddings: 4096,
      max_position_embeddings: 131072,
      partial_rotary_factor: 0.75,
      sliding_window: 262144,
      full_attn_mod: 1,
      interpolate_factor: 1,
      rope_scaling: {
        type: "longrope",
        short_factor: new Array(48).fill(1),
        long_factor: new Array(48).fill(2),
      },
    },
    planned: [
      "32 sliding 262144",
      "24/8 x 128",
      "half 96 @10000 scaled x1.19024",
      "as-scored",
      "128^-0.5",
    ],
  },
  {
    model: "Phi-3.5-MoE, with factors of 1 and 2",
    config: {
      ...sizes("phimoe", 32, 32, 8, 4096),
      rope_theta: 10000,
      attention_bias: true,
      original_max_position_embeddings: 4096,
      max_position_embeddings: 131072,
      sliding_window: 131072,
      rope_scaling: {
        type: "longrope",
        short_factor: new Array(64).fill(1),
        long_factor: new Array(64).fill(2),
        short_mscale: 1.243163121016122,
        long_mscale: 1.243163121016122,
        original_max_position_embeddings: 4096,
      },
    },
    planned: [
      "32 sliding 131072",
      "32/8 x 128",
      "half 128 @10000 scaled x1.24316",
      "pre-rope",
      "0.1366",
      "key bias",
    ],
  },

  // Text models within others.
  {
    model: "SmolVLM-256M",
    config: {
      model_type: "idefics3",
      text_config: { ...sizes("llama", 30, 9, 3, 576), head_dim: 64, rope_theta: 100000 },
    },
    planned: ["30 full", "9/3 x 64", "half 64 @100000", "pre-rope", "64^-0.5"],
  },
  {
    model: "llava-1.5-7b",
    config: {
      model_type: "llava",
      text_config: { model_type: "llama", max_position_embeddings: 4096, vocab_size: 32064 },
    },
    planned: ["32 full", "32/32 x 128", "half 128 @10000", "pre-rope", "128^-0.5"],
  },
  {
    model: "InternVL3-8B",
    config: {
      model_type: "internvl_chat",
      llm_config: { ...sizes("qwen2", 28, 28, 4, 3584), rope_theta: 1000000 },
    },
    planned: ["28 full", "28/4 x 128", "half 128 @1000000", "pre-rope", "128^-0.5", "key bias"],
  },
  {
    model: "MiMo-V2-Flash",
    config: {
      ...sizes("mimo_v2_flash", 48, 64, 4, 4096),
      head_dim: 192,
      v_head_dim: 128,
      swa_num_attention_heads: 64,
      swa_num_key_value_heads: 8,
      swa_head_dim: 192,
      swa_v_head_dim: 128,
      hybrid_layer_pattern: Array.from(
        { length: 48 },
        (_, layer) => layer === 0 || layer % 6 === 5 ? 0 : 1,
      ),
      sliding_window: 128,
      sliding_window_size: 128,
      attention_chunk_size: 128,
      hybrid_block_size: null,
      max_position_embeddings: 262144,
      rope_theta: 5000000,
      swa_rope_theta: 10000,
      partial_rotary_factor: 0.334,
      attention_bias: false,
      attention_value_scale: 0.707,
      add_swa_attention_sink_bias: true,
      add_full_attention_sink_bias: false,
    },
    planned: [
      "9 full, 39 sliding 128",
      "64/4 or 8 x 192/128",
      "half 64 @5000000 | half 64 @10000",
      "pre-rope",
      "192^-0.5",
      "learned sinks",
    ],
  },
  {
    model: "deepseek-vl2",
    config: {
      model_type: "deepseek_vl_v2",
      language_config: { model_type: "deepseek_v2", kv_lora_rank: 512 },
    },
    planned: /"deepseek_v2": it caches one latent vector/,
  },

  // Refused as families.
  {
    model: "DeepSeek-V3",
    config: { ...sizes("deepseek_v3", 61, 128, 128, 7168), ...latent(512, 128, 64, 128) },
    planned:
      /"deepseek_v3": it caches one latent vector .*kv_lora_rank.* 576 numbers in a layer, 1152 bytes in f16, and 5120 bytes for each bit .* 128 heads' keys of 192 channels and values of 128/,
  },
  {
    model: "Kimi-K2",
    config: { ...sizes("kimi_k2", 61, 64, 64, 7168), ...latent(512, 128, 64, 128) },
    planned: /"kimi_k2": it caches one latent vector.* 2560 bytes for each bit/,
  },
  {
    model: "MiniCPM3-4B",
    config: { ...sizes("minicpm3", 62, 40, 40, 2560), ...latent(256, 64, 32) },
    planned:
      /"minicpm3": it caches one latent vector.* 288 numbers .* 800 bytes .*keys of 96 channels and values of 64/,
  },
  {
    model: "DeepSeek-V3.2",
    config: { ...sizes("deepseek_v32", 61, 128, 128, 7168), index_topk: 2048 },
    planned: /"deepseek_v32": .*index/,
  },
  {
    model: "bloom-560m",
    config: { model_type: "bloom", n_layer: 24, n_head: 16, hidden_size: 1024 },
    planned: /"bloom": it adds ALiBi's biases/,
  },
  {
    model: "Phi-3-small-8k",
    config: { ...sizes("phi3small", 32, 32, 8, 4096), dense_attention_every_n_layers: 2 },
    planned: /"phi3small": it masks tokens/,
  },
  {
    model: "mamba-130m",
    config: { model_type: "mamba", hidden_size: 768, num_hidden_layers: 24 },
    planned: /"mamba": it keeps a state/,
  },
];
