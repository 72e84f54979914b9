/** Families some of whose layers keep a state instead of keys and values. */
import { FLAG, POSITIVE, TEXT } from "../../base/check_options.ts";
import type { Entries } from "../reading/entries.ts";
import type { Family, RopeRule } from "../reading/family.ts";
import {
  byLetters,
  fullEvery,
  fullIn,
  fullOncePerPeriod,
  type LayerPattern,
  letterCount,
  listedKinds,
} from "../reading/layer_kinds.ts";
import { refuseShape } from "../reading/refuse.ts";

const NONE: RopeRule = { layout: "none" };

/** Rotates if its file says so. */
function ifRope(entries: Entries): RopeRule {
  return entries.get("position_embedding_type", TEXT) === "rope" ? {} : NONE;
}

/** Kinds that `layers_block_type` lists. */
const blockTypes: LayerPattern = (entries, layers) =>
  listedKinds(entries, layers, "layers_block_type") ??
    refuseShape(`${entries.name("layers_block_type")} is missing`);

/** LFM2, of both kinds. */
const LFM2 = {
  defaults: { rope_theta: 1e6 },
  layers: fullIn("full_attn_idxs", "full"),
  ignores: ["num_heads", "use_pos_enc"],
} as const;

/** By `model_type`. */
export const HYBRIDS: readonly Family[] = [
  {
    types: ["lfm2"],
    models: "LFM2, LFM2.5, LFM2-VL",
    sizes: [32, 32, 8, 2560],
    ...LFM2,
  },
  { types: ["lfm2_moe"], models: "LFM2 8B-A1B", sizes: [32, 32, 8, 2048], ...LFM2 },
  {
    types: ["bamba"],
    models: "Bamba",
    sizes: [32, 32, 8, 4096],
    defaults: { partial_rotary_factor: 0.5 },
    layers: fullIn("attn_layer_indices", "none"),
    ignores: ["attn_rotary_emb"],
  },
  {
    types: ["granitemoehybrid"],
    models: "Granite 4",
    sizes: [32, 32, 32, 4096],
    layers: fullIn("attn_layer_indices", "none"),
    rope: ifRope,
    scale: (entries) => entries.get("attention_multiplier", POSITIVE) ?? 1,
    ignores: ["init_method", "normalization_function"],
  },
  {
    types: ["falcon_h1"],
    models: "Falcon-H1",
    sizes: [32, 32, 8, 4096],
  },
  {
    types: ["jamba"],
    models: "Jamba",
    sizes: [32, 32, 8, 4096],
    layers: fullOncePerPeriod,
    rope: NONE,
  },
  {
    types: ["nemotron_h"],
    models: "Nemotron-H, Nemotron Nano 2 and 3",
    defaults: { head_dim: 128 },
    names: { head_dim: "attention_head_dim" },
    count: letterCount,
    layers: byLetters,
    rope: NONE,
    ignores: ["mtp_layers_block_type", "mtp_hybrid_override_pattern", "use_bias"],
  },
  {
    types: ["olmo_hybrid"],
    models: "OLMo Hybrid",
    sizes: [32, 30, 30, 3840],
    layers: fullEvery(4, "full_attention_interval"),
    rope: (entries) =>
      entries.names.some((name) => /^rope_(theta|parameters|scaling)$/.test(name)) ? {} : NONE,
  },
  {
    types: ["zamba", "zamba2"],
    models: "Zamba, Zamba2",
    names: { head_dim: "attention_head_dim" },
    layers: blockTypes,
    rope: (entries) => entries.get("use_mem_rope", FLAG) === true ? {} : NONE,
    // Heads are of both the hidden state and the embedding, twice as wide.
    scale: (_, headDim) => (headDim / 2) ** -0.5,
    ignores: [
      "attention_hidden_size",
      "kv_channels",
      "num_query_groups",
      "use_shared_attention_adapter",
      "hybrid_layer_ids",
      "attn_layer_period",
      "attn_layer_offset",
      "add_bias_linear",
      "state_size",
    ],
  },
];
