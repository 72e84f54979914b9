import assert from "node:assert/strict";
import fc from "fast-check";
import {
  cacheIdentity,
  CoupletError,
  findLongestPrefix,
  type Prompt,
  promptKey,
  restoreLongestPrefix,
  snapshotSequence,
  type SnapshotStore,
  storePrefix,
} from "../../mod.ts";
import { opfsStore } from "../../src/snapshots/stores/opfs.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { memoryDirectory, memoryLocks } from "../helpers/memory_directory.ts";
import { feed, gridCache, occupancy } from "../helpers/snapshots.ts";
import { rejects } from "../helpers/refusals.ts";

const device = await requestTestDevice();

const options = {
  shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 64 },
  policy: { keys: "c8b8", values: "c8b8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 1, window: 3 },
  capacity: { sequences: 3, tokens: 300, sequenceTokens: 128, stepTokens: 64, appendTokens: 64 },
} as const;

function memoryStore(): SnapshotStore {
  return opfsStore(memoryDirectory(), memoryLocks());
}

function prompt(tokenIds: ArrayLike<number>, more: Partial<Prompt> = {}): Prompt {
  return {
    model: { name: "a", digest: "a" },
    planFingerprint: "p",
    codebookFingerprint: "c",
    tokenIds,
    ...more,
  };
}

const tokens = fc.array(fc.integer({ min: 0, max: 0xffffffff }), { maxLength: 200 });

Deno.test("promptKey gives equal prompts equal keys, and other prompts others", async () => {
  await fc.assert(
    fc.asyncProperty(tokens, fc.nat(), fc.integer({ min: 1 }), async (tokenIds, at, by) => {
      const key = await promptKey(prompt(tokenIds));
      assert.match(key, /^prompt-[0-9a-f]{64}$/);
      assert.equal(await promptKey(prompt(Uint32Array.from(tokenIds))), key);
      // The model's name is for people.
      assert.equal(await promptKey(prompt(tokenIds, { model: { name: "b", digest: "a" } })), key);
      const others = [
        prompt([...tokenIds, 0]),
        prompt(tokenIds, { model: { name: "a", digest: "b" } }),
        prompt(tokenIds, { planFingerprint: "q" }),
        prompt(tokenIds, { codebookFingerprint: "d" }),
        prompt(tokenIds, { planFingerprint: "pc", codebookFingerprint: "" }),
      ];
      if (tokenIds.length > 0) {
        const changed = tokenIds.with(
          at % tokenIds.length,
          (tokenIds[at % tokenIds.length]! ^ by) >>> 0,
        );
        others.push(prompt(changed), prompt(tokenIds.slice(0, -1)));
      }
      for (const other of others) assert.notEqual(await promptKey(other), key);
    }),
    { seed: 5, numRuns: 40 },
  );
});

Deno.test("promptKey refuses what is no token", async () => {
  for (const token of [-1, 0.5, NaN, 2 ** 32]) {
    await rejects(promptKey(prompt([1, token])), "usage");
  }
});

Deno.test("findLongestPrefix looks under the keys that promptKey gives, at multiples of any block", async () => {
  const tokenIds = Array.from({ length: 300 }, (_, i) => (i * 7919) % 50000);
  for (const block of [1, 10, 64, 96, 128]) {
    const asked: string[] = [];
    const wanted: string[] = [];
    for (let length = block; length <= 300; length += block) {
      wanted.push(await promptKey(prompt(tokenIds.slice(0, length))));
    }
    const store: SnapshotStore = {
      ...memoryStore(),
      list: () => Promise.resolve([...wanted, "prompt-other"]),
      // As if each had been deleted since.
      get: (key) => Promise.resolve(void asked.push(key) as undefined),
    };
    const found = await findLongestPrefix(store, prompt(tokenIds), block);
    assert.deepEqual(found, { tokens: 0, refused: [] });
    assert.deepEqual(asked, wanted.reverse());
  }
  await rejects(findLongestPrefix(memoryStore(), prompt(tokenIds), 0), "usage");
  // A store to read from need not be one to write to.
  const { list, get } = memoryStore();
  const found = await findLongestPrefix({ list, get }, prompt(tokenIds), 1);
  assert.deepEqual(found, { tokens: 0, refused: [] });
});

Deno.test("findLongestPrefix asks a store that can be asked for the prompt's keys, the longest first, and lists nothing", async () => {
  const tokenIds = Array.from({ length: 300 }, (_, i) => (i * 7919) % 50000);
  const keys = await Promise.all(
    tokenIds.map((_, i) => promptKey(prompt(tokenIds.slice(0, i + 1)))),
  );
  // By the length of what is stored, how many keys are asked for: 64 at a time.
  for (const [stored, asks] of [[300, 64], [237, 64], [236, 128], [1, 300], [0, 300]] as const) {
    const asked: string[] = [];
    const found = findLongestPrefix(
      {
        list: () => Promise.reject(new Error("listed")),
        has(some) {
          asked.push(...some.toReversed());
          return Promise.resolve(some.map((key) => key === keys[stored - 1]));
        },
        // Ends the search.
        get: (key) => Promise.reject(new Error(`read ${key}`)),
      },
      prompt(tokenIds),
      1,
    );
    if (stored === 0) assert.deepEqual(await found, { tokens: 0, refused: [] });
    else await assert.rejects(found, { message: `read ${keys[stored - 1]}` });
    assert.deepEqual(asked, keys.toReversed().slice(0, asks));
  }
});

