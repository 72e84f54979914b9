import assert from "node:assert/strict";
import {
  type Cache,
  type Capacity,
  CoupletError,
  type CoupletErrorCode,
  createCache,
  planCache,
  type Sequence,
  type SnapshotStore,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { directoryStore } from "@couplet/kv/stores/directory";
import { encryptedStore } from "@couplet/kv/stores/encrypted";
import { learnCodebooks } from "../../../examples/engine/codebooks.ts";
import { likeliest } from "../../../examples/engine/generate.ts";
import {
  type Completion,
  createEngine,
  type Engine,
  loadModel,
  modelCacheOptions,
  openPrefix,
  plannedEngineOptions,
  serve,
  type ServeOptions,
} from "../../../examples/engine/mod.ts";
import { requestTestDevice } from "../../../tools/adapter.ts";
import { FIXTURE, readExpected } from "../../helpers/llama.ts";
import { memoryStore } from "../../helpers/memory_store.ts";

/** Tokens to add. */
const TOKENS = 20;

/** Below the gap of the two likeliest tokens, in the texts below; above what passes of different shapes differ by. */
const ROUNDING = 2e-3;

const device = await requestTestDevice();
const checkpoint = await loadModel(FIXTURE);
const text = checkpoint.tokenizer.encode(Deno.readTextFileSync("LICENSE"));
const address = readExpected().tokenIds;
const codebooks = await learnCodebooks({
  device,
  checkpoint,
  tokenIds: text.slice(0, 256),
  source: "test",
  schemes: { keys: ["c2b4"], values: ["c4b4"] },
  seed: 1,
});

interface Host {
  readonly cache: Cache;
  readonly engine: Engine<Sequence>;
}

/** An engine with a coded cache, in which no sequence may be left. */
async function withHost(
  capacity: Partial<Capacity>,
  use: (host: Host) => Promise<void>,
): Promise<void> {
  const plan = planCache({
    ...modelCacheOptions(checkpoint.config),
    policy: { keys: "c2b4", values: "c4b4" },
    tiers: { sinks: 2, window: 16 },
    capacity: {
      sequences: 6,
      tokens: 1024,
      sequenceTokens: 320,
      stepTokens: 48,
      appendTokens: 24,
      ...capacity,
    },
    limits: device.limits,
    kernels: manifest,
  });
  const cache = await createCache({ device, plan, codebooks, model: checkpoint.fingerprint });
  const engine = await createEngine({
    device,
    checkpoint,
    cache,
    ...plannedEngineOptions(plan, checkpoint.config),
  });
  await use({ cache, engine });
  const { sequences, pages } = cache.stats();
  assert.deepEqual([sequences, pages.free], [0, pages.total], "sequences are left");
  engine.destroy();
  cache.destroy();
}

async function inTemporaryDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "couplet-" });
  try {
    await use(directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** The likeliest continuation, token by token, of one sequence without company. */
async function continueAlone(
  { engine }: Host,
  prompt: readonly number[],
  tokens = TOKENS,
): Promise<number[]> {
  const sequence = engine.createSequence();
  const added: number[] = [];
  let next = prompt;
  while (added.length < tokens) {
    const { logits } = await engine.forward([{ sequence, tokenIds: next }], { logits: "last" });
    const [all] = logits!;
    const best = likeliest(all!);
    const second = likeliest(all!.with(best, -Infinity));
    assert.ok(all![best]! - all![second]! > ROUNDING, "rounding decides this text: take another");
    added.push(best);
    next = [best];
  }
  engine.freeSequence(sequence);
  return added;
}

/** All completions, by prompt. */
async function complete(
  { engine, cache }: Host,
  prompts: readonly (readonly number[])[],
  options: Partial<ServeOptions> = {},
): Promise<Completion[]> {
  const completions: Completion[] = [];
  for await (const one of serve(engine, cache, prompts, { tokens: TOKENS, ...options })) {
    completions.push(one);
  }
  return completions.sort((a, b) => a.prompt - b.prompt);
}

function tokensOf(completions: readonly Completion[]): (readonly number[])[] {
  return completions.map(({ tokenIds }) => tokenIds);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function fails(code: CoupletErrorCode, message = /./): (error: unknown) => boolean {
  return (error) =>
    error instanceof CoupletError && error.code === code && message.test(error.message);
}

/** Of 1 token, of less than a step, and of several; the window holds all of some and few of others. */
const PROMPTS = [
  address.slice(0, 1),
  address.slice(20, 29),
  text.slice(100, 170),
  address.slice(0, 128),
];

const PREFIX = text.slice(0, 150);
const CONTINUATIONS = [text.slice(150, 153), address.slice(5, 25), text.slice(300, 301)];

const alone: number[][] = [];
const behindPrefix: number[][] = [];
await withHost({}, async (host) => {
  for (const prompt of PROMPTS) alone.push(await continueAlone(host, prompt));
  for (const prompt of CONTINUATIONS) {
    behindPrefix.push(await continueAlone(host, [...PREFIX, ...prompt]));
  }
});

for (const draftTokens of [0, 4, 9]) {
  Deno.test(`serve gives ragged prompts what each gets alone, with drafts of ${draftTokens}`, async () => {
    await withHost({}, async (host) => {
      const lengths: number[] = [];
      const watched = new Proxy(host.cache, {
        get(cache, property) {
          const value = Reflect.get(cache, property, cache);
          if (property === "freeSequence") {
            return (sequence: Sequence) => {
              lengths.push(cache.length(sequence));
              cache.freeSequence(sequence);
            };
          }
          return typeof value === "function" ? value.bind(cache) : value;
        },
      });
      const completions = await complete({ ...host, cache: watched }, PROMPTS, { draftTokens });
      assert.deepEqual(tokensOf(completions), alone);
      // The last token was never run; nothing of the drafts is left.
      assert.deepEqual(
        lengths.sort((a, b) => a - b),
        PROMPTS.map((prompt) => prompt.length + TOKENS - 1).sort((a, b) => a - b),
      );
      const drafted = sum(completions.map((completion) => completion.drafted));
      const accepted = sum(completions.map((completion) => completion.accepted));
      if (draftTokens === 0) assert.equal(drafted, 0);
      else assert.ok(0 < accepted && accepted < drafted, `${accepted} of ${drafted} accepted`);
      for (const { ended, passes, accepted } of completions) {
        assert.equal(ended, false);
        assert.equal(passes, TOKENS - accepted);
      }
    });
  });
}

Deno.test("serve ends a text at the token that ends it, also where a draft holds it", async () => {
  await withHost({}, async (host) => {
    // A token that some texts hold and others do not.
    const end = alone[0]![6]!;
    const config = { ...checkpoint.config, endTokens: [end] };
    const engine = { ...host.engine, checkpoint: { ...checkpoint, config } };
    for (const draftTokens of [0, 4]) {
      const cut = await complete({ ...host, engine }, PROMPTS, { draftTokens });
      cut.forEach(({ tokenIds, ended }, i) => {
        const at = alone[i]!.indexOf(end);
        assert.equal(ended, at >= 0);
        assert.deepEqual(tokenIds, alone[i]!.slice(0, at < 0 ? TOKENS : at));
      });
      assert.equal(cut[0]!.ended, true);
      assert.ok(cut.some(({ ended }) => !ended));
    }
  });
});

Deno.test("serve frees its sequences where the caller stops early", async () => {
  await withHost({}, async ({ engine, cache }) => {
    for await (
      const { prompt } of serve(engine, cache, PROMPTS, { tokens: TOKENS, draftTokens: 4 })
    ) {
      assert.ok(prompt in PROMPTS);
      assert.ok(cache.stats().sequences > 0);
      break;
    }
  });
});

Deno.test("openPrefix restores what it stored, computes nothing of it, and prompts share its pages", async () => {
  await inTemporaryDirectory(async (directory) => {
    const store = directoryStore(directory);
    await withHost({}, async (host) => {
      const prefix = await openPrefix(host.engine, host.cache, PREFIX, store);
      assert.deepEqual([prefix.restored, prefix.refused], [0, []]);
      const completions = await complete(host, CONTINUATIONS, { prefix, draftTokens: 4 });
      assert.deepEqual(tokensOf(completions), behindPrefix);
      host.cache.freeSequence(prefix.sequence);
    });
    // Another process would have a cache of its own, of a capacity of its own.
    await withHost({ sequences: 4, tokens: 400 }, async (host) => {
      const idle = { ...host.engine, forward: () => Promise.reject(new Error("computed")) };
      const prefix = await openPrefix(idle, host.cache, PREFIX, store);
      assert.deepEqual([prefix.restored, prefix.refused], [PREFIX.length, []]);
      const pages = host.cache.pages(prefix.sequence, 0).pages.length;
      assert.equal(pages, 3);
      let shared = 0;
      const completions = await complete(host, CONTINUATIONS, {
        prefix,
        draftTokens: 4,
        onReady() {
          const { sequences, pages } = host.cache.stats();
          assert.equal(sequences, 1 + CONTINUATIONS.length);
          assert.equal(pages.total - pages.free, pages.shared);
          shared = pages.shared;
        },
      });
      assert.equal(shared, pages);
      assert.deepEqual(tokensOf(completions), behindPrefix);
      host.cache.freeSequence(prefix.sequence);
    });
  });
});

Deno.test("openPrefix goes on from a shorter prefix that is stored", async () => {
  await inTemporaryDirectory(async (directory) => {
    const store = directoryStore(directory);
    await withHost({}, async (host) => {
      for (const [tokens, restored] of [[70, 0], [150, 70], [100, 70], [150, 150]] as const) {
        const prefix = await openPrefix(host.engine, host.cache, PREFIX.slice(0, tokens), store);
        assert.equal(prefix.restored, restored);
        assert.equal(host.cache.length(prefix.sequence), tokens);
        if (restored === 150) {
          const completions = await complete(host, CONTINUATIONS, { prefix });
          assert.deepEqual(tokensOf(completions), behindPrefix);
        }
        host.cache.freeSequence(prefix.sequence);
      }
    });
  });
});

Deno.test("openPrefix computes anew what a damaged file held, says so, and mends the store", async () => {
  await inTemporaryDirectory(async (directory) => {
    const store = directoryStore(directory);
    await withHost({}, async (host) => {
      const open = async () => {
        const prefix = await openPrefix(host.engine, host.cache, PREFIX, store);
        const completions = await complete(host, CONTINUATIONS.slice(0, 1), { prefix });
        assert.deepEqual(tokensOf(completions), behindPrefix.slice(0, 1));
        host.cache.freeSequence(prefix.sequence);
        return { restored: prefix.restored, codes: prefix.refused.map(({ error }) => error.code) };
      };
      assert.deepEqual(await open(), { restored: 0, codes: [] });
      const [entry] = [...Deno.readDirSync(directory)];
      const file = `${directory}/${entry!.name}`;
      const bytes = Deno.readFileSync(file);
      bytes[bytes.length - 100]! ^= 1;
      Deno.writeFileSync(file, bytes);
      assert.deepEqual(await open(), { restored: 0, codes: ["file"] });
      assert.deepEqual(await open(), { restored: PREFIX.length, codes: [] });
    });
  });
});

Deno.test("openPrefix computes what another key's entry holds, says so, and leaves the entry", async () => {
  const shared = memoryStore();
  const [ours, theirs] = await Promise.all(
    [0, 1].map(async () => {
      const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 128 }, false, [
        "encrypt",
        "decrypt",
      ]) as CryptoKey;
      return encryptedStore(shared, key);
    }),
  );
  await withHost({}, async ({ engine, cache }) => {
    for (
      const [store, restored, codes] of [
        [theirs!, 0, []],
        [ours!, 0, ["encryption"]],
        [theirs!, PREFIX.length, []],
      ] as const
    ) {
      const prefix = await openPrefix(engine, cache, PREFIX, store);
      assert.deepEqual([prefix.restored, prefix.refused.map(({ error }) => error.code)], [
        restored,
        codes,
      ]);
      cache.freeSequence(prefix.sequence);
    }
  });
});

Deno.test("openPrefix leaves no sequence behind where it fails", async () => {
  await inTemporaryDirectory(async (directory) => {
    const broken = () =>
      Promise.reject(new CoupletError("store", { what: "a", why: "b", remedy: "c" }));
    const store = directoryStore(directory);
    await withHost({ sequenceTokens: 160, sequences: 1 }, async ({ engine, cache }) => {
      for (
        const [tokenIds, at, code] of [
          [[], store, "usage"],
          [text.slice(0, 161), store, "capacity"],
          [PREFIX, { ...store, list: broken }, "store"],
          [PREFIX, { ...store, put: broken }, "store"],
        ] as [number[], SnapshotStore, CoupletErrorCode][]
      ) {
        await assert.rejects(openPrefix(engine, cache, tokenIds, at), fails(code));
        assert.equal(cache.stats().sequences, 0);
      }
    });
  });
});

Deno.test("serve refuses what cannot work before it begins, and leaves other sequences usable", async () => {
  await withHost({}, async (host) => {
    const { engine, cache } = host;
    const prefix = await openPrefix(engine, cache, PREFIX);
    const one = [CONTINUATIONS[0]!];
    const occupied = () => {
      const { sequences, pages } = cache.stats();
      return { sequences, pages };
    };
    const before = occupied();
    for (
      const [prompts, options, code, message] of [
        [one, { tokens: 0 }, "usage", /tokens is 0/],
        [one, { tokens: 1.5 }, "usage", /tokens is 1.5/],
        [one, { draftTokens: -1 }, "usage", /draftTokens is -1/],
        [[...one, []], {}, "usage", /prompt 1 has no tokens/],
        [one, { prefix: { ...prefix, tokenIds: one[0]! } }, "usage", /prefix has 3 .* holds 150/],
        [one, { prefix, tokens: 169 }, "capacity", /hold 321 tokens, and 320/],
        [one, { draftTokens: 24, tokens: 26 }, "capacity", /24 drafted tokens.* 24 of an append/],
        [new Array(6).fill(one[0]), { prefix }, "capacity", /6 of 6 planned sequences/],
        [[[checkpoint.config.vocabularySize]], {}, "usage", /vocabulary/],
      ] as [readonly (readonly number[])[], Partial<ServeOptions>, CoupletErrorCode, RegExp][]
    ) {
      await assert.rejects(complete(host, prompts, options), fails(code, message));
      assert.deepEqual(occupied(), before);
    }
    assert.deepEqual(await complete(host, []), []);
    // So few tokens leave no room for drafts that a step could not hold.
    const short = await complete(host, CONTINUATIONS, { prefix, tokens: 3, draftTokens: 24 });
    assert.deepEqual(tokensOf(short), behindPrefix.map((tokenIds) => tokenIds.slice(0, 3)));
    assert.deepEqual(tokensOf(await complete(host, CONTINUATIONS, { prefix })), behindPrefix);
    cache.freeSequence(prefix.sequence);
  });
});

Deno.test("serve that runs out of pages gives its memory back, and leaves other sequences usable", async () => {
  // Pages for the prefix and its forks' first tokens, not for all they would grow by.
  await withHost({ tokens: 64, sequences: 6 }, async (host) => {
    const { engine, cache } = host;
    const prefix = await openPrefix(engine, cache, PREFIX);
    const { free } = cache.stats().pages;
    const prompts = [...CONTINUATIONS.slice(0, 2), text.slice(150, 195)];
    let passes = 0;
    const counted: typeof engine = {
      ...engine,
      async forward(...pass) {
        const result = await engine.forward(...pass);
        passes++;
        return result;
      },
    };
    await assert.rejects(
      complete({ cache, engine: counted }, prompts, { prefix, tokens: 60, draftTokens: 4 }),
      fails("capacity", /pages/),
    );
    assert.ok(passes > 2, `it ran out after ${passes} passes`);
    const { sequences, pages } = cache.stats();
    assert.deepEqual([sequences, pages.free], [1, free]);
    const first = await complete(host, CONTINUATIONS.slice(0, 1), { prefix });
    assert.deepEqual(tokensOf(first), behindPrefix.slice(0, 1));
    cache.freeSequence(prefix.sequence);
  });
});

Deno.test("serve's command restores the prefix the second time, and gives the same texts", async () => {
  await inTemporaryDirectory(async (directory) => {
    const run = async (...more: string[]) => {
      const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "-A", "--no-check", "examples/engine/serve_main.ts", "--tokens", "8"]
          .concat(["--window", "8", "--store", directory, ...more]),
      }).output();
      const decoder = new TextDecoder();
      return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
    };
    const prefix = "It was the best of times, it was the worst of times, it was the age of";
    const texts = [" wisdom", " foolishness, it was the epoch"];
    const first = await run("--prefix", prefix, ...texts);
    assert.equal(first.code, 0, first.errors);
    assert.match(first.errors, /Prefix: 0 tokens restored, \d+ computed and stored/);
    const sorted = (output: string) => output.split(/^(?=\d\. )/m).sort();
    assert.equal(sorted(first.output).length, 2);
    assert.match(sorted(first.output)[0]!, /^1\. {2}wisdom./);
    await Deno.writeTextFile(`${directory}/prefix.txt`, prefix);
    const second = await run("--prefix", `@${directory}/prefix.txt`, "--draft", "0", ...texts);
    assert.equal(second.code, 0, second.errors);
    assert.match(second.errors, /Prefix: \d+ tokens restored, 0 computed\n/);
    assert.match(second.errors, /Pages: 1 hold 3 sequences, 1 shared/);
    assert.match(second.errors, /16 tokens in .*, 8 passes over 2 texts/);
    assert.deepEqual(sorted(second.output), sorted(first.output));

    const refused = await run("--prefix", "@no/such.txt", ...texts);
    assert.equal(refused.code, 1);
    assert.match(refused.errors, /Cannot read "no\/such\.txt"/);
    assert.doesNotMatch(refused.errors, /\bat .*\.ts:/, "a sentence, no stack");
  });
});
