import assert from "node:assert/strict";
import { join } from "node:path";
import { type CacheBytes, planCache } from "../../mod.ts";
import { kernels } from "../../cli/kernels.ts";
import { type ModelConfig, readModelConfig } from "../../cli/model_config.ts";
import { couplet, coupletJson } from "../helpers/cli.ts";
import { refuses } from "../helpers/refusals.ts";

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

const UNSCALED = { layout: "half", theta: 500000 } as const;

const READ: readonly {
  readonly name: string;
  readonly json: Json;
  readonly readAs?: string;
  readonly expected: { readonly [name in keyof ModelConfig]?: ModelConfig[name] | undefined };
}[] = [
  {
    name: "llama",
    json: LLAMA,
    expected: {
      modelType: "llama",
      shape: { layers: 16, queryHeads: 32, keyValueHeads: 8, headDim: 64 },
      keys: { space: "pre-rope", rope: UNSCALED },
      maxPositions: 131072,
      notes: [],
    },
  },
  {
    name: "head_dim from hidden_size, KV heads from heads, null as absent",
    json: { ...LLAMA, head_dim: null, num_key_value_heads: null, rope_scaling: null },
    expected: { shape: { layers: 16, queryHeads: 32, keyValueHeads: 32, headDim: 64 } },
  },
  {
    name: "linear rotary scaling",
    json: { ...LLAMA, head_dim: 8, rope_theta: 16, rope_scaling: { type: "linear", factor: 4 } },
    expected: {
      keys: {
        space: "pre-rope",
        rope: {
          layout: "half",
          theta: 16,
          inverseFrequencies: [1, 16 ** -0.25, 0.25, 16 ** -0.75].map((f) => f / 4),
        },
      },
    },
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
    name: "a rotary scaling it does not know: keys as they are scored",
    json: { ...LLAMA, rope_scaling: { rope_type: "yarn", factor: 4 } },
    expected: {
      keys: { space: "as-scored" },
      notes: [
        'Keys are planned as they are scored, because the frequencies of its rotary scaling, "yarn", are not known here.',
      ],
    },
  },
  {
    name: "mistral: a sliding window in all layers",
    json: { ...LLAMA, model_type: "mistral", num_hidden_layers: 3, sliding_window: 4096 },
    expected: {
      shape: {
        layers: 3,
        queryHeads: 32,
        keyValueHeads: 8,
        headDim: 64,
        slidingWindow: [4096, 4096, 4096],
      },
    },
  },
  {
    name: "mistral without a sliding window",
    json: { ...LLAMA, model_type: "mistral", sliding_window: null },
    expected: { shape: { layers: 16, queryHeads: 32, keyValueHeads: 8, headDim: 64 } },
  },
  {
    name: "qwen2: a sliding window that is off",
    json: { ...LLAMA, model_type: "qwen2", use_sliding_window: false, sliding_window: 4096 },
    expected: { shape: { layers: 16, queryHeads: 32, keyValueHeads: 8, headDim: 64 } },
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
    expected: {
      shape: {
        layers: 3,
        queryHeads: 32,
        keyValueHeads: 8,
        headDim: 64,
        slidingWindow: [0, 0, 9],
      },
    },
  },
  {
    name: "qwen3: 128 channels where the file does not say",
    json: { ...LLAMA, model_type: "qwen3", head_dim: undefined },
    expected: { shape: { layers: 16, queryHeads: 32, keyValueHeads: 8, headDim: 128 } },
  },
  {
    name: "gemma2: every other layer slides; scale and softcap",
    json: {
      model_type: "gemma2",
      num_hidden_layers: 4,
      num_attention_heads: 32,
      num_key_value_heads: 16,
      hidden_size: 4608,
      head_dim: 128,
      query_pre_attn_scalar: 144,
      sliding_window: 4096,
    },
    expected: {
      shape: {
        layers: 4,
        queryHeads: 32,
        keyValueHeads: 16,
        headDim: 128,
        slidingWindow: [4096, 0, 4096, 0],
      },
      scale: 1 / 12,
      softcap: 50,
    },
  },
  {
    name: "gemma2 whose softcap is switched off",
    json: {
      model_type: "gemma2",
      num_hidden_layers: 1,
      num_attention_heads: 8,
      attn_logit_softcapping: null,
    },
    expected: { softcap: undefined },
  },
  {
    name: "gemma3: its text_config, five sliding layers of six, two rotary embeddings",
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
      keys: { space: "as-scored" },
    },
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
      shape: { layers: 2, queryHeads: 8, keyValueHeads: 8, headDim: 256, slidingWindow: [0, 4096] },
    },
  },
  {
    name: "phi: some channels rotate",
    json: {
      model_type: "phi",
      hidden_size: 2560,
      num_hidden_layers: 32,
      num_attention_heads: 32,
      partial_rotary_factor: 0.4,
    },
    expected: {
      shape: { layers: 32, queryHeads: 32, keyValueHeads: 32, headDim: 80 },
      keys: { space: "pre-rope", rope: { layout: "half", theta: 10000, rotaryDim: 32 } },
    },
  },
  {
    name: "stablelm: channels that kernels cannot rotate in fours of pairs",
    json: { ...LLAMA, model_type: "stablelm", head_dim: 80 },
    expected: { keys: { space: "as-scored" } },
  },
  {
    name: "an unknown family as one that is the same",
    json: { ...LLAMA, model_type: "lamer" },
    readAs: "llama",
    expected: { modelType: "llama" },
  },
];

