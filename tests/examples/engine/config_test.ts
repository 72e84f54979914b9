import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import { type ModelConfig, onlyRope, parseConfig } from "../../../examples/engine/mod.ts";
import { type Json, TINY } from "../../helpers/llama.ts";

const ACCEPTED: readonly {
  readonly name: string;
  readonly change: Json;
  readonly expected: Partial<ModelConfig>;
}[] = [
  {
    name: "plain llama",
    change: {},
    expected: {
      modelType: "llama",
      vocabularySize: 300,
      hiddenSize: 40,
      intermediateSize: 72,
      layers: 2,
      queryHeads: 6,
      keyValueHeads: 2,
      headDim: 8,
      normEpsilon: 1e-5,
      tiedEmbeddings: false,
      attentionBias: false,
      attentionOutputBias: false,
      feedForwardBias: false,
      endTokens: [],
    },
  },
  {
    name: "head_dim from hidden_size, KV heads from heads",
    change: { hidden_size: 96, head_dim: undefined, num_key_value_heads: undefined },
    expected: { headDim: 16, keyValueHeads: 6 },
  },
  {
    name: "head_dim null",
    change: { hidden_size: 96, head_dim: null },
    expected: { headDim: 16 },
  },
  {
    name: "llama with every bias",
    change: { attention_bias: true, mlp_bias: true },
    expected: { attentionBias: true, attentionOutputBias: true, feedForwardBias: true },
  },
  {
    name: "qwen2 has biases without saying so, none at the output",
    change: { model_type: "qwen2", use_sliding_window: false, sliding_window: 4096 },
    expected: {
      modelType: "qwen2",
      attentionBias: true,
      attentionOutputBias: false,
    },
  },
  {
    name: "qwen3",
    change: { model_type: "qwen3", attention_bias: false },
    expected: { modelType: "qwen3", attentionBias: false },
  },
  {
    name: "gpt-oss: its limit, and that tokens have biases and experts",
    change: { model_type: "gpt_oss", num_local_experts: 4, num_experts_per_tok: 2 },
    expected: {
      activationLimit: 7,
      attentionBias: true,
      attentionOutputBias: true,
      learnedSinks: true,
      experts: { count: 4, perToken: 2, normalized: true },
    },
  },
  {
    name: "Gemma 2: its defaults",
    change: { model_type: "gemma2", hidden_act: undefined, tie_word_embeddings: undefined },
    expected: { tiedEmbeddings: true, softcap: 50, logitSoftcap: 30 },
  },
  {
    name: "Gemma 2 without a cap of its logits",
    change: { model_type: "gemma2", hidden_act: null, final_logit_softcapping: null },
    expected: { logitSoftcap: 0, tiedEmbeddings: false },
  },
  {
    name: "several end tokens, tied embeddings",
    change: { eos_token_id: [7, 9], tie_word_embeddings: true },
    expected: { endTokens: [7, 9], tiedEmbeddings: true },
  },
];

