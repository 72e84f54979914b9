import assert from "node:assert/strict";
import {
  type CodebookSet,
  CoupletError,
  createCache,
  type KeySpace,
  planCache,
  type Policy,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import {
  type AttentionCache,
  type Checkpoint,
  createEngine,
  type Engine,
  type EngineOptions,
  generate,
  loadModel,
  modelCacheOptions,
  plannedEngineOptions,
} from "../../../examples/engine/mod.ts";
import { learnCodebooks } from "../../../examples/engine/codebooks.ts";
import { draw } from "../../../examples/engine/generate.ts";
import { makeRoom } from "../../../examples/engine/shift.ts";
import { kernelSources } from "../../../examples/engine/operations.ts";
import { referenceForward } from "../../../examples/engine/reference.ts";
import { planSteps } from "../../../examples/engine/step_plan.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import { compileWithTint } from "../../../tools/tint.ts";
import {
  createDenseCache,
  type DenseSequence,
  type DenseStep,
} from "../../helpers/llama_dense_cache.ts";
import {
  FIXTURE,
  type Json,
  largestDifference,
  randomTensors,
  readExpected,
  readExpectedJson,
  singleFile,
  TINY,
  withBindings,
  withModel,
} from "../../helpers/llama.ts";

/** Float32 arithmetic against float64. */
const EXACT = 2e-4;

/** Keys and values held as float16. */
const HALF = 0.02;

const device = await requestTestDevice();
const fixture = await loadModel(FIXTURE);
const expected = readExpected();

/** Random tokens of a vocabulary, the same every time. */
function someTokens(count: number, vocabularySize: number, seed = 1): number[] {
  return Array.from(
    { length: count },
    (_, i) => (i * i * 31 + i * 17 + seed * 101) % vocabularySize,
  );
}

type DenseOptions = Omit<
  EngineOptions<DenseSequence, DenseStep>,
  "device" | "checkpoint" | "cache" | "maxTokens"
>;

/** An engine with plain attention. */
async function withDense(
  checkpoint: Checkpoint,
  options: DenseOptions & { maxTokens?: number },
  use: (engine: Engine<DenseSequence>) => Promise<void>,
): Promise<void> {
  const cache = createDenseCache({
    device,
    config: checkpoint.config,
    sequences: 4,
    sequenceTokens: 128,
    rotate: options.keySpace !== "as-scored",
  });
  const engine = await createEngine({ device, checkpoint, cache, maxTokens: 128, ...options });
  await use(engine);
  engine.destroy();
}

/** Prose the fixture knows how to continue, so that its keys and values are those of a text. */
function someText(tokens: number): number[] {
  const text = Deno.readTextFileSync("LICENSE");
  return fixture.tokenizer.encode(text.repeat(3)).slice(0, tokens);
}

interface LibraryCacheOptions {
  readonly keySpace?: KeySpace;
  readonly tiers: { readonly sinks: number; readonly window: number };
  readonly policy?: Policy;
  readonly codebooks?: CodebookSet;
}

/** An engine with the library's cache, uncompressed where nothing else is said. */
async function withCache(
  { keySpace = "pre-rope", tiers, policy, codebooks }: LibraryCacheOptions,
  use: (engine: Engine<unknown>) => Promise<void>,
): Promise<void> {
  const plan = planCache({
    ...modelCacheOptions(fixture.config, keySpace),
    policy: policy ?? { keys: "f16", values: "f16" },
    tiers,
    capacity: {
      sequences: 4,
      tokens: 1024,
      sequenceTokens: 512,
      stepTokens: 128,
      appendTokens: 48,
    },
    limits: device.limits,
    kernels: manifest,
  });
  const cache = await createCache({ device, plan, ...(codebooks ? { codebooks } : {}) });
  const engine = await createEngine({
    device,
    checkpoint: fixture,
    cache,
    ...plannedEngineOptions(plan, fixture.config),
  });
  await use(engine as Engine<unknown>);
  engine.destroy();
  cache.destroy();
}

Deno.test("referenceForward agrees with PyTorch", () => {
  const { logits, losses, queries, keys, values } = referenceForward(fixture, expected.tokenIds);
  assert.ok(largestDifference(logits, expected.tensor("logits")) < 1e-5);
  assert.ok(largestDifference(losses, expected.tensor("losses")) < 1e-5);
  const all = (layers: readonly Float64Array[]) => layers.flatMap((layer) => [...layer]);
  assert.ok(largestDifference(all(queries), expected.tensor("queries_pre_rope")) < 1e-5);
  assert.ok(largestDifference(all(keys), expected.tensor("keys_pre_rope")) < 1e-5);
  assert.ok(largestDifference(all(values), expected.tensor("values")) < 1e-5);
});

Deno.test("engine with plain attention agrees with PyTorch, however its tokens are split", async () => {
  for (const appendTokens of [128, 37]) {
    await withDense(
      fixture,
      { maxTokens: appendTokens === 128 ? 128 : 100, appendTokens },
      async (engine) => {
        const result = await engine.forward(
          [{ sequence: engine.createSequence(), tokenIds: expected.tokenIds }],
          { logits: "all", losses: true, queries: true, keys: true, values: true },
        );
        assert.ok(largestDifference(result.logits![0]!, expected.tensor("logits")) < EXACT);
        assert.ok(largestDifference(result.losses![0]!, expected.tensor("losses")) < EXACT);
        for (
          const [name, layers] of [
            ["queries_pre_rope", result.queries!],
            ["keys_pre_rope", result.keys!],
            ["values", result.values!],
          ] as const
        ) {
          const all = layers.flatMap((layer) => [...layer]);
          assert.ok(largestDifference(all, expected.tensor(name)) < EXACT, name);
        }
      },
    );
  }
});

Deno.test("engine with the library's cache agrees with PyTorch within float16", async () => {
  for (const keySpace of ["pre-rope", "as-scored"] as const) {
    for (const tiers of [{ sinks: 0, window: 0 }, { sinks: 4, window: 64 }]) {
      await withCache({ keySpace, tiers }, async (engine) => {
        const { logits, losses } = await engine.forward(
          [{ sequence: engine.createSequence(), tokenIds: expected.tokenIds }],
          { logits: "all", losses: true },
        );
        assert.ok(largestDifference(logits![0]!, expected.tensor("logits")) < HALF);
        assert.ok(largestDifference(losses![0]!, expected.tensor("losses")) < HALF);
      });
    }
  }
});

Deno.test("engine with codes of a codebook it learned stays close to exact attention", async () => {
  const codebooks = await learnCodebooks({
    device,
    checkpoint: fixture,
    tokenIds: someText(640),
    source: "test",
    schemes: { keys: ["c2b4", "f16"], values: ["c4b4"] },
    seed: 1,
  });
  assert.deepEqual(codebooks.model, fixture.fingerprint);
  assert.equal(codebooks.codebooks.length, 2 * fixture.config.layers);
  const losses: number[] = [];
  for (
    const policy of [{ keys: "f16", values: "f16" }, { keys: "c2b4", values: "c4b4" }] as const
  ) {
    const tiers = { sinks: 0, window: 0 };
    await withCache({ tiers, policy, codebooks }, async (engine) => {
      const { losses: found } = await engine.forward(
        [{ sequence: engine.createSequence(), tokenIds: expected.tokenIds }],
        { losses: true },
      );
      losses.push(found![0]!.reduce((sum, loss) => sum + loss, 0) / found![0]!.length);
    });
  }
  const rise = losses[1]! - losses[0]!;
  assert.ok(rise > 0 && rise < 0.7, `mean loss ${losses[0]} exact, ${losses[1]} coded`);
});

Deno.test("generate continues greedily as PyTorch does", async () => {
  const { prompt_ids: prompt, continuation_ids: continuation } = readExpectedJson().greedy;
  await withCache({ tiers: { sinks: 4, window: 32 } }, async (engine) => {
    const tokens: number[] = [];
    let text = "";
    for await (const token of generate(engine, { prompt, tokens: 16 })) {
      tokens.push(token.tokenId);
      text += token.text;
    }
    assert.deepEqual(tokens, continuation.slice(0, 16));
    const { tokenizer } = fixture;
    assert.equal(tokenizer.decode(prompt) + text, tokenizer.decode([...prompt, ...tokens]));
  });
});

Deno.test("makeRoom lets a text outgrow its cache, and leaves room alone", async () => {
  const prompt = expected.tokenIds.slice(0, 100);
  const sizes = {
    sequences: 1,
    tokens: 160,
    sequenceTokens: 160,
    stepTokens: 100,
    appendTokens: 100,
  };
  const plan = planCache({
    ...modelCacheOptions(fixture.config),
    policy: { keys: "f16", values: "f16" },
    tiers: { sinks: 4, window: 16 },
    capacity: sizes,
    kernels: manifest,
  });
  const cache = await createCache({ device, plan });
  const engine = await createEngine({
    device,
    checkpoint: fixture,
    cache,
    ...plannedEngineOptions(plan, fixture.config),
  });
  const lengths: number[] = [];
  const tokens = generate(engine, { prompt, tokens: 100 }, (sequence) => {
    makeRoom(device, cache, sequence);
    lengths.push(cache.length(sequence));
  });
  let count = 0;
  for await (const _ of tokens) count++;
  assert.equal(count, 100);
  // 140 coded tokens when it is full, of which half make a page.
  assert.deepEqual(lengths.slice(60, 64), [159, 96, 97, 98]);
  engine.destroy();
  cache.destroy();
});

Deno.test("generate draws the same text from the same seed, and frees its sequence", async () => {
  await withDense(fixture, {}, async (engine) => {
    const prompt = expected.tokenIds.slice(0, 8);
    const texts: string[] = [];
    // More runs than the cache has sequences.
    for (const seed of [1, 1, 2, 3, 4]) {
      let text = "";
      for await (const token of generate(engine, { prompt, tokens: 6, temperature: 1, seed })) {
        text += `${token.tokenId} `;
      }
      texts.push(text);
    }
    assert.equal(texts[0], texts[1]);
    assert.ok(new Set(texts).size > 2);
    for (const wrong of [{ prompt: [] }, { tokens: -1 }, { temperature: NaN }]) {
      const run = generate(engine, { prompt, tokens: 1, ...wrong });
      await assert.rejects(run.next(), (error) => error instanceof CoupletError);
    }
    const run = generate(engine, { prompt, tokens: 1, signal: AbortSignal.abort() });
    await assert.rejects(run.next(), { name: "AbortError" });
  });
});

Deno.test("draw follows softmax", () => {
  const logits = [0, Math.log(2), -Infinity, Math.log(5)];
  assert.equal(draw(logits, 1, 0), 0);
  assert.equal(draw(logits, 1, 0.124), 0);
  assert.equal(draw(logits, 1, 0.126), 1);
  assert.equal(draw(logits, 1, 0.374), 1);
  assert.equal(draw(logits, 1, 0.376), 3);
  assert.equal(draw(logits, 1, 0.9999999), 3);
  assert.equal(draw(logits, 0.01, 0.5), 3);
});

const FAMILIES: readonly { readonly name: string; readonly change: Json }[] = [
  { name: "llama", change: {} },
  { name: "llama with every bias", change: { attention_bias: true, mlp_bias: true } },
  { name: "tied llama", change: { tie_word_embeddings: true } },
  { name: "qwen2", change: { model_type: "qwen2" } },
  { name: "qwen3", change: { model_type: "qwen3" } },
  {
    name: "scaled rotary embedding",
    change: {
      rope_scaling: {
        rope_type: "llama3",
        factor: 4,
        low_freq_factor: 1,
        high_freq_factor: 4,
        original_max_position_embeddings: 64,
      },
    },
  },
];

for (const { name, change } of FAMILIES) {
  for (const keySpace of ["pre-rope", "as-scored"] as const) {
    Deno.test(`engine agrees with referenceForward: ${name}, keys ${keySpace}`, async () => {
      const config = { ...TINY, ...change };
      // Float16 matrices and float32 ones take different kernels.
      const dtype = keySpace === "pre-rope" ? "F16" : "BF16";
      await withModel(singleFile(config, randomTensors(config, dtype)), async (folder) => {
        const checkpoint = await loadModel(folder);
        const tokenIds = someTokens(45, 300);
        const reference = referenceForward(checkpoint, tokenIds);
        const scale = Math.max(...reference.logits.map(Math.abs));
        await withDense(checkpoint, { keySpace, appendTokens: 40 }, async (engine) => {
          const result = await engine.forward(
            [{ sequence: engine.createSequence(), tokenIds }],
            { logits: "all", losses: true, keys: true },
          );
          assert.ok(largestDifference(result.logits![0]!, reference.logits) < EXACT * scale);
          assert.ok(largestDifference(result.losses![0]!, reference.losses) < EXACT * scale);
          result.keys!.forEach((keys, layer) => {
            assert.ok(largestDifference(keys, reference.keys[layer]!) < EXACT * scale);
          });
        });
      });
    });
  }
}

Deno.test("engine.forward runs sequences together as it runs them apart", async () => {
  await withDense(fixture, { maxTokens: 60, appendTokens: 25 }, async (engine) => {
    const texts = [41, 7, 60].map((count, i) => someTokens(count, 2048, i));
    const together = texts.map((tokenIds) => ({ sequence: engine.createSequence(), tokenIds }));
    const joint = await engine.forward(together, { logits: "last", losses: true, values: true });
    const tokens = texts.reduce((sum, { length }) => sum + length, 0);
    assert.equal(joint.values![0]!.length, tokens * 128);
    for (const { sequence } of together) engine.freeSequence(sequence);
    let before = 0;
    for (const [i, tokenIds] of texts.entries()) {
      const sequence = engine.createSequence();
      // Two calls; the first one's last token knows what it should predict.
      const half = Math.ceil(tokenIds.length / 2);
      const first = await engine.forward(
        [{ sequence, tokenIds: tokenIds.slice(0, half), nextTokenId: tokenIds[half]! }],
        { losses: true, values: true },
      );
      const second = await engine.forward(
        [{ sequence, tokenIds: tokenIds.slice(half) }],
        { logits: "all", losses: true },
      );
      engine.freeSequence(sequence);
      const last = second.logits![0]!.slice(-2048);
      assert.ok(largestDifference(joint.logits![i]!, last) < EXACT);
      const losses = [...first.losses![0]!, ...second.losses![0]!];
      assert.ok(largestDifference(joint.losses![i]!, losses) < EXACT);
      const values = joint.values![3]!.subarray(before * 128, (before + half) * 128);
      assert.ok(largestDifference(values, first.values![3]!) < EXACT);
      before += tokenIds.length;
    }
  });
});

Deno.test("engine.forward gives the log-sum-exp of every position's logits", async () => {
  await withDense(fixture, {}, async (engine) => {
    const tokenIds = expected.tokenIds.slice(0, 20);
    const { logits, losses, logSumExps } = await engine.forward(
      [{ sequence: engine.createSequence(), tokenIds }],
      { logits: "all", losses: true },
    );
    assert.equal(logSumExps![0]!.length, 20);
    assert.equal(losses![0]!.length, 19);
    losses![0]!.forEach((loss, t) => {
      const logit = logits![0]![t * 2048 + tokenIds[t + 1]!]!;
      assert.ok(Math.abs(logSumExps![0]![t]! - logit - loss) < 1e-5);
    });
  });
});

Deno.test("engine.forward refuses entries it cannot run and changes nothing", async () => {
  await withDense(fixture, {}, async (engine) => {
    const sequence = engine.createSequence();
    const refused = (entries: Parameters<typeof engine.forward>[0], message: RegExp) =>
      assert.rejects(
        engine.forward(entries),
        (error) =>
          error instanceof CoupletError && error.code === "usage" && message.test(error.message),
      );
    await refused([{ sequence, tokenIds: [] }], /no tokens/);
    await refused([{ sequence, tokenIds: [2048] }], /token 2048.*vocabulary of 2048/);
    await refused([{ sequence, tokenIds: [1.5] }], /token 1\.5/);
    await refused([{ sequence, tokenIds: [1], nextTokenId: -1 }], /token -1/);
    await refused([{ sequence, tokenIds: [1] }, { sequence, tokenIds: [2] }], /two entries/);
    const { hiddenSize } = fixture.config;
    const embedded = (first: number, numbers: number) => [{
      sequence,
      tokenIds: [1, 2],
      embedded: { first, vectors: new Float32Array(numbers) },
    }];
    await refused(embedded(1, 2 * hiddenSize), /embeddings are 2 from token 1 on.* has 2/);
    await refused(embedded(0, hiddenSize + 1), /whole rows/);
    const kept = { first: 1, tokens: 2, layers: [] };
    await refused([{ sequence, tokenIds: [1, 2], kept }], /kept tokens are 2 from token 1/);
    await refused([{ sequence, tokenIds: [1, 2, 3], kept }], /0 layers/);
    await refused([{ sequence, tokenIds: [1], position: 3 }], /Plan the cache for keys as scored/);
    assert.equal(sequence.length, 0);
    assert.deepEqual(await engine.forward([]), {});
  });
  await withDense(fixture, { keySpace: "as-scored" }, async (engine) => {
    const sequence = engine.createSequence();
    for (const position of [-1, 0.5]) {
      await assert.rejects(engine.forward([{ sequence, tokenIds: [1], position }]), {
        code: "usage",
        message: /the position is/,
      });
    }
    assert.equal(sequence.length, 0);
  });
});

Deno.test("createEngine refuses what does not fit, before it allocates", async () => {
  const cache = createDenseCache({
    device,
    config: fixture.config,
    sequences: 1,
    sequenceTokens: 8,
  });
  const attempt = (options: Partial<EngineOptions<DenseSequence, DenseStep>>) =>
    createEngine({ device, checkpoint: fixture, cache, maxTokens: 8, ...options });
  const refusal = (code: string, message: RegExp) => (error: unknown) =>
    error instanceof CoupletError && error.code === code && message.test(error.message);
  await assert.rejects(attempt({ maxTokens: 60000 }), refusal("limits", /"wide" takes.*maxTokens/));
  await assert.rejects(attempt({ maxTokens: 0 }), refusal("usage", /maxTokens is 0/));
  await assert.rejects(attempt({ appendTokens: 1.5 }), refusal("usage", /appendTokens is 1.5/));

  const tensors = randomTensors(TINY);
  const large = new Uint8Array(Float32Array.of(70000).buffer);
  tensors.get("model.layers.1.mlp.up_proj.weight")!.data.set(large, 8);
  await withModel(singleFile(TINY, tensors), async (folder) => {
    const checkpoint = await loadModel(folder);
    await assert.rejects(
      attempt({ checkpoint, storage: "f16" }),
      refusal("shape", /up_proj.*70000/),
    );
  });

  const plan = planCache({
    ...modelCacheOptions({ ...fixture.config, keyValueHeads: 4 }),
    policy: { keys: "f16", values: "f16" },
    tiers: { sinks: 0, window: 0 },
    capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 8, appendTokens: 8 },
    kernels: manifest,
  });
  assert.throws(
    () => plannedEngineOptions(plan, fixture.config),
    refusal("shape", /keyValueHeads 4 in layer 0 and the model has 2/),
  );
});