for (const { name, json, readAs, expected } of READ) {
  Deno.test(`readModelConfig() reads ${name}`, () => {
    const found = readModelConfig(json, readAs);
    const picked = Object.fromEntries(
      Object.keys(expected).map((key) => [key, found[key as keyof ModelConfig]]),
    );
    assert.deepEqual(picked, expected);
  });
}

const REFUSED: readonly {
  readonly name: string;
  readonly json: unknown;
  readonly code: "file" | "shape";
  readonly why: RegExp;
}[] = [
  { name: "what is no object", json: [1], code: "file", why: /object/ },
  { name: "a file without model_type", json: {}, code: "file", why: /model_type/ },
  {
    name: "an unknown family, with the nearest and what is missing",
    json: { model_type: "lama", hidden_size: 8 },
    code: "file",
    why: /nearest is llama.*num_hidden_layers and num_attention_heads would be missing/,
  },
  { name: "ALiBi", json: { ...LLAMA, model_type: "bloom" }, code: "file", why: /ALiBi/ },
  {
    name: "latent attention",
    json: { ...LLAMA, model_type: "deepseek_v3" },
    code: "file",
    why: /latent/,
  },
  {
    name: "layers of another kind",
    json: { ...LLAMA, num_hidden_layers: 1, layer_types: ["linear_attention"] },
    code: "file",
    why: /layer 0 is of the type "linear_attention"/,
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
    why: /1 layers of 16/,
  },
  {
    name: "a sliding layer without a window",
    json: { ...LLAMA, num_hidden_layers: 1, layer_types: ["sliding_attention"] },
    code: "shape",
    why: /sliding_window is missing/,
  },
  { name: "a size that is none", json: { ...LLAMA, head_dim: -1 }, code: "file", why: /head_dim/ },
  {
    name: "a prototype's name as a family",
    json: { ...LLAMA, model_type: "toString" },
    code: "file",
    why: /not among those known/,
  },
];

for (const { name, json, code, why } of REFUSED) {
  Deno.test(`readModelConfig() refuses ${name}`, () => {
    refuses(code, () => readModelConfig(json));
    assert.throws(() => readModelConfig(json), why);
  });
}

interface Planned {
  readonly bytes: CacheBytes;
  readonly f16: { readonly bytes: CacheBytes; readonly timesLarger: number };
  readonly keys: { readonly space: string };
  readonly requiredLimits: Readonly<Record<string, number>>;
  readonly kernelEntries: readonly string[];
  readonly notes: readonly string[];
  readonly layers: readonly { readonly keys: string; readonly buffers: number }[];
}

