/** Google's families: their own scales, and layers with two kinds of attention. */
import { FLAG, type Kind, kind, POSITIVE, whole } from "../../base/check_options.ts";
import { Entries, isObject, type Json } from "../reading/entries.ts";
import { type Family, givenSizes, type LayerSizes } from "../reading/family.ts";
import { evenSliding, repeated, slidingBut } from "../reading/layer_kinds.ts";
import { refuse } from "../reading/refuse.ts";

const COUNT = whole(1);

/** `query_pre_attn_scalar ** -0.5`. */
function byScalar(entries: Entries, headDim: number): number {
  return (entries.get("query_pre_attn_scalar", POSITIVE) ?? headDim) ** -0.5;
}

/** Refuses models that see later tokens, too. */
function onlyCausal(entries: Entries): string | undefined {
  const name = "use_bidirectional_attention";
  const found = entries.get(name, BIDIRECTIONAL);
  return found === true || found === "all"
    ? `${entries.name(name)} is ${found}: queries see later tokens, too`
    : undefined;
}

const BIDIRECTIONAL: Kind<boolean | string> = kind(
  "true, false or a text",
  (value) => typeof value === "boolean" || typeof value === "string",
);

/** Says where images are seen whole. */
function imagesNote(entries: Entries): string | undefined {
  return entries.get("use_bidirectional_attention", BIDIRECTIONAL) === "vision"
    ? "Tokens of an image see each other whole in the model; here they see earlier ones alone."
    : undefined;
}

/** Sizes of single layers, by their numbers ("05"), as newer files have them. */
const LAYER_CONFIGS: Kind<Readonly<Record<string, Json>>> = kind(
  "an object of objects",
  (value) => isObject(value) && Object.values(value).every(isObject),
);

/** Global layers have heads, and numbers of KV heads, of their own. */
function globalSizes(entries: Entries, kind: string, layer: number): LayerSizes {
  const byLayer = entries.get("per_layer_config", LAYER_CONFIGS);
  const grouped = entries.get("attention_k_eq_v", FLAG) === true;
  if (byLayer !== undefined) {
    const [, own] = Object.entries(byLayer).find(([number]) => Number(number) === layer) ?? [];
    const sizes = new Entries(own ?? {}, { path: `per_layer_config.${layer}.` });
    const read = givenSizes({
      headDim: sizes.get("head_dim", COUNT),
      keyValueHeads: sizes.get("num_key_value_heads", COUNT),
    });
    const unknown = sizes.unread;
    if (unknown.length > 0) {
      refuse(`${sizes.name(unknown[0]!)} is not understood`, "Plan by hand (planCache)");
    }
    return read;
  }
  const headDim = entries.get("global_head_dim", COUNT);
  const keyValueHeads = entries.get("num_global_key_value_heads", COUNT);
  if (kind !== "full") return {};
  // Where values are not keys, the numbers are as elsewhere.
  return givenSizes({ headDim, keyValueHeads: grouped ? keyValueHeads : undefined });
}

/** By `model_type`, the oldest first. */
export const GEMMAS: readonly Family[] = [
  {
    types: ["gemma"],
    models: "Gemma 1, CodeGemma",
    sizes: [28, 16, 16, 3072],
    defaults: { head_dim: 256 },
    refuses: onlyCausal,
  },
  {
    types: ["gemma2"],
    models: "Gemma 2",
    sizes: [26, 8, 4, 2304],
    defaults: {
      head_dim: 256,
      sliding_window: 4096,
      query_pre_attn_scalar: 256,
      attn_logit_softcapping: 50,
    },
    layers: evenSliding,
    scale: byScalar,
    refuses: onlyCausal,
    // The same number as sliding_window, as an older name.
    ignores: ["sliding_window_size"],
  },
  {
    types: ["gemma3_text"],
    models: "Gemma 3, MedGemma",
    sizes: [26, 8, 4, 2304],
    defaults: {
      head_dim: 256,
      sliding_window: 4096,
      query_pre_attn_scalar: 256,
      rope_theta: 1e6,
      rope_local_base_freq: 1e4,
    },
    names: { sliding_window_pattern: "_sliding_window_pattern" },
    layers: slidingBut(6),
    rope: { scaled: "full" },
    scale: byScalar,
    refuses: onlyCausal,
  },
  {
    types: ["gemma3n_text"],
    models: "Gemma 3n",
    sizes: [35, 8, 2, 2048],
    defaults: {
      head_dim: 256,
      sliding_window: 512,
      num_kv_shared_layers: 15,
      rope_theta: 1e6,
      rope_local_base_freq: 1e4,
    },
    layers: slidingBut(5),
    rope: { scaled: "full" },
    scale: () => 1,
    sharesLast: true,
  },
  {
    types: ["gemma4_text", "gemma4_unified_text"],
    models: "Gemma 4",
    sizes: [30, 8, 4, 2304],
    defaults: {
      head_dim: 256,
      global_head_dim: 512,
      sliding_window: 512,
      rope_parameters: {
        sliding_attention: { rope_type: "default", rope_theta: 1e4 },
        full_attention: { rope_type: "proportional", partial_rotary_factor: 0.25, rope_theta: 1e6 },
      },
    },
    layers: slidingBut(6),
    scale: () => 1,
    sharesLast: true,
    differing: globalSizes,
    refuses: onlyCausal,
    note: imagesNote,
  },
  {
    types: ["recurrent_gemma"],
    models: "RecurrentGemma",
    defaults: { partial_rotary_factor: 0.5, attention_window_size: 2048 },
    names: { sliding_window: "attention_window_size" },
    layers: (entries, layers) =>
      repeated("block_types")(entries, layers).map((kind) => kind === "full" ? "sliding" : kind),
    ignores: ["logits_soft_cap"],
  },
  {
    types: ["vaultgemma"],
    models: "VaultGemma",
    sizes: [26, 8, 4, 2304],
    defaults: {
      head_dim: 256,
      sliding_window: 4096,
      query_pre_attn_scalar: 256,
      attn_logit_softcapping: 50,
    },
    layers: evenSliding,
    scale: byScalar,
    refuses: onlyCausal,
  },
];