Deno.test("engine splits matrices and logits that one binding does not hold", async () => {
  // A binding of 64 KiB holds neither the embedding (160 KB) nor one step's logits of 64 tokens.
  const config = { ...TINY, vocab_size: 1000 };
  const small = withBindings(device, 65536);
  await withModel(singleFile(config, randomTensors(config)), async (folder) => {
    const checkpoint = await loadModel(folder);
    const cache: AttentionCache<DenseSequence, DenseStep> = createDenseCache({
      device,
      config: checkpoint.config,
      sequences: 1,
      sequenceTokens: 64,
    });
    const engine = await createEngine({ device: small, checkpoint, cache, maxTokens: 64 });
    const tokenIds = someTokens(64, 1000);
    const reference = referenceForward(checkpoint, tokenIds);
    const result = await engine.forward(
      [{ sequence: engine.createSequence(), tokenIds }],
      { logits: "all", losses: true },
    );
    const scale = Math.max(...reference.logits.map(Math.abs));
    assert.ok(largestDifference(result.logits![0]!, reference.logits) < EXACT * scale);
    assert.ok(largestDifference(result.losses![0]!, reference.losses) < EXACT * scale);
    engine.destroy();
  });
});

Deno.test("planSteps deals tokens in order and within both limits", () => {
  const steps = planSteps(
    [{ tokens: 5, position: 10 }, { tokens: 3, position: 0 }, { tokens: 1, position: 7 }],
    6,
    4,
  );
  assert.deepEqual(
    steps.map(({ segments, tokens }) => [
      tokens,
      ...segments.map(({ entry, start, count, position, row }) =>
        [entry, start, count, position, row].join()
      ),
    ]),
    [[6, "0,0,4,10,0", "1,0,2,0,4"], [3, "0,4,1,14,0", "1,2,1,2,1", "2,0,1,7,2"]],
  );
});

Deno.test("engine kernels compile under Tint with default limits", async () => {
  const sources = new Map([...kernelSources()].map(([name, { code }]) => [name, code]));
  assert.equal(sources.size, 15);
  assert.deepEqual(await compileWithTint(sources), new Map());
});
