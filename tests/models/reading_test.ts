/** How a `config.json` is read: text models within, defaults, other families, and what is not understood. */
import assert from "node:assert/strict";
import { manifest } from "../../generated/manifest.ts";
import { CoupletError, planCache } from "../../mod.ts";
import { type ModelPlanOptions, planOptions, type ReadingOptions } from "../../src/models/mod.ts";
import { PUBLISHED } from "../../tools/models/published.ts";

type Json = Readonly<Record<string, unknown>>;

/** Llama-3.2-1B, as far as attention goes. */
const LLAMA: Json = {
  model_type: "llama",
  hidden_size: 2048,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  head_dim: 64,
  max_position_embeddings: 131072,
  rope_theta: 500000,
};

const SHAPE = { layers: 16, queryHeads: 32, keyValueHeads: 8, headDim: 64 };

const READ: readonly {
  readonly name: string;
  readonly json: Json;
  readonly options?: ReadingOptions;
  readonly expected: { readonly [name in keyof ModelPlanOptions]?: ModelPlanOptions[name] };
}[] = [
  {
    name: "all that a plan needs",
    json: LLAMA,
    expected: {
      modelType: "llama",
      shape: SHAPE,
      keys: { space: "pre-rope", rope: { layout: "half", theta: 500000 } },
      scale: 0.125,
      softcap: 0,
      learnedSinks: false,
      keyBias: false,
      maxPositions: 131072,
      notes: [],
    },
  },
  {
    name: "head_dim from hidden_size, KV heads from heads, null as absent",
    json: { ...LLAMA, head_dim: null, num_key_value_heads: null, rope_scaling: null },
    expected: { shape: { ...SHAPE, keyValueHeads: 32 } },
  },
  {
    name: "rope_theta inside rope_parameters",
    json: {
      ...LLAMA,
      rope_theta: undefined,
      rope_parameters: { rope_theta: 7, rope_type: "default" },
    },
    expected: { keys: { space: "pre-rope", rope: { layout: "half", theta: 7 } } },
  },
  {
    name: "what a rotary embedding says of itself before what its model says, newer names first",
    json: {
      ...LLAMA,
      partial_rotary_factor: 0.25,
      rope_scaling: {
        rope_theta: 7,
        partial_rotary_factor: 0.5,
        rope_type: "default",
        type: "unheard-of",
      },
    },
    expected: { keys: { space: "pre-rope", rope: { layout: "half", theta: 7, rotaryDim: 32 } } },
  },
  {
    name: "glm: rotating channels that end within eight pairs, up to the end of a head",
    json: { ...LLAMA, model_type: "glm", head_dim: 40, partial_rotary_factor: 0.9 },
    expected: {
      keys: {
        space: "pre-rope",
        rope: {
          layout: "interleaved",
          theta: 500000,
          inverseFrequencies: [
            ...Array.from({ length: 18 }, (_, i) => 500000 ** (-2 * i / 36)),
            0,
            0,
          ],
        },
      },
    },
  },
  {
    name: "gemma4: layers of a kind with heads of their own, which rotate whole",
    json: {
      model_type: "gemma4_text",
      num_hidden_layers: 2,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      layer_types: ["sliding_attention", "sliding_attention"],
      per_layer_config: { "01": { head_dim: 128, num_key_value_heads: 2 } },
    },
    expected: {
      shape: {
        layers: 2,
        queryHeads: 8,
        keyValueHeads: [4, 2],
        headDim: [256, 128],
        slidingWindow: [512, 512],
      },
      keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
    },
  },
  {
    name: "gemma4: as many KV heads in global layers where values are not keys",
    json: {
      model_type: "gemma4_text",
      num_hidden_layers: 1,
      num_attention_heads: 8,
      num_key_value_heads: 4,
      num_global_key_value_heads: 2,
      layer_types: ["full_attention"],
    },
    options: { space: "as-scored" },
    expected: { shape: { layers: 1, queryHeads: 8, keyValueHeads: 4, headDim: 512 } },
  },
  {
    name: "gemma3n: sharing layers by their place among those with attention",
    json: {
      ...LLAMA,
      model_type: "gemma3n_text",
      num_hidden_layers: 3,
      num_kv_shared_layers: 1,
      layer_types: ["conv", "full_attention", "full_attention"],
    },
    expected: { shape: { ...SHAPE, layers: 2, sharesWith: [null, 0] }, layerNumbers: [1, 2] },
  },
  {
    name: "jamba: attention in the fifth layer of eight where the file does not say",
    json: { model_type: "jamba", num_hidden_layers: 9, num_attention_heads: 4, head_dim: 64 },
    expected: { layerNumbers: [4], modelLayers: 9 },
  },
  {
    name: "granitemoehybrid: no rotary embedding unless the file says so",
    json: {
      ...LLAMA,
      model_type: "granitemoehybrid",
      num_hidden_layers: 2,
      layer_types: ["mamba", "attention"],
    },
    expected: {
      layerNumbers: [1],
      scale: 1,
      asScored: "its layers have no rotary embedding",
    },
  },
  {
    name: "gpt_bigcode: one KV head where the file does not say",
    json: { model_type: "gpt_bigcode", n_layer: 1, n_head: 4, n_embd: 256 },
    expected: { shape: { layers: 1, queryHeads: 4, keyValueHeads: 1, headDim: 64 } },
  },
  {
    name: "olmo3: the factor of layers that have one, for a host that rotates",
    json: {
      ...LLAMA,
      model_type: "olmo3",
      num_hidden_layers: 2,
      sliding_window: 9,
      layer_types: ["sliding_attention", "full_attention"],
      rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 },
    },
    options: { space: "as-scored" },
    expected: {
      notes: [
        `The host multiplies rotated channels of keys and queries by ${
          0.1 * Math.log(4) + 1
        }, the attention factor of their rotary embedding.`,
      ],
    },
  },
  {
    name: "qwen2: a sliding window in the last layers",
    json: {
      ...LLAMA,
      model_type: "qwen2",
      num_hidden_layers: 3,
      use_sliding_window: true,
      sliding_window: 9,
      max_window_layers: 2,
    },
    expected: { shape: { ...SHAPE, layers: 3, slidingWindow: [0, 0, 9] }, keyBias: true },
  },
  {
    name: "qwen2_moe: a sliding window in every other of the first layers",
    json: {
      ...LLAMA,
      model_type: "qwen2_moe",
      num_hidden_layers: 5,
      use_sliding_window: true,
      sliding_window: 9,
      max_window_layers: 4,
    },
    expected: { shape: { ...SHAPE, layers: 5, slidingWindow: [9, 0, 9, 0, 0] } },
  },
  {
    name: "qwen3_moe: a sliding window in all layers, if it is used",
    json: {
      ...LLAMA,
      model_type: "qwen3_moe",
      num_hidden_layers: 2,
      use_sliding_window: true,
      sliding_window: 9,
      max_window_layers: 2,
    },
    expected: { shape: { ...SHAPE, layers: 2, slidingWindow: [9, 9] } },
  },
  {
    name: "smollm3: a sliding window in layers without rotary embedding",
    json: {
      ...LLAMA,
      model_type: "smollm3",
      num_hidden_layers: 5,
      use_sliding_window: true,
      sliding_window: 9,
      max_window_layers: 2,
    },
    expected: { shape: { ...SHAPE, layers: 5, slidingWindow: [0, 0, 0, 9, 0] } },
  },
  {
    name: "qwen3: 128 channels where the file does not say",
    json: { ...LLAMA, model_type: "qwen3", head_dim: undefined },
    expected: { shape: { ...SHAPE, headDim: 128 } },
  },
  {
    name: "gemma2 whose softcap is switched off",
    json: {
      model_type: "gemma2",
      num_hidden_layers: 1,
      num_attention_heads: 8,
      attn_logit_softcapping: null,
    },
    expected: { softcap: 0, scale: 1 / 16 },
  },
  {
    name: "layer_types before the family's own pattern",
    json: {
      model_type: "gemma2",
      num_hidden_layers: 2,
      num_attention_heads: 8,
      layer_types: ["full_attention", "sliding_attention"],
    },
    expected: {
      shape: { layers: 2, queryHeads: 8, keyValueHeads: 4, headDim: 256, slidingWindow: [0, 4096] },
      notes: ["The file leaves out num_key_value_heads: taken as transformers has it for gemma2."],
    },
  },
  {
    name: "layers without attention, which leave numbers",
    json: {
      ...LLAMA,
      num_hidden_layers: 4,
      layer_types: ["conv", "full_attention", "linear_attention", "full_attention"],
    },
    expected: { shape: { ...SHAPE, layers: 2 }, layerNumbers: [1, 3], modelLayers: 4 },
  },
  {
    name: "qwen3_next: attention in every fourth layer",
    json: { ...LLAMA, model_type: "qwen3_next", num_hidden_layers: 9 },
    expected: { layerNumbers: [3, 7], modelLayers: 9 },
  },
  {
    name: "entries that say of nothing that it is there, and those of other parts",
    json: {
      ...LLAMA,
      alibi: false,
      use_sliding_window: false,
      use_mrope: false,
      attention_dropout: 0.1,
      _attn_implementation: "sdpa",
      num_local_experts: 8,
      vision_config: { num_heads: 4 },
      sliding_window: null,
      lm_head_bias: true,
    },
    expected: { shape: SHAPE },
  },
  {
    name: "a text model without a model_type, by that of the model around it",
    json: {
      model_type: "gemma3",
      text_config: { hidden_size: 2560, num_hidden_layers: 7, sliding_window: 1024 },
    },
    expected: {
      modelType: "gemma3_text",
      shape: {
        layers: 7,
        queryHeads: 8,
        keyValueHeads: 4,
        headDim: 256,
        slidingWindow: [1024, 1024, 1024, 1024, 1024, 0, 1024],
      },
      notes: [
        "text_config leaves out num_attention_heads and num_key_value_heads: taken as transformers has it for gemma3_text.",
      ],
    },
  },
  {
    name: "as many KV heads as query heads where transformers has no other number",
    json: { model_type: "llava", text_config: { model_type: "llama", num_attention_heads: 16 } },
    expected: { shape: { layers: 32, queryHeads: 16, keyValueHeads: 16, headDim: 256 } },
  },
  {
    name: "a text model two objects deep",
    json: { model_type: "a", thinker_config: { model_type: "b", text_config: LLAMA } },
    expected: { modelType: "llama", shape: SHAPE, notes: [] },
  },
  {
    name: "an unknown family as one that is the same, and what that assumes",
    json: { ...LLAMA, model_type: "lamer" },
    options: { as: "llama" },
    expected: {
      modelType: "llama",
      shape: SHAPE,
      notes: [
        'Nothing is known of "lamer". It is read as llama, which assumes rotary embedding of 64 channels in halves at base 500000, no sliding window, scores times headDim ** -0.5, no learned sinks and no bias of keys.',
      ],
    },
  },
  {
    name: "an unknown family as one of other habits",
    json: { ...LLAMA, model_type: "goose", layer_types: undefined, num_hidden_layers: 2 },
    options: { as: "gpt_oss" },
    expected: {
      notes: [
        'Nothing is known of "goose". It is read as gpt_oss, which assumes rotary embedding of 64 channels in halves at base 500000, a sliding window in 1 of 2 layers, scores times headDim ** -0.5, learned sinks and a bias of keys.',
        "It has learned sinks: give them to createCache() (sinkLogits).",
      ],
    },
  },
  {
    name: "a known family as another that reads it alike",
    json: { ...LLAMA, model_type: "olmo2" },
    options: { as: "llama" },
    expected: { modelType: "llama", shape: SHAPE, notes: [] },
  },
  {
    name: "chunks that no sequence is longer than",
    json: { ...LLAMA, model_type: "llama4_text", attention_chunk_size: 100 },
    options: { length: 100 },
    expected: {
      shape: SHAPE,
      notes: [
        "Queries of layers without rotary embedding are multiplied by a factor of their position (attn_temperature_tuning): the host does that.",
      ],
    },
  },
];

