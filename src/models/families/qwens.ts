/** Qwen's families, with those of images and sounds, whose channels rotate by several positions. */
import type { Family } from "../reading/family.ts";
import {
  evenSlidingBefore,
  fullEvery,
  lastSliding,
  slidingIfListed,
  usedSliding,
} from "../reading/layer_kinds.ts";

/** Three positions of a token, of time, height and width, turn sections of its channels. */
const MROPE = {
  asScored: "its channels rotate by three positions of a token, of time, height and width (mrope)",
  mrope: "consecutive",
} as const;

/** The same, with sections that take turns. */
const INTERLEAVED_MROPE = { ...MROPE, mrope: "interleaved" } as const;

/** A window that no layer has, whatever the file says. */
const UNUSED_WINDOW = {
  layers: slidingIfListed,
  ignores: ["use_sliding_window", "max_window_layers"],
} as const;

/** Every fourth layer has attention; the others keep a state. */
const LINEAR = fullEvery(4, "full_attention_interval");

/** By `model_type`, the oldest first. */
export const QWENS: readonly Family[] = [
  {
    types: ["qwen2"],
    models: "Qwen1.5, Qwen2, Qwen2.5, QwQ",
    sizes: [32, 32, 32, 4096],
    defaults: { sliding_window: 4096 },
    layers: lastSliding,
    keyBias: true,
  },
  {
    types: ["qwen2_moe"],
    models: "Qwen1.5-MoE, Qwen2-57B-A14B",
    sizes: [24, 16, 16, 2048],
    defaults: { sliding_window: 4096, qkv_bias: true },
    layers: evenSlidingBefore,
    keyBias: "qkv_bias",
  },
  {
    types: ["qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text"],
    models: "Qwen2-VL, Qwen2.5-VL",
    sizes: [80, 64, 8, 8192],
    defaults: { sliding_window: 4096, max_window_layers: 80, rope_theta: 1e6 },
    layers: lastSliding,
    rope: MROPE,
    keyBias: true,
  },
  {
    types: ["qwen2_5_omni_text"],
    models: "Qwen2.5-Omni",
    sizes: [28, 28, 4, 3584],
    defaults: { sliding_window: 32768, max_window_layers: 28, rope_theta: 1e6 },
    layers: lastSliding,
    rope: MROPE,
    keyBias: true,
  },
  {
    types: ["qwen3"],
    models: "Qwen3",
    sizes: [32, 32, 32, 4096],
    defaults: { sliding_window: 4096, head_dim: 128 },
    layers: lastSliding,
  },
  {
    types: ["qwen3_moe"],
    models: "Qwen3-30B-A3B, Qwen3-235B-A22B, Qwen3-Coder",
    sizes: [24, 32, 4, 2048],
    defaults: { sliding_window: 4096 },
    layers: usedSliding,
  },
  {
    types: ["qwen3_vl_text"],
    models: "Qwen3-VL",
    sizes: [32, 32, 32, 4096],
    defaults: { head_dim: 128, rope_theta: 500000 },
    rope: INTERLEAVED_MROPE,
  },
  {
    types: ["qwen3_vl_moe_text"],
    models: "Qwen3-VL MoE",
    sizes: [24, 16, 16, 2048],
    defaults: { head_dim: 128, rope_theta: 500000 },
    rope: INTERLEAVED_MROPE,
    ...UNUSED_WINDOW,
  },
  {
    types: ["qwen3_omni_moe_text"],
    models: "Qwen3-Omni",
    sizes: [28, 28, 4, 2048],
    defaults: { rope_theta: 1e6 },
    rope: INTERLEAVED_MROPE,
    ...UNUSED_WINDOW,
  },
  {
    types: ["qwen3_next"],
    models: "Qwen3-Next",
    sizes: [48, 16, 2, 2048],
    defaults: { head_dim: 256, partial_rotary_factor: 0.25 },
    layers: LINEAR,
  },
  {
    types: ["qwen3_5_text", "qwen3_5"],
    models: "Qwen3.5",
    sizes: [32, 16, 4, 4096],
    defaults: { head_dim: 256, partial_rotary_factor: 0.25 },
    layers: LINEAR,
    rope: INTERLEAVED_MROPE,
  },
  {
    types: ["qwen3_5_moe_text", "qwen3_5_moe"],
    models: "Qwen3.5 MoE",
    sizes: [40, 16, 2, 2048],
    defaults: { head_dim: 256, partial_rotary_factor: 0.25 },
    layers: LINEAR,
    rope: INTERLEAVED_MROPE,
  },
];
