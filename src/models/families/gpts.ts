/** Families with the entries, or the learned positions, of the first GPTs; Falcon, DBRX and Phi. */
import { FLAG, type Kind, kind, whole } from "../../base/check_options.ts";
import type { Entries } from "../reading/entries.ts";
import type { Family } from "../reading/family.ts";
import { allSliding, type LayerKind } from "../reading/layer_kinds.ts";
import { refuseShape } from "../reading/refuse.ts";

/** Sizes' names in the first GPTs' files. */
const GPT_NAMES = {
  num_hidden_layers: "n_layer",
  num_attention_heads: "n_head",
  hidden_size: "n_embd",
  max_position_embeddings: "n_positions",
} as const;

const NO_ROPE = { layout: "none" } as const;
const INTERLEAVED = { layout: "interleaved" } as const;
const COUNT = whole(1);

/** One over the root of the head dimension, unless the file says that scores stay as they are. */
function ifScaled(entries: Entries, headDim: number): number {
  return entries.get("scale_attn_weights", FLAG) === false ? 1 : headDim ** -0.5;
}

function ownScales(entries: Entries): string | undefined {
  const name = "scale_attn_by_inverse_layer_idx";
  return entries.get(name, FLAG) === true
    ? `${entries.name(name)} is true: layers scale scores by their number`
    : undefined;
}

/** Kinds of layers, and how often they follow each other: `[[["global", "local"], 12]]`. */
type AttentionTypes = readonly (readonly [names: readonly string[], times: number])[];
const ATTENTION_TYPES: Kind<AttentionTypes> = kind(
  'a list like [[["global", "local"], 12]]',
  (value) =>
    Array.isArray(value) &&
    value.every((part) =>
      Array.isArray(part) && Array.isArray(part[0]) && COUNT[1](part[1]) &&
      part[0].every((name) => name === "global" || name === "local")
    ),
);

function globalAndLocal(entries: Entries, layers: number): readonly LayerKind[] {
  const parts = entries.get("attention_types", ATTENTION_TYPES) ?? [];
  const total = parts.reduce((sum, [names, times]) => sum + names.length * times, 0);
  if (total !== layers) {
    refuseShape(`${entries.name("attention_types")} names ${total} layers of ${layers}`);
  }
  return parts.flatMap(([names, times]) =>
    Array.from({ length: times }, () => names.map((name) => name === "local" ? "sliding" : "full"))
      .flat()
  ) as LayerKind[];
}

/** One KV head for all query heads, unless the file says otherwise. */
function ifMultiQuery(entries: Entries, queryHeads: number): number {
  return entries.get("multi_query", FLAG) ?? true ? 1 : queryHeads;
}

function falconHeads(entries: Entries, queryHeads: number): number {
  const grouped = entries.get("new_decoder_architecture", FLAG) === true;
  const given = entries.get("num_kv_heads", COUNT);
  const multiQuery = ifMultiQuery(entries, queryHeads);
  return grouped ? given ?? queryHeads : multiQuery;
}

/** By `model_type`. */
export const GPTS: readonly Family[] = [
  {
    types: ["gpt2"],
    models: "GPT-2",
    sizes: [12, 12, 12, 768],
    names: GPT_NAMES,
    rope: NO_ROPE,
    scale: ifScaled,
    keyBias: true,
    refuses: ownScales,
    ignores: ["add_cross_attention", "n_ctx"],
  },
  {
    types: ["gpt_bigcode"],
    models: "StarCoder, SantaCoder",
    names: GPT_NAMES,
    rope: NO_ROPE,
    scale: ifScaled,
    keyValueHeads: ifMultiQuery,
    keyBias: true,
    refuses: ownScales,
    ignores: [
      "add_cross_attention",
      "num_key_value_heads",
      "inference_runner",
      "pre_allocate_kv_cache",
      "pad_key_length",
    ],
  },
  {
    types: ["gpt_neo"],
    models: "GPT-Neo",
    defaults: { window_size: 256 },
    names: {
      num_hidden_layers: "num_layers",
      num_attention_heads: "num_heads",
      sliding_window: "window_size",
    },
    layers: globalAndLocal,
    rope: NO_ROPE,
    scale: () => 1,
    ignores: ["attention_layers"],
  },
  {
    types: ["gptj", "codegen"],
    models: "GPT-J, CodeGen",
    defaults: { rotary_dim: 64 },
    names: GPT_NAMES,
    rope: INTERLEAVED,
    neutral: { scale_attn_weights: [true] },
  },
  {
    types: ["opt"],
    models: "OPT, Galactica",
    defaults: { enable_bias: true },
    rope: NO_ROPE,
    keyBias: "enable_bias",
    ignores: ["bias"],
  },
  {
    types: ["falcon"],
    models: "Falcon 7B, 40B, 11B",
    names: {
      num_hidden_layers: "n_layer",
      num_attention_heads: "n_head",
      num_kv_heads: "n_head_kv",
    },
    keyValueHeads: falconHeads,
    keyBias: "bias",
    refuses: (entries) =>
      entries.get("alibi", FLAG) === true
        ? `${
          entries.name("alibi")
        } is true: it adds biases to scores, and the kernels score by q.k alone`
        : undefined,
  },
  {
    types: ["dbrx"],
    models: "DBRX",
    flatten: "attn_config",
    names: {
      num_hidden_layers: "n_layers",
      num_attention_heads: "n_heads",
      num_key_value_heads: "kv_n_heads",
      hidden_size: "d_model",
      max_position_embeddings: "max_seq_len",
    },
  },
  {
    types: ["phi"],
    models: "Phi 1, 1.5, 2",
    sizes: [24, 32, 32, 2048],
    defaults: { partial_rotary_factor: 0.5 },
    keyBias: true,
  },
  {
    types: ["phi3", "phi3_v", "phi4_multimodal", "phi4mm"],
    models: "Phi 3, 3.5, 4, 4-mini",
    sizes: [32, 32, 32, 3072],
    layers: allSliding,
    neutral: { full_attn_mod: [1] },
  },
  {
    types: ["phimoe"],
    models: "Phi 3.5 MoE",
    sizes: [32, 32, 8, 4096],
    defaults: { rope_theta: 1e6 },
    layers: allSliding,
  },
];