Deno.test("restoreLongestPrefix continues from the longest prefix that storePrefix stored", async () => {
  const store = memoryStore();
  const tokenIds = Array.from({ length: 100 }, (_, i) => i);
  const source = await gridCache(device, options);
  const sequence = source.createSequence();
  await feed(device, source, sequence, 32);
  await rejects(storePrefix(source, store, sequence, tokenIds), "usage");
  await storePrefix(source, store, sequence, tokenIds.slice(0, 32));
  await feed(device, source, sequence, 32);
  const storing = storePrefix(source, store, sequence, tokenIds.slice(0, 64));
  // The sequence may go on while it is stored.
  const wanted = await feed(device, source, sequence, 20, { attend: true });
  const key = await storing;
  const identity = await cacheIdentity(source);
  assert.equal(key, await promptKey({ ...identity, tokenIds: tokenIds.slice(0, 64) }));

  const cache = await gridCache(device, options);
  const restored = await restoreLongestPrefix(cache, store, tokenIds, 32);
  assert.equal(restored.tokens, 64);
  assert.deepEqual(restored.refused, []);
  const found = await feed(device, cache, restored.sequence, 20, { attend: true });
  assert.deepEqual(found, wanted);
  assert.deepEqual(
    await snapshotSequence(cache, restored.sequence),
    await snapshotSequence(source, sequence),
  );
  const other = await restoreLongestPrefix(cache, store, [...tokenIds.slice(0, 50), 7, 7], 16);
  assert.equal(other.tokens, 32);
  const none = await restoreLongestPrefix(cache, store, [7, ...tokenIds], 16);
  assert.equal(none.tokens, 0);
  assert.equal(cache.length(none.sequence), 0);
  const before = occupancy(cache);
  await rejects(restoreLongestPrefix(cache, store, tokenIds, 32), "capacity");
  assert.deepEqual(occupancy(cache), before);

  const foreign = await gridCache(device, options, { seed: 2 });
  assert.equal((await restoreLongestPrefix(foreign, store, tokenIds, 32)).tokens, 0);
  for (const one of [source, cache, foreign]) one.destroy();
});

Deno.test("restoreLongestPrefix passes over entries that are damaged, misplaced or unreadable, and reports them", async () => {
  const store = memoryStore();
  const tokenIds = Array.from({ length: 64 }, (_, i) => i);
  const cache = await gridCache(device, options);
  const sequence = cache.createSequence();
  const keys: string[] = [];
  for (let length = 16; length <= 64; length += 16) {
    await feed(device, cache, sequence, 16);
    keys.push(await storePrefix(cache, store, sequence, tokenIds.slice(0, length)));
  }
  const damaged = (await store.get(keys[3]!))!;
  damaged[damaged.length - 1]! ^= 1;
  await store.put(keys[3]!, damaged);
  await store.put(keys[2]!, (await store.get(keys[1]!))!);
  const failing: SnapshotStore = {
    ...store,
    get: (key) =>
      key === keys[1]
        ? Promise.reject(new CoupletError("store", { what: "a", why: "b", remedy: "c" }))
        : store.get(key),
  };
  const { sequence: restored, tokens, refused } = await restoreLongestPrefix(
    cache,
    failing,
    tokenIds,
    16,
  );
  assert.equal(tokens, 16);
  assert.equal(cache.length(restored), 16);
  assert.deepEqual(refused.map(({ key, tokens, error }) => [key, tokens, error.code]), [
    [keys[3], 64, "file"],
    [keys[2], 48, "snapshot"],
    [keys[1], 32, "store"],
  ]);
  cache.destroy();
});

Deno.test("findLongestPrefix takes a snapshot that names no prompt where plan, codebooks and model are the prompt's", async () => {
  const cache = await gridCache(device, options);
  const sequence = cache.createSequence();
  await feed(device, cache, sequence, 16);
  for (const tokens of [15, 17]) {
    await rejects(storePrefix(cache, memoryStore(), sequence, new Uint32Array(tokens)), "usage");
  }
  const bytes = await snapshotSequence(cache, sequence);
  const own = prompt(Array.from({ length: 16 }, (_, i) => i), await cacheIdentity(cache));
  const found = async (change: Partial<Prompt>) => {
    const asked = { ...own, ...change };
    const store = memoryStore();
    await store.put(await promptKey(asked), bytes);
    const { tokens, refused } = await findLongestPrefix(store, asked, 16);
    return [tokens, refused.map(({ error }) => error.code)];
  };
  assert.deepEqual(await found({}), [16, []]);
  for (
    const change of [
      { planFingerprint: "p" },
      { codebookFingerprint: "c" },
      { model: { name: "a", digest: "a" } },
    ]
  ) {
    assert.deepEqual(await found(change), [0, ["snapshot"]], Object.keys(change).join());
  }
  cache.destroy();
});
