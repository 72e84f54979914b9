import assert from "node:assert/strict";
import { join } from "node:path";
import { type CacheBytes, planCache } from "../../mod.ts";
import { kernels } from "../../cli/kernels.ts";
import { planOptions } from "../../src/models/mod.ts";
import { couplet, coupletJson } from "../helpers/cli.ts";

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

interface Planned {
  readonly bytes: CacheBytes;
  readonly f16: { readonly bytes: CacheBytes; readonly timesLarger: number };
  readonly keys: { readonly space: string; readonly rope?: readonly unknown[] };
  readonly requiredLimits: Readonly<Record<string, number>>;
  readonly kernelEntries: readonly string[];
  readonly notes: readonly string[];
  readonly layers: readonly {
    readonly keys: string;
    readonly values: string;
    readonly buffers: number;
  }[];
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
  assert.deepEqual(layers.map(({ keys }) => keys), ["n32b8x4", "n32b8x4", "n16b8x4", "n16b8x4"]);
  assert.deepEqual(layers.map(({ values }) => values), ["c8b10", "c2b8", "n16b8x4", "n16b8x4"]);
});

Deno.test("couplet plan counts centroids that KV heads share once, by an option or in a policy's file", async () => {
  const plan = (...args: readonly string[]) =>
    withConfig(LLAMA, (_, file) => coupletJson<Planned>(["plan", file, ...args]));
  const [own, shared] = await Promise.all([
    plan("--scheme", "n16b8x2"),
    plan("--scheme", "n16b8x2", "--share-heads"),
  ]);
  // Seven of eight heads, in 16 layers, of a byte for each of 64 channels of two times 256 centroids.
  assert.equal(own.bytes.codebooks - shared.bytes.codebooks, 2 * 16 * 7 * 64 * 2 * 256);

  const path = await Deno.makeTempFile({ suffix: ".json" });
  try {
    const policy = { keys: "n16b8x2", values: "n16b8x2", shareHeads: true };
    await Deno.writeTextFile(path, JSON.stringify({ name: "shared", policy }));
    assert.deepEqual((await plan("--policy", path)).bytes, shared.bytes);
  } finally {
    await Deno.remove(path);
  }
});

for (const space of ["as-scored", "anchored"] as const) {
  Deno.test(`couplet plan takes keys ${space} where it is asked to`, async () => {
    const { keys } = await withConfig(
      LLAMA,
      (_, file) => coupletJson<Planned>(["plan", file, "--scheme", "c8b8", "--space", space]),
    );
    const { keys: planned } = planOptions(LLAMA);
    assert.ok(planned.space !== "as-scored");
    assert.deepEqual(keys, space === "as-scored" ? { space } : { space, rope: planned.rope });
  });
}

Deno.test("couplet plan plans keys before a rotary embedding that some layers lack", async () => {
  const mixed = { ...LLAMA, model_type: "smollm3" };
  const { keys } = await withConfig(
    mixed,
    (_, file) => coupletJson<Planned>(["plan", file, "--scheme", "c8b8", "--space", "pre-rope"]),
  );
  assert.ok(keys.space === "pre-rope" && keys.rope !== undefined);
  assert.equal(keys.rope.filter((rope) => rope === null).length, 4);
});

Deno.test("couplet plan prints which layers of a model have attention", async () => {
  const hybrid = { ...LLAMA, model_type: "qwen3_next", num_hidden_layers: 9 };
  const { output } = await withConfig(
    hybrid,
    (_, file) => couplet(["plan", file, "--scheme", "f16"]),
  );
  assert.match(output, /^These are the model's layers 3,7 of 9: the others have no attention$/m);
});

/** What models mean for a plan, beside the options. */
const MODELS: readonly {
  readonly name: string;
  readonly json: Json;
  readonly args?: string;
  readonly expected: Readonly<Record<string, unknown>>;
  readonly notes: readonly RegExp[];
}[] = [
  {
    name: "the host's numbers of layers that have attention",
    json: { ...LLAMA, num_hidden_layers: 3, layer_types: ["conv", "full_attention", "conv"] },
    expected: { layerNumbers: [1], learnedSinks: false, keyBias: false },
    notes: [],
  },
  {
    name: "learned sinks, and what the host gives for them",
    json: { ...LLAMA, model_type: "gpt_oss", rope_parameters: { rope_type: "default" } },
    expected: { learnedSinks: true, keyBias: true },
    notes: [/sinkLogits/],
  },
  {
    name: "frequencies of sequences as long as --tokens",
    json: { ...LLAMA, rope_scaling: { type: "dynamic", factor: 2 }, max_position_embeddings: 8 },
    args: "--tokens 64",
    expected: {},
    notes: [/sequences of 64 tokens/, /made for 8 tokens/],
  },
  {
    name: "what --as assumes",
    json: { ...LLAMA, model_type: "lamer" },
    args: "--as llama",
    expected: { modelType: "llama", scale: 0.125 },
    notes: [/Nothing is known of "lamer"/],
  },
  {
    name: "the scale of YaRN, with its factor",
    json: { ...LLAMA, rope_scaling: { type: "yarn", factor: Math.E ** 10 } },
    expected: { scale: 0.5 },
    notes: [],
  },
  {
    name: "the scale of YaRN, whose factor is the host's",
    json: { ...LLAMA, rope_scaling: { type: "yarn", factor: Math.E ** 10 } },
    args: "--space as-scored",
    expected: { scale: 0.125, keys: { space: "as-scored" } },
    notes: [/multiplies rotated channels of keys and queries by 2,/],
  },
];

for (const { name, json, args = "", expected, notes } of MODELS) {
  Deno.test(`couplet plan gives ${name}`, async () => {
    const planned = await withConfig(
      json,
      (_, file) =>
        coupletJson<Planned & Record<string, unknown>>(
          ["plan", file, "--scheme", "f16", ...args.split(" ").filter((word) => word !== "")],
        ),
    );
    for (const [key, value] of Object.entries(expected)) assert.deepEqual(planned[key], value, key);
    assert.equal(planned.notes.length, notes.length, planned.notes.join(" "));
    notes.forEach((note, i) => assert.match(planned.notes[i]!, note));
  });
}

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