for (const { name, json, options, expected } of READ) {
  Deno.test(`planOptions() reads ${name}`, () => {
    const found = planOptions(json, options);
    const picked = Object.fromEntries(
      Object.keys(expected).map((key) => [key, found[key as keyof ModelPlanOptions]]),
    );
    assert.deepEqual(picked, expected);
  });
}

Deno.test("planOptions() says of each layer what the file does", () => {
  const { layers } = planOptions({
    ...LLAMA,
    model_type: "exaone4",
    num_hidden_layers: 2,
    sliding_window: 128,
    sliding_window_pattern: "LG",
  });
  const both = {
    queryHeads: 32,
    keyValueHeads: 8,
    headDim: 64,
    valueDim: 64,
    scale: 0.125,
    chunk: 0,
  };
  const rope = { layout: "half" as const, theta: 500000, rotaryDim: 64, attentionFactor: 1 };
  assert.deepEqual(layers, [
    { number: 0, kind: "sliding", slidingWindow: 128, rope, ...both },
    { number: 1, kind: "full", slidingWindow: 0, rope: undefined, ...both },
  ]);
});

const REFUSED: readonly {
  readonly name: string;
  readonly json: unknown;
  readonly options?: ReadingOptions;
  readonly code: "file" | "shape";
  readonly why: RegExp;
}[] = [
  { name: "what is no object", json: [1], code: "file", why: /object/ },
  { name: "a file without model_type", json: {}, code: "file", why: /model_type is missing/ },
  {
    name: "an unknown family",
    json: { ...LLAMA, model_type: "lama" },
    code: "file",
    why: /"lama", which is not among the \d\d families known/,
  },
  {
    name: "an unknown text model, by its place",
    json: { model_type: "new", text_config: { hidden_size: 8 } },
    code: "file",
    why: /"new_text"/,
  },
  {
    name: "a prototype's name as a family",
    json: { ...LLAMA, model_type: "toString" },
    code: "file",
    why: /"toString"/,
  },
  {
    name: "a model without attention",
    json: { ...LLAMA, num_hidden_layers: 1, layer_types: ["linear_attention"] },
    code: "file",
    why: /no layer has attention/,
  },
  {
    name: "layers of a kind that is not known",
    json: { ...LLAMA, num_hidden_layers: 1, layer_types: ["chunky_attention"] },
    code: "file",
    why: /layer 0 is of the type "chunky_attention" \(layer_types\)/,
  },
  {
    name: "queries that see all tokens, images' and others'",
    json: {
      model_type: "gemma4_text",
      num_hidden_layers: 1,
      num_attention_heads: 8,
      use_bidirectional_attention: "all",
    },
    code: "file",
    why: /use_bidirectional_attention is all: queries see later tokens/,
  },
  {
    name: "more rotating channels than a head has",
    json: { model_type: "gptj", n_layer: 1, n_head: 4, n_embd: 128, rotary_dim: 64 },
    code: "file",
    why: /64 of 32 channels rotate, by rotary_dim/,
  },
  {
    name: "missing sizes, all named",
    json: { model_type: "llama", num_hidden_layers: 1 },
    code: "shape",
    why: /num_attention_heads and head_dim or hidden_size are missing/,
  },
  {
    name: "heads that do not divide",
    json: { ...LLAMA, head_dim: null, hidden_size: 2049 },
    code: "shape",
    why: /2049 is no multiple/,
  },
  {
    name: "layer_types of other layers",
    json: { ...LLAMA, layer_types: ["full_attention"] },
    code: "shape",
    why: /layer_types names 1 layers of 16/,
  },
  {
    name: "a sliding layer without a window",
    json: { ...LLAMA, num_hidden_layers: 1, layer_types: ["sliding_attention"] },
    code: "shape",
    why: /sliding_window is missing, and layer 0 needs it/,
  },
  {
    name: "a size that is none",
    json: { ...LLAMA, head_dim: -1 },
    code: "file",
    why: /head_dim is -1/,
  },
  {
    name: "a size within a text_config, by its place",
    json: { model_type: "llava", text_config: { ...LLAMA, head_dim: "64" } },
    code: "file",
    why: /text_config\.head_dim is "64"/,
  },
  {
    name: "queries that see later tokens",
    json: { ...LLAMA, model_type: "gemma2", use_bidirectional_attention: true },
    code: "file",
    why: /use_bidirectional_attention is true/,
  },
  {
    name: "scales by layer",
    json: {
      model_type: "gpt2",
      n_layer: 2,
      n_head: 2,
      n_embd: 16,
      scale_attn_by_inverse_layer_idx: true,
    },
    code: "file",
    why: /scale_attn_by_inverse_layer_idx is true/,
  },
  {
    name: "rotary embeddings by layer, as a list",
    json: { ...LLAMA, model_type: "granite_swa", layer_rope_theta: [0, 10000] },
    code: "file",
    why: /layer_rope_theta gives layers/,
  },
  {
    name: "layers of another order than is known",
    json: { ...LLAMA, model_type: "cohere2", order_of_interleaved_layers: "global_attn_first" },
    code: "file",
    why: /order_of_interleaved_layers may change/,
  },
  {
    name: "layers that keep a state, by number",
    json: { ...LLAMA, model_type: "minimax_m2", attn_type_list: [1, 0] },
    code: "file",
    why: /attn_type_list has layers/,
  },
  {
    name: "an option that is none",
    json: LLAMA,
    options: { as: "lama" },
    code: "shape",
    why: /as is "lama"/,
  },
  {
    name: "a known family as one that differs",
    json: { ...LLAMA, model_type: "gpt_oss", layer_types: Array(16).fill("full_attention") },
    options: { as: "llama" },
    code: "file",
    why:
      /"gpt_oss", which is known, and differs from llama in rotary embedding, learned sinks and a bias of keys/,
  },
  {
    name: "a known family whose keys are as scored as one whose are not, with the reason",
    json: { ...LLAMA, model_type: "qwen3_vl_text" },
    options: { as: "qwen3" },
    code: "file",
    why: /differs from qwen3 in how keys reach the cache: its channels rotate .*\(mrope\)$/,
  },
  {
    name: "what its own family cannot be served for, read as another",
    json: { ...LLAMA, model_type: "gemma3n_text", num_kv_shared_layers: 2 },
    options: { as: "gemma3_text" },
    code: "file",
    why: /num_kv_shared_layers/,
  },
  {
    name: "a family that is refused, read as another",
    json: { ...LLAMA, model_type: "deepseek_v3" },
    options: { as: "llama" },
    code: "file",
    why: /latent/,
  },
];

