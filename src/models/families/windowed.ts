/** Families whose layers have windows or chunks in turn, or attend with scales of their own. */
import { kind, listOf, POSITIVE, whole } from "../../base/check_options.ts";
import type { Entries } from "../reading/entries.ts";
import type { AttentionLayer } from "../reading/facts.ts";
import { type Family, givenSizes, type LayerSizes } from "../reading/family.ts";
import {
  chunkedWhereRotated,
  slidingBut,
  slidingButFirstOfFour,
  slidingIfListed,
  slidingWhere,
} from "../reading/layer_kinds.ts";

const COUNT = whole(1);
const HEADS = listOf(COUNT);
const THETAS = listOf(
  kind<number>("0 or a positive number", (value) => value === 0 || POSITIVE[1](value)),
);
const TUNING = kind<boolean | number>(
  "true, false or a number",
  (value) => typeof value === "boolean" || typeof value === "number",
);

/** `attention_multiplier`, as it is. */
function byMultiplier(entries: Entries): number {
  return entries.get("attention_multiplier", POSITIVE) ?? 1;
}

/** Whether layers rotate at bases of their own. */
function ownThetas(entries: Entries): string | undefined {
  const thetas = new Set(entries.get("layer_rope_theta", THETAS) ?? []);
  return thetas.size > 1 || thetas.has(0)
    ? `${entries.name("layer_rope_theta")} gives layers rotary embeddings of their own`
    : undefined;
}

/** Sizes of layers with a sliding window under names of their own, and channels of values (MiMo). */
function slidingSizes(entries: Entries, kind: AttentionLayer["kind"]): LayerSizes {
  const valueDim = entries.get("v_head_dim", COUNT);
  const own = {
    queryHeads: entries.get("swa_num_attention_heads", COUNT),
    keyValueHeads: entries.get("swa_num_key_value_heads", COUNT),
    headDim: entries.get("swa_head_dim", COUNT),
    valueDim: entries.get("swa_v_head_dim", COUNT) ?? valueDim,
  };
  return givenSizes(kind === "sliding" ? own : { valueDim });
}

/** By `model_type`. */
export const WINDOWED: readonly Family[] = [
  {
    types: ["afmoe"],
    models: "Trinity",
    sizes: [32, 16, 16, 2048],
    defaults: { head_dim: 128, sliding_window: 1024 },
    layers: slidingBut(4, "global_attn_every_n_layers"),
    rope: { only: "sliding" },
  },
  {
    types: ["cohere2"],
    models: "Command R7B, Command A, Aya",
    sizes: [40, 64, 64, 8192],
    defaults: { sliding_window: 4096 },
    layers: slidingBut(4),
    rope: { layout: "interleaved", only: "sliding" },
    neutral: {
      order_of_interleaved_layers: ["local_attn_first"],
      position_embedding_type: ["rope_gptj"],
      rotary_pct: [1],
      layer_switch: [4],
    },
  },
  {
    types: ["exaone4", "exaone_moe"],
    models: "EXAONE 4",
    sizes: [32, 32, 32, 4096],
    defaults: { sliding_window: 4096 },
    layers: slidingBut(4),
    rope: { only: "sliding" },
  },
  {
    types: ["olmo3"],
    models: "OLMo 3",
    sizes: [32, 32, 32, 4096],
    defaults: { sliding_window: 4096, rope_theta: 500000 },
    layers: slidingBut(4),
    rope: { scaled: "full" },
  },
  {
    types: ["granite", "granitemoe", "granitemoeshared"],
    models: "Granite 3",
    sizes: [32, 32, 32, 4096],
    scale: byMultiplier,
  },
  {
    types: ["granite_swa", "granitemoe_swa"],
    models: "Granite with windows",
    defaults: { sliding_window: 128 },
    layers: slidingButFirstOfFour,
    scale: byMultiplier,
    learnedSinks: true,
    refuses: ownThetas,
  },
  {
    types: ["hyperclovax"],
    models: "HyperCLOVA X",
    sizes: [32, 32, 32, 4096],
    scale: (entries, headDim) => entries.get("attention_multiplier", POSITIVE) ?? headDim ** -0.5,
  },
  {
    types: ["laguna"],
    models: "Laguna",
    sizes: [40, 48, 8, 2048],
    defaults: {
      head_dim: 128,
      sliding_window: 512,
      rope_parameters: {
        full_attention: { rope_theta: 500000, partial_rotary_factor: 0.5 },
        sliding_attention: { rope_theta: 10000 },
      },
    },
    layers: slidingIfListed,
    differing: (entries, _, layer) => {
      const entry = "num_attention_heads_per_layer";
      return givenSizes({ queryHeads: entries.get(entry, HEADS)?.[layer] });
    },
  },
  {
    types: ["llama4_text"],
    models: "Llama 4",
    sizes: [48, 40, 8, 5120],
    defaults: {
      head_dim: 128,
      rope_theta: 500000,
      no_rope_layer_interval: 4,
      attention_chunk_size: 8192,
      attn_temperature_tuning: true,
    },
    layers: chunkedWhereRotated,
    rope: { layout: "interleaved" },
    ignores: ["attn_scale", "floor_scale", "for_llm_compressor"],
    note: (entries) =>
      entries.get("attn_temperature_tuning", TUNING)
        ? "Queries of layers without rotary embedding are multiplied by a factor of their position (attn_temperature_tuning): the host does that."
        : undefined,
  },
  {
    types: ["mellum"],
    models: "Mellum 2",
    sizes: [28, 32, 4, 2304],
    layers: slidingIfListed,
    defaults: {
      head_dim: 128,
      sliding_window: 1024,
      rope_parameters: {
        full_attention: { rope_theta: 500000 },
        sliding_attention: { rope_theta: 10000 },
      },
    },
  },
  {
    types: ["mimo_v2_flash", "mimo_v2"],
    models: "MiMo V2 Flash, V2.5",
    names: { rope_local_base_freq: "swa_rope_theta" },
    defaults: { partial_rotary_factor: 0.334 },
    layers: slidingWhere("hybrid_layer_pattern"),
    rope: { scaled: "full" },
    differing: slidingSizes,
    learnedSinks: true,
    neutral: {
      add_swa_attention_sink_bias: [true],
      add_full_attention_sink_bias: [false],
    },
    ignores: [
      "attention_chunk_size",
      "attention_projection_layout",
      "hybrid_block_size",
      "sliding_window_size",
    ],
    note: (entries) => {
      const scale = entries.get("attention_value_scale", POSITIVE) ?? 1;
      return "Layers without a sliding window have no learned sinks: give them logits of -1e30." +
        (scale === 1
          ? ""
          : ` Values are multiplied by ${scale} (attention_value_scale) before they are appended: the host does that.`);
    },
  },
];