const REFUSED: readonly {
  readonly name: string;
  readonly change: Json;
  readonly code: string;
  readonly message: RegExp;
}[] = [
  {
    name: "another architecture",
    change: { model_type: "phi3", architectures: ["Phi3ForCausalLM"] },
    code: "file",
    message: /phi3.*Phi3ForCausalLM.*llama, mistral, qwen2, qwen3/,
  },
  { name: "no model_type", change: { model_type: undefined }, code: "file", message: /llama/ },
  {
    name: "another activation",
    change: { hidden_act: "gelu" },
    code: "file",
    message: /gelu/,
  },
  {
    name: "quantised weights",
    change: { quantization_config: { bits: 4 } },
    code: "file",
    message: /quantised/,
  },
  {
    name: "weights in MXFP4 where they would be no experts",
    change: { quantization_config: { quant_method: "mxfp4" } },
    code: "file",
    message: /quantised/,
  },
  {
    name: "silu in Gemma",
    change: { model_type: "gemma3_text", sliding_window: 16 },
    code: "file",
    message: /hidden_act is "silu".*gelu_pytorch_tanh.*gemma3_text/,
  },
  {
    name: "rotary frequencies that depend on the length",
    change: {
      rope_scaling: {
        rope_type: "longrope",
        short_factor: [1, 1, 1, 1],
        long_factor: [2, 2, 2, 2],
        original_max_position_embeddings: 32,
      },
    },
    code: "file",
    message: /depend on the sequence's length/,
  },
  {
    name: "an unknown rotary scaling",
    change: { rope_scaling: { rope_type: "spiral", factor: 4 } },
    code: "file",
    message: /spiral/,
  },
  {
    name: "an entry that may change attention",
    change: { attention_twist: 3 },
    code: "file",
    message: /attention_twist/,
  },
  {
    name: "layers without experts among others",
    change: {
      model_type: "qwen3_moe",
      num_experts: 4,
      num_experts_per_tok: 2,
      moe_intermediate_size: 16,
      mlp_only_layers: [0],
    },
    code: "file",
    message: /mlp_only_layers is \[0\]/,
  },
  {
    name: "more experts a token than there are",
    change: {
      model_type: "qwen3_moe",
      num_experts: 4,
      num_experts_per_tok: 5,
      moe_intermediate_size: 16,
    },
    code: "shape",
    message: /num_experts_per_tok 5 exceeds num_experts 4/,
  },
  {
    name: "rotary scaling without its factor",
    change: { rope_scaling: { type: "linear" } },
    code: "file",
    message: /factor/,
  },
  {
    name: "partial rotary heads",
    change: { partial_rotary_factor: 0.5 },
    code: "file",
    message: /partial_rotary_factor/,
  },
  {
    name: "heads that do not divide",
    change: { num_key_value_heads: 4 },
    code: "shape",
    message: /num_attention_heads 6/,
  },
  {
    name: "a head of fractional size",
    change: { head_dim: undefined, hidden_size: 64 },
    code: "shape",
    message: /head_dim/,
  },
  { name: "a missing size", change: { vocab_size: undefined }, code: "shape", message: /vocab/ },
  { name: "a negative size", change: { hidden_size: -8 }, code: "shape", message: /hidden_size/ },
  {
    name: "sizes that blocks of eight do not divide",
    change: { intermediate_size: 70 },
    code: "shape",
    message: /intermediate_size 70/,
  },
  {
    name: "an end token that is none",
    change: { eos_token_id: "stop" },
    code: "file",
    message: /eos_token_id/,
  },
];

for (const { name, change, expected } of ACCEPTED) {
  Deno.test(`parseConfig reads ${name}`, () => {
    const config = parseConfig({ ...TINY, ...change });
    for (const [key, value] of Object.entries(expected)) {
      assert.deepEqual(config[key as keyof ModelConfig], value, key);
    }
  });
}

for (const { name, change, code, message } of REFUSED) {
  Deno.test(`parseConfig refuses ${name}`, () => {
    assert.throws(
      () => parseConfig({ ...TINY, ...change }),
      (error) =>
        error instanceof CoupletError && error.code === code && message.test(error.message),
    );
  });
}

Deno.test("parseConfig refuses what is no object", () => {
  for (const json of [null, [], "llama", 3]) assert.throws(() => parseConfig(json), CoupletError);
});

Deno.test("parseConfig scales rotary frequencies linearly", () => {
  const plain = onlyRope(parseConfig(TINY)).frequencies;
  for (const key of ["type", "rope_type"]) {
    const scaled = parseConfig({ ...TINY, rope_scaling: { [key]: "linear", factor: 4 } });
    assert.deepEqual(onlyRope(scaled).frequencies, plain.map((frequency) => frequency / 4));
  }
});

Deno.test("parseConfig scales rotary frequencies as Llama 3.1", () => {
  const { frequencies } = onlyRope(parseConfig({
    ...TINY,
    hidden_size: 128,
    num_attention_heads: 2,
    head_dim: 64,
    rope_theta: 500000,
    rope_scaling: {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
  }));
  frequencies.forEach((found, i) => {
    // Written from the wavelengths, as Meta's code is.
    const frequency = 1 / 500000 ** (2 * i / 64);
    const wavelength = 2 * Math.PI / frequency;
    let expected: number;
    if (wavelength < 8192 / 4) expected = frequency;
    else if (wavelength > 8192) expected = frequency / 8;
    else {
      const smooth = (8192 / wavelength - 1) / 3;
      expected = (1 - smooth) * frequency / 8 + smooth * frequency;
    }
    assert.ok(Math.abs(found / expected - 1) < 1e-12, `frequency ${i}`);
  });
  assert.equal(frequencies[0], 1);
});
