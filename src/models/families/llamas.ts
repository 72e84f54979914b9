/** Families that attend as Llama does, with rotary embeddings and full attention or one window. */
import { FLAG, listOf, whole } from "../../base/check_options.ts";
import type { Family } from "../reading/family.ts";
import {
  allSliding,
  lastSliding,
  slidingBut,
  slidingButFirstOfFour,
  slidingWhereStill,
} from "../reading/layer_kinds.ts";

const WHOLE_NUMBERS = listOf(whole(0));
const INTERLEAVED = { layout: "interleaved" } as const;

/** By `model_type`, the best known first. */
export const LLAMAS: readonly Family[] = [
  {
    types: ["llama"],
    models: "Llama 2, 3; Yi; SmolLM; Vicuna; DeepSeek-R1 distilled",
    sizes: [32, 32, 32, 4096],
  },
  {
    types: ["mistral"],
    models: "Mistral 7B, Nemo, Small",
    sizes: [32, 32, 8, 4096],
    defaults: { sliding_window: 4096 },
    layers: allSliding,
  },
  {
    types: ["mixtral"],
    models: "Mixtral",
    sizes: [32, 32, 8, 4096],
    defaults: { rope_theta: 1e6 },
    layers: allSliding,
  },
  {
    types: ["ministral"],
    models: "Ministral 8B",
    sizes: [32, 32, 8, 4096],
    defaults: { sliding_window: 4096 },
    layers: allSliding,
  },
  {
    types: ["ministral3"],
    models: "Ministral 3",
    sizes: [34, 32, 8, 4096],
    defaults: {
      head_dim: 128,
      max_position_embeddings: 262144,
      rope_parameters: {
        rope_type: "yarn",
        rope_theta: 1e6,
        factor: 16,
        original_max_position_embeddings: 16384,
        mscale: 1,
        mscale_all_dim: 1,
        llama_4_scaling_beta: 0.1,
      },
    },
    layers: allSliding,
  },
  {
    types: ["apertus"],
    models: "Apertus",
    sizes: [32, 32, 32, 4096],
    defaults: {
      rope_theta: 12e6,
      rope_parameters: {
        rope_type: "llama3",
        factor: 8,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 8192,
      },
    },
  },
  { types: ["arcee"], models: "AFM 4.5B", sizes: [32, 32, 32, 2560] },
  { types: ["aria_text"], models: "Aria", sizes: [32, 32, 32, 4096] },
  {
    types: ["bitnet"],
    models: "BitNet b1.58",
    sizes: [30, 20, 5, 2560],
    defaults: { rope_theta: 500000 },
  },
  {
    types: ["cwm"],
    models: "Code World Model",
    sizes: [64, 48, 8, 6144],
    defaults: {
      head_dim: 128,
      sliding_window: 8192,
      rope_theta: 1e6,
      rope_parameters: {
        rope_type: "llama3",
        factor: 16,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 8192,
      },
    },
    layers: slidingButFirstOfFour,
  },
  {
    types: ["dots1"],
    models: "dots.llm1",
    sizes: [62, 32, 32, 4608],
    defaults: { use_sliding_window: true, max_window_layers: 62 },
    layers: lastSliding,
  },
  {
    types: ["exaone"],
    models: "EXAONE 3, 3.5",
    names: {
      num_hidden_layers: "num_layers",
    },
  },
  {
    types: ["flex_olmo"],
    models: "FlexOlmo",
    sizes: [32, 32, 32, 4096],
    defaults: { rope_theta: 500000 },
  },
  {
    types: ["glm4_moe"],
    models: "GLM-4.5, 4.6",
    sizes: [46, 96, 8, 4096],
    defaults: { partial_rotary_factor: 0.5 },
  },
  {
    types: ["gpt_oss"],
    models: "gpt-oss",
    sizes: [36, 64, 8, 2880],
    defaults: {
      head_dim: 64,
      sliding_window: 128,
      rope_theta: 150000,
      attention_bias: true,
      rope_parameters: {
        rope_type: "yarn",
        factor: 32,
        truncate: false,
        original_max_position_embeddings: 4096,
      },
    },
    layers: slidingBut(2),
    learnedSinks: true,
    ignores: ["initial_context_length"],
  },
  {
    types: ["hunyuan_v1_dense", "hunyuan_v1_moe"],
    models: "Hunyuan",
    sizes: [32, 32, 32, 4096],
    rope: { asScored: "its keys are normalised after their rotary embedding" },
    names: { head_dim: "attention_head_dim" },
    ignores: ["cla_share_factor"],
    refuses: (entries) =>
      entries.get("use_cla", FLAG) === true
        ? `${entries.name("use_cla")} is true: layers use the keys and values of others`
        : undefined,
  },
  {
    types: ["hy_v3"],
    models: "Hunyuan 3",
    sizes: [80, 64, 8, 4096],
    defaults: { head_dim: 128, rope_theta: 11158840 },
  },
  { types: ["internlm2"], models: "InternLM2, 2.5", sizes: [32, 32, 32, 4096], keyBias: "bias" },
  {
    types: ["internlm3"],
    models: "InternLM3",
    sizes: [32, 32, 32, 4096],
    keyBias: "qkv_bias",
    ignores: ["bias"],
  },
  {
    types: ["jais2"],
    models: "Jais 2",
    sizes: [32, 26, 26, 3328],
    defaults: { attention_bias: true },
  },
  {
    types: ["minicpm"],
    models: "MiniCPM 1, 2, 4",
    sizes: [32, 32, 32, 4096],
  },
  {
    types: ["minimax_m2"],
    models: "MiniMax M2",
    sizes: [62, 48, 8, 3072],
    defaults: { head_dim: 128, rope_theta: 5e6 },
    refuses: (entries) =>
      entries.get("attn_type_list", WHOLE_NUMBERS)?.some((type) => type !== 1)
        ? `${entries.name("attn_type_list")} has layers that keep a state, and no others are known`
        : undefined,
  },
  {
    types: ["nemotron"],
    models: "Nemotron 4, Minitron",
    sizes: [32, 48, 48, 6144],
    defaults: { partial_rotary_factor: 0.5 },
    names: { partial_rotary_factor: "rope_percent" },
  },
  { types: ["olmo"], models: "OLMo", sizes: [32, 32, 32, 4096] },
  { types: ["olmo2"], models: "OLMo 2", sizes: [32, 32, 32, 4096] },
  { types: ["olmoe"], models: "OLMoE", sizes: [16, 16, 16, 2048] },
  {
    types: ["seed_oss"],
    models: "Seed-OSS",
    sizes: [64, 80, 8, 4096],
    defaults: { head_dim: 128, attention_bias: true },
  },
  {
    types: ["smollm3"],
    models: "SmolLM3",
    sizes: [36, 16, 4, 2048],
    defaults: { rope_theta: 2e6, no_rope_layer_interval: 4 },
    layers: slidingWhereStill,
  },
  {
    types: ["solar_open"],
    models: "Solar Open",
    sizes: [48, 64, 8, 4096],
    defaults: { head_dim: 128, rope_theta: 1e6 },
  },
  {
    types: ["stablelm"],
    models: "StableLM 2, 3B",
    sizes: [32, 32, 32, 2560],
    defaults: { partial_rotary_factor: 0.25 },
    names: { partial_rotary_factor: "rope_pct" },
    keyBias: "use_qkv_bias",
  },
  {
    types: ["starcoder2"],
    models: "StarCoder2",
    sizes: [30, 24, 2, 3072],
    defaults: { use_bias: true },
    layers: allSliding,
    keyBias: "use_bias",
  },
  // Pairs lie side by side.
  {
    types: ["cohere"],
    models: "Command R",
    sizes: [40, 64, 64, 8192],
    defaults: { rope_theta: 500000 },
    rope: INTERLEAVED,
  },
  {
    types: ["ernie4_5"],
    models: "ERNIE 4.5 0.3B",
    sizes: [18, 16, 2, 1024],
    defaults: { rope_theta: 500000, head_dim: 128 },
    rope: INTERLEAVED,
    keyBias: "use_bias",
    neutral: { compression_ratio: [1] },
  },
  {
    types: ["ernie4_5_moe"],
    models: "ERNIE 4.5 MoE",
    sizes: [28, 20, 4, 2560],
    defaults: { rope_theta: 500000 },
    rope: INTERLEAVED,
    keyBias: "use_bias",
    neutral: { compression_ratio: [1], rope_3d: [false] },
  },
  {
    types: ["glm", "glm4"],
    models: "GLM-4 9B, 32B; GLM-Z1",
    sizes: [40, 32, 2, 4096],
    defaults: { partial_rotary_factor: 0.5, head_dim: 128, attention_bias: true },
    rope: INTERLEAVED,
  },
  {
    types: ["helium"],
    models: "Helium",
    sizes: [24, 20, 20, 2560],
    defaults: { head_dim: 128, rope_theta: 100000 },
    rope: INTERLEAVED,
  },
  {
    types: ["baichuan"],
    models: "Baichuan 1, 2 7B",
    sizes: [32, 32, 32, 4096],
    // Its 13B models have the same entries, and ALiBi.
    refuses: (entries) => {
      const width = entries.get("hidden_size", whole(1));
      return width === 4096
        ? undefined
        : `hidden_size is ${width}: models other than 7B add ALiBi's biases to scores, and the kernels score by q.k alone`;
    },
  },
  {
    types: ["persimmon"],
    models: "Persimmon, Fuyu's text model",
    sizes: [36, 64, 64, 4096],
    defaults: { partial_rotary_factor: 0.5 },
    keyBias: true,
  },
  {
    types: ["nanochat"],
    models: "nanochat",
    sizes: [12, 6, 6, 768],
    rope: {
      asScored: "its keys are normalised after their rotary embedding, which turns the other way",
    },
  },
  {
    types: ["gpt_neox"],
    models: "GPT-NeoX, Pythia, RedPajama",
    sizes: [44, 64, 64, 6144],
    defaults: { partial_rotary_factor: 0.25, attention_bias: true },
    names: { partial_rotary_factor: "rotary_pct", rope_theta: "rotary_emb_base" },
  },
];