async function withConfig<T>(
  json: unknown,
  act: (folder: string, file: string) => Promise<T>,
): Promise<T> {
  const folder = await Deno.makeTempDir();
  try {
    const file = join(folder, "config.json");
    await Deno.writeTextFile(file, JSON.stringify(json));
    return await act(folder, file);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

const LONG = "--tokens 32768 --sequences 2".split(" ");

Deno.test("couplet plan gives the planner's bytes, beside those of f16", async () => {
  const args = ["--keys", "c4b8", "--values", "c8b8", ...LONG];
  const planned = await withConfig(
    LLAMA,
    (folder) => coupletJson<Planned>(["plan", folder, ...args]),
  );
  const options = {
    shape: { layers: 16, queryHeads: 32, keyValueHeads: 8, headDim: 64 },
    keys: { space: "pre-rope", rope: UNSCALED },
    capacity: {
      sequences: 2,
      tokens: 65536,
      sequenceTokens: 32768,
      stepTokens: 64,
      appendTokens: 64,
    },
    kernels,
  } as const;
  const { bytes } = planCache({
    ...options,
    policy: { keys: "c4b8", values: "c8b8" },
    tiers: { sinks: 4, window: 64 },
  });
  const f16 = planCache({
    ...options,
    policy: { keys: "f16", values: "f16" },
    tiers: { sinks: 0, window: 0 },
  }).bytes;
  assert.deepEqual(planned.bytes, bytes);
  assert.deepEqual(planned.f16.bytes, f16);
  assert.equal(planned.f16.timesLarger, f16.total / bytes.total);
  assert.deepEqual(planned.kernelEntries, ["@couplet/kv/kernels/c4b8_c8b8_d64"]);
});

Deno.test("couplet plan requests larger limits, or divides layers within those given", async () => {
  const args = ["plan", "", "--scheme", "f16", "--tokens", "262144"];
  const [free, bound] = await withConfig(LLAMA, (_, file) => {
    args[1] = file;
    return Promise.all([
      coupletJson<Planned>(args),
      coupletJson<Planned>([...args, "--limit", "maxStorageBufferBindingSize=134217728"]),
    ]);
  });
  // 262144 tokens of 8 heads of 64 channels in two bytes, and a page for the sequence's end.
  assert.ok(free.requiredLimits["maxStorageBufferBindingSize"]! >= 2 ** 28);
  assert.equal(free.layers[0]!.buffers, 1);
  assert.equal(bound.requiredLimits["maxStorageBufferBindingSize"], 2 ** 27);
  assert.ok(bound.layers[0]!.buffers > 1);
});

Deno.test("couplet plan counts spans beside those of f16, and names their kernels", async () => {
  const args = ["--scheme", "f16", "--span", "image=sc1/sc2:576x4"];
  const { spans, bytes, f16, kernelEntries } = await withConfig(
    LLAMA,
    (folder) =>
      coupletJson<Planned & { readonly spans: readonly unknown[] }>(["plan", folder, ...args]),
  );
  assert.deepEqual(spans, [
    { name: "image", keys: "sc1", values: "sc2", tokens: 2304, count: 4, bytes: bytes.spans },
  ]);
  // Beside 1 and 2 bits there are levels.
  assert.ok(f16.bytes.spans / bytes.spans > 8 && f16.bytes.spans / bytes.spans < 32 / 3);
  for (const set of ["f16", "sc1", "sc2"]) {
    assert.ok(kernelEntries.some((entry) => entry.startsWith(`@couplet/kv/kernels/${set}_d`)), set);
  }
  const { output } = await withConfig(LLAMA, (folder) => couplet(["plan", folder, ...args]));
  assert.match(output, /image +sc1 +sc2 +4 +2304/);
});

Deno.test("couplet plan takes a policy's layers", async () => {
  const policy = new URL("../../examples/policy/tiny_llama/2_bits.json", import.meta.url).pathname;
  const { layers } = await withConfig(
    { ...LLAMA, num_hidden_layers: 4 },
    (_, file) => coupletJson<Planned>(["plan", file, "--policy", policy]),
  );
  assert.deepEqual(layers.map(({ keys }) => keys), ["c16b8", "c8b10", "c8b10", "c2b8"]);
});

for (const space of ["as-scored", "anchored"] as const) {
  Deno.test(`couplet plan takes keys ${space} where it is asked to`, async () => {
    const { keys } = await withConfig(
      LLAMA,
      (_, file) => coupletJson<Planned>(["plan", file, "--scheme", "c8b8", "--space", space]),
    );
    const { keys: planned } = readModelConfig(LLAMA);
    assert.ok(planned.space === "pre-rope");
    assert.deepEqual(keys, space === "as-scored" ? { space } : { space, rope: planned.rope });
  });
}

Deno.test("couplet plan refuses keys before a rotary embedding that differs by layer", async () => {
  const yarn = { ...LLAMA, rope_scaling: { rope_type: "yarn", factor: 4 } };
  const { exitCode, errors } = await withConfig(
    yarn,
    (_, file) => couplet(["plan", file, "--scheme", "c8b8", "--space", "pre-rope"]),
  );
  assert.equal(exitCode, 1);
  assert.match(errors, /"yarn"/);
});

Deno.test("couplet plan prints layers that are alike once, and the model's length", async () => {
  const sliding = { ...LLAMA, model_type: "gemma2", max_position_embeddings: 8192 };
  const { output } = await withConfig(
    sliding,
    (_, file) => couplet(["plan", file, "--scheme", "c8b8", ...LONG]),
  );
  assert.match(output, /^0,2,4,6,8,10,12,14 +keys +c8b8 +4096 /m);
  assert.match(output, /^1,3,5,7,9,11,13,15 +keys +c8b8 +all /m);
  assert.match(output, /^ +0-15 +append +store_d64/m);
  assert.match(output, /made for 8192 tokens/);
});

for (const [tokens, notes] of [[8191, 0], [8192, 0], [8193, 1]] as const) {
  Deno.test(`couplet plan has ${notes} notes where ${tokens} tokens are asked of a model made for 8192`, async () => {
    const config = { ...LLAMA, max_position_embeddings: 8192 };
    const planned = await withConfig(
      config,
      (_, file) =>
        coupletJson<Planned>(["plan", file, "--scheme", "c8b8", "--tokens", `${tokens}`]),
    );
    assert.equal(planned.notes.length, notes);
  });
}

/** Models with and without a bias on their keys, arguments, and what is said of it. */
const BIASED: readonly [config: Json, args: string, says: RegExp | undefined][] = [
  [{ model_type: "qwen2" }, "--scheme u4b8", undefined],
  [{ model_type: "qwen2" }, "--scheme u4b8 --space as-scored", /up to 4 channels.*drownedBlocks/],
  [{ model_type: "qwen2" }, "--keys t1b2 --values u4b8", /t1b2 does not remove it/],
  [{ model_type: "qwen2" }, "--keys q8 --values u4b8", /q8 does not remove it/],
  [{ model_type: "qwen2" }, "--keys kc4 --values t1b2 --space as-scored", undefined],
  [{ model_type: "qwen2" }, "--scheme c4b8 --space as-scored", undefined],
  [{ model_type: "qwen2", attention_bias: false }, "--keys t1b2 --values f16", /of qwen2 have a/],
  [{ model_type: "llama" }, "--scheme u4b8 --space as-scored", undefined],
  [{ attention_bias: true }, "--scheme u4b8 --space as-scored", /keys of llama have a bias/],
  [{ model_type: "gpt_neox", rotary_pct: 1 }, "--keys t1b2 --values f16", /t1b2/],
  [{ model_type: "stablelm", use_qkv_bias: true }, "--keys t1b2 --values f16", /t1b2/],
];

for (const [config, args, says] of BIASED) {
  const name = `${JSON.stringify(config)} and ${args}`;
  Deno.test(`couplet plan ${says === undefined ? "says nothing" : "warns"} of a bias on keys, with ${name}`, async () => {
    const { notes } = await withConfig(
      { ...LLAMA, ...config },
      (_, file) => coupletJson<Planned>(["plan", file, ...args.split(" ")]),
    );
    assert.equal(notes.length, says === undefined ? 0 : 1, `${notes}`);
    if (says !== undefined) assert.match(notes[0]!, says);
  });
}
