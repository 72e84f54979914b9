import assert from "node:assert/strict";
import { CoupletError, type SafetensorsTensor } from "@couplet/kv";
import { loadModel } from "../../../examples/engine/mod.ts";
import { onlyBlock } from "../../../examples/engine/feed_forward_weights.ts";
import { weightValues } from "../../../examples/engine/weight.ts";
import {
  FIXTURE,
  randomTensors,
  readExpectedJson,
  singleFile,
  TINY,
  withModel,
} from "../../helpers/llama.ts";

const TENSORS = randomTensors(TINY);

function refusal(code: string, message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CoupletError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  };
}

Deno.test("loadModel reads the fixture and its tokenizer agrees with the trainer's", async () => {
  const { config, tokenizer, fingerprint } = await loadModel(FIXTURE);
  assert.equal(config.layers, 4);
  assert.equal(fingerprint.name, "tiny-llama");
  assert.match(fingerprint.digest, /^sha256:[0-9a-f]{64}$/);
  for (const { text, ids } of readExpectedJson().tokenizer) {
    assert.deepEqual(tokenizer.encode(text), ids);
    assert.equal(tokenizer.decode(ids), text);
  }
});

Deno.test("loadModel reads the same values from F32, F16 and BF16", async () => {
  const embeddings: Float32Array[] = [];
  for (const dtype of ["F32", "F16", "BF16"] as const) {
    await withModel(singleFile(TINY, randomTensors(TINY, dtype)), async (folder) => {
      const { weights } = await loadModel(folder);
      assert.equal(weights.embedding.dtype, dtype);
      embeddings.push(weightValues(weights.embedding));
    });
  }
  assert.deepEqual(embeddings[0], embeddings[1]);
  assert.deepEqual(embeddings[0], embeddings[2]);
  assert.ok(embeddings[0]!.some((value) => value !== 0));
});

Deno.test("loadModel reads shards as it reads one file", async () => {
  const names = [...TENSORS.keys()];
  const shard = (i: number) => `model-0000${i + 1}-of-00002.safetensors`;
  const files = new Map([0, 1].map((i) => [
    shard(i),
    new Map([...TENSORS].filter(([name]) => names.indexOf(name) % 2 === i)),
  ]));
  const index = Object.fromEntries(names.map((name, i) => [name, shard(i % 2)]));
  await withModel({ config: TINY, files, index }, async (folder) => {
    const { weights } = await loadModel(folder);
    for (const [layer, { feedForward }] of weights.layers.entries()) {
      const { down } = onlyBlock(feedForward);
      const name = `model.layers.${layer}.mlp.down_proj.weight`;
      assert.deepEqual([...down.weight.data], [...TENSORS.get(name)!.data]);
    }
  });
  await withModel(
    { config: TINY, files, index: { ...index, "no.such": shard(0) } },
    (folder) => assert.rejects(loadModel(folder), refusal("file", /lacks tensor "no.such"/)),
  );
  await withModel(
    { config: TINY, files, index: { ...index, [names[0]!]: "../elsewhere.safetensors" } },
    (folder) => assert.rejects(loadModel(folder), refusal("file", /elsewhere.*no file name/)),
  );
  await withModel(
    { config: TINY, files: new Map([[shard(0), files.get(shard(0))!]]), index },
    (folder) => assert.rejects(loadModel(folder), refusal("file", /00002-of-00002/)),
  );
});

Deno.test("loadModel's digest tells weights and configs apart, and not folders", async () => {
  const digests: string[] = [];
  const other = new Map(TENSORS);
  const norm = other.get("model.norm.weight")!;
  other.set("model.norm.weight", { ...norm, data: norm.data.map((byte, i) => i === 0 ? 1 : byte) });
  for (
    const model of [
      singleFile(TINY, TENSORS),
      singleFile(TINY, TENSORS),
      singleFile(TINY, other),
      singleFile({ ...TINY, rope_theta: 20000 }, TENSORS),
    ]
  ) {
    await withModel(model, async (folder) => {
      digests.push((await loadModel(folder)).fingerprint.digest);
    });
  }
  assert.equal(digests[0], digests[1]);
  assert.equal(new Set(digests).size, 3);
});

Deno.test("loadModel takes tied embeddings with and without a copy of them", async () => {
  const config = { ...TINY, tie_word_embeddings: true };
  const tied = randomTensors(config);
  const copied = new Map([...tied, ["lm_head.weight", tied.get("model.embed_tokens.weight")!]]);
  for (const tensors of [tied, copied]) {
    await withModel(singleFile(config, tensors), async (folder) => {
      const { weights } = await loadModel(folder);
      assert.equal(weights.head, weights.embedding);
    });
  }
});

/** The tiny model's tensors with one of them changed, or left out. */
function changed(name: string, tensor?: Partial<SafetensorsTensor>) {
  const tensors = new Map<string, SafetensorsTensor>(TENSORS);
  if (tensor === undefined) tensors.delete(name);
  else {
    const old = tensors.get(name) ?? { dtype: "F32", shape: [], data: new Uint8Array() };
    tensors.set(name, { ...old, ...tensor });
  }
  return tensors;
}

const DAMAGED = [
  {
    name: "a missing weight",
    tensors: changed("model.layers.1.mlp.up_proj.weight"),
    code: "file",
    message: /lacks model\.layers\.1\.mlp\.up_proj\.weight/,
  },
  {
    name: "a weight of another shape",
    tensors: changed("model.norm.weight", { shape: [4, 10] }),
    code: "shape",
    message: /model\.norm\.weight.*\[4, 10\].*\[40\]/,
  },
  {
    name: "a weight of a type it cannot read",
    tensors: changed("model.norm.weight", { dtype: "I32" }),
    code: "file",
    message: /model\.norm\.weight.*I32.*F32, F16, BF16/,
  },
  {
    name: "a bias config.json knows nothing of",
    tensors: changed("model.layers.0.self_attn.q_proj.bias", {
      shape: [48],
      data: new Uint8Array(192),
    }),
    code: "file",
    message: /q_proj\.bias/,
  },
] as const;

for (const { name, tensors, code, message } of DAMAGED) {
  Deno.test(`loadModel refuses ${name}`, async () => {
    await withModel(
      singleFile(TINY, tensors),
      (folder) => assert.rejects(loadModel(folder), refusal(code, message)),
    );
  });
}

Deno.test("loadModel refuses cut, damaged and missing files, and names them", async () => {
  await withModel(singleFile(TINY, TENSORS), async (folder) => {
    const spoil = async (file: string, bytes: Uint8Array | undefined, message: RegExp) => {
      const whole = Deno.readFileSync(`${folder}/${file}`);
      if (bytes === undefined) Deno.removeSync(`${folder}/${file}`);
      else Deno.writeFileSync(`${folder}/${file}`, bytes);
      await assert.rejects(loadModel(folder), refusal("file", message));
      Deno.writeFileSync(`${folder}/${file}`, whole);
    };
    const weights = Deno.readFileSync(`${folder}/model.safetensors`);
    await spoil("model.safetensors", weights.subarray(0, -1), /model\.safetensors/);
    await spoil("model.safetensors", weights.subarray(0, 5), /model\.safetensors/);
    await spoil("model.safetensors", undefined, /no weights/);
    await spoil("config.json", new TextEncoder().encode("{"), /config\.json.*not JSON/);
    await spoil("config.json", undefined, /config\.json/);
    await spoil("tokenizer.json", new TextEncoder().encode("{}"), /tokenizer\.json/);
    await spoil("tokenizer.json", undefined, /tokenizer\.json/);
    await loadModel(folder);
  });
});
