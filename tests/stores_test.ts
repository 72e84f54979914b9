/// <reference lib="deno.unstable" />
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CoupletError, type SnapshotStore } from "../mod.ts";
import { denoKvStore, type KvDatabase, openDenoKvStore } from "../src/stores/deno_kv.ts";
import { directoryStore } from "../src/stores/directory.ts";
import { openOpfsStore, opfsStore } from "../src/stores/opfs.ts";
import { memoryDirectory, memoryLocks } from "./memory_directory.ts";
import { patterned, STORE_CRITERIA } from "./store_conformance.ts";

function isStoreError(error: unknown): boolean {
  return error instanceof CoupletError && error.code === "store";
}

/** Runs `use` with a new directory, and removes it. */
async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "couplet-store-"));
  try {
    await use(directory);
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Each back end, with an empty store. */
const BACK_ENDS: Readonly<
  Record<string, (use: (store: SnapshotStore) => Promise<void>) => Promise<void>>
> = {
  directoryStore: (use) =>
    withDirectory((directory) => use(directoryStore(join(directory, "made/when/needed")))),
  "opfsStore in memory": (use) => use(opfsStore(memoryDirectory(), memoryLocks())),
  denoKvStore: (use) =>
    withDirectory(async (directory) => {
      const store = await openDenoKvStore(join(directory, "store.sqlite"));
      try {
        await use(store);
      } finally {
        store.close();
      }
    }),
};

for (const [name, withStore] of Object.entries(BACK_ENDS)) {
  for (const criterion of STORE_CRITERIA) {
    Deno.test(`${name} ${criterion.name}`, () => withStore((store) => criterion.run(store)));
  }
}

Deno.test("directoryStore takes a URL, and another store of the same directory sees its entries", () =>
  withDirectory(async (directory) => {
    await directoryStore(new URL(`file://${directory}/`)).put("a", patterned(10, 1));
    assert.deepEqual(await directoryStore(directory).get("a"), patterned(10, 1));
  }));

Deno.test("directoryStore lists neither other files nor unfinished ones, and removes abandoned ones", () =>
  withDirectory(async (directory) => {
    const store = directoryStore(directory);
    // By their age in minutes: another process may write one for a while, and an hour is what it has.
    const ages = { "a.1.unfinished": 0, "a.2.unfinished": 50, "a.3.unfinished": 70 };
    for (const name of ["README.md", "UPPER.safetensors", ...Object.keys(ages)]) {
      await writeFile(join(directory, name), "part");
    }
    for (const [name, minutes] of Object.entries(ages)) {
      const written = Date.now() / 1000 - minutes * 60;
      await utimes(join(directory, name), written, written);
    }
    await store.put("a", patterned(10, 1));
    assert.deepEqual(await store.list(), ["a"]);
    assert.deepEqual((await readdir(directory)).sort(), [
      "README.md",
      "UPPER.safetensors",
      "a.1.unfinished",
      "a.2.unfinished",
      "a.safetensors",
    ]);
  }));

Deno.test("directoryStore reports what the file system refuses, and leaves nothing behind", () =>
  withDirectory(async (directory) => {
    await writeFile(join(directory, "file"), "not a directory");
    const store = directoryStore(join(directory, "file"));
    await assert.rejects(store.put("a", patterned(1, 1)), isStoreError);
    await assert.rejects(store.get("a"), isStoreError);
    await assert.rejects(store.list(), isStoreError);
    assert.deepEqual(await readdir(directory), ["file"]);
  }));

Deno.test("opfsStore reports a full disk, and keeps the entry before", async () => {
  const store = opfsStore(memoryDirectory({ quota: 100 }), memoryLocks());
  await store.put("a", patterned(40, 1));
  await assert.rejects(store.put("a", patterned(200, 2)), isStoreError);
  await assert.rejects(store.put("b", patterned(70, 2)), isStoreError);
  assert.deepEqual(await store.get("a"), patterned(40, 1));
  assert.deepEqual(await store.list(), ["a"]);
});

Deno.test("opfsStore passes over a file whose first content a crash kept from being written", async () => {
  const directory = memoryDirectory();
  await directory.getFileHandle("a.safetensors", { create: true });
  await directory.getFileHandle("other.txt", { create: true });
  const store = opfsStore(directory, memoryLocks());
  assert.deepEqual(await store.list(), []);
  assert.equal(await store.get("a"), undefined);
});

Deno.test("openOpfsStore reports where there is no such file system", async () => {
  await assert.rejects(openOpfsStore(), isStoreError);
});

Deno.test("denoKvStore leaves no chunk of entries that were replaced or deleted", async () => {
  const kv = await Deno.openKv(":memory:");
  // A Deno.Kv is what the store calls a database.
  const store = denoKvStore(kv satisfies KvDatabase);
  const count = async () => (await Array.fromAsync(kv.list({ prefix: [] }))).length;
  await store.put("a", patterned(1_000_000, 1));
  await store.put("ab", patterned(100_000, 1));
  await store.put("a", patterned(200_000, 2));
  // One manifest and 4 chunks, one manifest and 2 chunks.
  assert.equal(await count(), 8);
  await store.delete("a");
  assert.equal(await count(), 3);
  await store.delete("ab");
  assert.equal(await count(), 0);
  store.close();
});

Deno.test("denoKvStore refuses entries with damaged manifests or missing chunks, and replaces them", async () => {
  const kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  await store.put("a", patterned(200_000, 1));
  const chunks = await Array.fromAsync(kv.list({ prefix: ["couplet-snapshots", "chunk", "a"] }));
  await kv.delete(chunks[2]!.key);
  await assert.rejects(store.get("a"), isStoreError);
  await kv.set(chunks[2]!.key, patterned(7, 1));
  await assert.rejects(store.get("a"), isStoreError);
  await kv.set(["couplet-snapshots", "manifest", "a"], { id: 1 });
  await assert.rejects(store.get("a"), isStoreError);
  await store.put("a", patterned(10, 1));
  assert.deepEqual(await store.get("a"), patterned(10, 1));
  store.close();
});

Deno.test("denoKvStore removes chunks that a crash left long ago, and no others", async () => {
  const kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  const chunk = (age: number) => ["couplet-snapshots", "chunk", "a", `${Date.now() - age}-x`, 0];
  await kv.set(chunk(86_400_000), patterned(1, 1));
  await kv.set(chunk(1000), patterned(1, 1));
  await store.put("a", patterned(1, 1));
  const ids = await Array.fromAsync(kv.list({ prefix: ["couplet-snapshots", "chunk"] }));
  assert.equal(ids.length, 2);
  store.close();
});

Deno.test("denoKvStore keeps entries whole where several connections write them at once", () =>
  withDirectory(async (directory) => {
    const stores = await Promise.all(
      [1, 2, 3].map(() => openDenoKvStore(join(directory, "store.sqlite"))),
    );
    const entries = stores.map((_, i) => patterned(150_000 + i, i));
    for (let round = 0; round < 5; round++) {
      await Promise.all(stores.map((store, i) => store.put("a", entries[i]!)));
      for (const store of stores) {
        const found = await store.get("a");
        assert.deepEqual(found, entries.find(({ length }) => length === found?.length));
      }
    }
    for (const store of stores) store.close();
  }));

Deno.test("denoKvStore reports a closed database", async () => {
  const store = await openDenoKvStore(":memory:");
  store.close();
  await assert.rejects(store.get("a"), isStoreError);
  await assert.rejects(store.put("a", patterned(1, 1)), isStoreError);
  await assert.rejects(store.list(), isStoreError);
});