for (const { name, json, options, code, why } of REFUSED) {
  Deno.test(`planOptions() refuses ${name}`, () => {
    assert.throws(
      () => planOptions(json, options),
      (error) => error instanceof CoupletError && error.code === code && why.test(error.parts.why),
    );
  });
}

Deno.test("planOptions() says what heads of a latent vector take, and how planCache() plans them", () => {
  const config = {
    model_type: "minicpm3",
    num_hidden_layers: 62,
    num_attention_heads: 40,
    hidden_size: 2560,
    kv_lora_rank: 256,
    qk_nope_head_dim: 64,
    qk_rope_head_dim: 32,
  };
  let told = { bytes: 0, shape: { keyValueHeads: 0, headDim: 0, valueHeadDim: 0 } };
  assert.throws(() => planOptions(config), (error) => {
    assert.ok(error instanceof CoupletError);
    const { why, remedy } = error.parts;
    const number = (name: string) => Number(new RegExp(`${name} (\\d+)`).exec(remedy)![1]);
    told = {
      bytes: Number(/(\d+) bytes for each bit/.exec(why)![1]),
      shape: {
        keyValueHeads: number("keyValueHeads"),
        headDim: number("headDim"),
        valueHeadDim: number("valueHeadDim"),
      },
    };
    assert.match(why, /288 numbers in a layer, 576 bytes in f16/);
    return true;
  });
  const { layers: [layer] } = planCache({
    shape: { layers: 1, queryHeads: 40, ...told.shape },
    policy: { keys: "c8b8", values: "c8b8" },
    keys: { space: "as-scored" },
    tiers: { sinks: 0, window: 1 },
    capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 1, appendTokens: 1 },
    kernels: manifest,
  });
  // A page, at 1 bit a channel.
  assert.equal(layer!.bytes.keys.codes + layer!.bytes.values.codes, 64 * told.bytes);
  assert.throws(
    () => planOptions({ model_type: "deepseek_v3", kv_lora_rank: 512 }),
    { code: "file", message: /latent.*Choose another model$/s },
  );
});

Deno.test("planOptions() refuses a list of sliding layers of another length, or of other numbers", () => {
  const { config } = PUBLISHED.find(({ model }) => model === "MiMo-V2-Flash")!;
  for (const hybrid_layer_pattern of [[0, 1], new Array(48).fill(2)]) {
    assert.throws(() => planOptions({ ...config, hybrid_layer_pattern }), {
      code: "shape",
      message: /hybrid_layer_pattern is no list of 0 or 1 for 48 layers/,
    });
  }
  const { shape, notes } = planOptions(config, { length: 4096 });
  assert.equal(shape.valueHeadDim, 128);
  assert.match(notes.join(), /0\.707 \(attention_value_scale\).*the host does that/);
  assert.match(notes.join(), /logits of -1e30/);
});

/** Entries that may change attention, of families that know nothing of them. */
const UNKNOWN: readonly (readonly [entry: string, value: unknown])[] = [
  ["alibi", true],
  ["attention_multiplier", 0.5],
  ["attention_chunk_size", 8192],
  ["attn_type", "sparse"],
  ["attn_logit_cap", 30],
  ["compress_ratio", 4],
  ["cross_layer_sharing", 2],
  ["full_attention_interval", 4],
  ["global_head_dim", 512],
  ["index_topk", 2048],
  ["kv_lora_rank", 512],
  ["local_window", 64],
  ["multi_query", true],
  ["n_head_kv", 1],
  ["num_kv_heads", 1],
  ["num_kv_shared_layers", 10],
  ["per_layer_config", { 1: {} }],
  ["position_bias", true],
  ["position_embedding_type", "alibi"],
  ["qk_rope_head_dim", 64],
  ["query_pre_attn_scalar", 256],
  ["rope_interleaved", true],
  ["rotary_percentage", 0.5],
  ["sinks", 4],
  ["sliding_window", 4096],
  ["sliding_window_pattern", 6],
  ["sparse_config", { block: 64 }],
  ["use_rope", false],
  ["v_head_dim", 32],
];

for (const [entry, value] of UNKNOWN) {
  Deno.test(`planOptions() refuses the entry ${entry} where it is not understood`, () => {
    const named = (error: unknown) =>
      error instanceof CoupletError &&
      error.parts.why.startsWith(`${entry} may change the attention of a llama, and is not`);
    assert.throws(() => planOptions({ ...LLAMA, [entry]: value }), named);
    assert.throws(
      () => planOptions({ ...LLAMA, model_type: "new", [entry]: value }, { as: "llama" }),
      named,
    );
    // Null means none.
    assert.deepEqual(planOptions({ ...LLAMA, [entry]: null }).shape, SHAPE);
  });
}

Deno.test("planOptions() names all entries that it does not understand, by their places", () => {
  assert.throws(
    () => planOptions({ model_type: "llava", text_config: { ...LLAMA, sinks: 1, alibi: true } }),
    /text_config\.sinks and text_config\.alibi may change the attention of a llama, and are not/,
  );
});
