/// <reference lib="deno.unstable" />
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  type FileHandle,
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  symlink,
  utimes,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { CoupletError, type SnapshotStore } from "../../mod.ts";
import {
  denoKvStore,
  type KvDatabase,
  openDenoKvStore,
} from "../../src/snapshots/stores/deno_kv.ts";
import { directoryStore } from "../../src/snapshots/stores/directory.ts";
import { openOpfsStore, opfsStore } from "../../src/snapshots/stores/opfs.ts";
import { asStoreError } from "../../src/snapshots/store.ts";
import { memoryDirectory, memoryLocks } from "../helpers/memory_directory.ts";
import { patterned, STORE_CRITERIA } from "../helpers/store_conformance.ts";

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

/** What a crash leaves of an entry that was being written. */
const LEFT = "couplet-8c7e2d60-5b0c-4d2e-9d43-3f0a7b6f1c55.unfinished";

/** Makes a file, a folder or a named pipe. */
type Make = (path: string) => Promise<unknown>;

const makeFile: Make = (path) => writeFile(path, "mine");
const makePipe: Make = (path) => promisify(execFile)("mkfifo", [path]);
async function makeFolder(path: string): Promise<void> {
  await mkdir(path);
  await writeFile(join(path, "mine"), "mine");
}

/** Named pipes are a matter of POSIX. */
const PIPES = Deno.build.os !== "windows";

/** What others may have in a store's directory. */
const FOREIGN: readonly (readonly [name: string, make: Make])[] = [
  ["README.md", makeFile],
  ["UPPER.safetensors", makeFile],
  ["thesis.unfinished", makeFile],
  [".unfinished", makeFile],
  ["my notes.unfinished", makeFile],
  ["couplet-notes.unfinished", makeFile],
  [`a.${LEFT}`, makeFile],
  [LEFT.replace("couplet-", ""), makeFile],
  [`${LEFT}.txt`, makeFile],
  ["work.unfinished", makeFolder],
  [LEFT, makeFolder],
  ...(PIPES ? [["pipe.unfinished", makePipe], [LEFT.replace("8", "9"), makePipe]] as const : []),
];

const YESTERDAY = Date.now() / 1000 - 86400;

for (const [name, make] of FOREIGN) {
  Deno.test(`directoryStore leaves another's ${name} alone, however old, and writes beside it (${make.name})`, () =>
    withDirectory(async (directory) => {
      const path = join(directory, name);
      await make(path);
      await utimes(path, YESTERDAY, YESTERDAY);
      const store = directoryStore(directory);
      for (const seed of [1, 2]) await store.put("a", patterned(10, seed));
      assert.deepEqual(await store.get("a"), patterned(10, 2));
      assert.deepEqual(await store.list(), ["a"]);
      assert.ok(await store.delete("a"));
      assert.deepEqual(await readdir(directory), [name]);
      if (make === makeFile) assert.equal(await readFile(path, "utf8"), "mine");
      if (make === makeFolder) assert.equal(await readFile(join(path, "mine"), "utf8"), "mine");
      if (make === makePipe) assert.ok((await lstat(path)).isFIFO());
    }));
}

Deno.test("directoryStore removes what crashes left of entries it was writing, once they are old", () =>
  withDirectory(async (directory) => {
    const store = directoryStore(directory);
    // By their age in minutes: another process may write one for a while, and ten minutes is what it has.
    for (const [digit, minutes] of [["1", 0], ["2", 8], ["3", 12]] as const) {
      const path = join(directory, LEFT.replace("8", digit));
      await writeFile(path, "part");
      const written = Date.now() / 1000 - minutes * 60;
      await utimes(path, written, written);
    }
    await store.put("a", patterned(10, 1));
    assert.deepEqual((await readdir(directory)).sort(), [
      "a.safetensors",
      LEFT.replace("8", "1"),
      LEFT.replace("8", "2"),
    ]);
  }));

/** What can lie where an entry would, and is none. */
const NO_ENTRIES: readonly (readonly [what: string, make: Make])[] = [
  ["a folder", makeFolder],
  ...(PIPES ? [["a named pipe", makePipe]] as const : []),
];

for (const [what, make] of NO_ENTRIES) {
  Deno.test(`directoryStore lists, reads, replaces and deletes no entry that is ${what}`, () =>
    withDirectory(async (directory) => {
      const path = join(directory, "a.safetensors");
      await make(path);
      const before = await lstat(path);
      const store = directoryStore(directory);
      assert.deepEqual(await store.list(), []);
      await assert.rejects(store.get("a"), isStoreError);
      await assert.rejects(store.put("a", patterned(1, 1)), isStoreError);
      await assert.rejects(store.delete("a"), isStoreError);
      assert.deepEqual(await readdir(directory), ["a.safetensors"]);
      assert.equal((await lstat(path)).mode, before.mode);
    }));
}

Deno.test("directoryStore replaces and deletes a link, not what it leads to", () =>
  withDirectory(async (directory) => {
    const target = join(directory, "mine.bin");
    const store = directoryStore(directory);
    for (const change of [() => store.put("a", patterned(10, 1)), () => store.delete("a")]) {
      await writeFile(target, patterned(20, 2));
      await rm(join(directory, "a.safetensors"), { force: true });
      await symlink(target, join(directory, "a.safetensors"));
      assert.deepEqual(await store.get("a"), patterned(20, 2));
      await change();
      assert.deepEqual(new Uint8Array(await readFile(target)), patterned(20, 2));
    }
  }));

Deno.test("directoryStore flushes a new file before it is renamed, and the directories of its name after", () =>
  withDirectory(async (directory) => {
    const flushed: string[] = [];
    const handle = await open(directory, "r");
    const prototype: FileHandle = Object.getPrototypeOf(handle);
    await handle.close();
    const { sync } = prototype;
    prototype.sync = async function (this: FileHandle) {
      const isFolder = (await this.stat()).isDirectory();
      const written = await readdir(join(directory, "made/now")).catch(() => []);
      flushed.push(
        `${isFolder ? "folder" : "file"} with ${written.filter((name) => /^a/.test(name))}`,
      );
      return await sync.call(this);
    };
    try {
      const store = directoryStore(join(directory, "made/now"));
      await store.put("a", patterned(10, 1));
      // The directory itself, and the two that it and the one it lies in were made in.
      const folder = "folder with a.safetensors";
      assert.deepEqual(flushed, ["file with ", folder, folder, folder]);
      await store.put("a", patterned(10, 2));
      await store.delete("a");
      assert.deepEqual(flushed.slice(4), ["file with a.safetensors", folder, "folder with "]);
    } finally {
      prototype.sync = sync;
    }
  }));

Deno.test("directoryStore needs permission for its directory alone", () =>
  withDirectory(async (directory) => {
    const program = join(directory, "program.ts");
    const store = new URL("../../src/snapshots/stores/directory.ts", import.meta.url).href;
    await writeFile(
      program,
      `import { directoryStore } from "${store}";
const store = directoryStore("./kept/here");
await store.put("a", new Uint8Array(3));
console.log(await store.list(), (await store.get("a")).length, await store.delete("a"));`,
    );
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: "run --no-check --no-prompt --no-config --allow-read=./kept --allow-write=./kept".split(
        " ",
      )
        .concat(program),
      cwd: directory,
      env: { NO_COLOR: "1" },
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.equal(new TextDecoder().decode(stdout), '[ "a" ] 3 true\n');
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

Deno.test("opfsStore lists, reads and deletes no entry that is a directory", async () => {
  const directory = memoryDirectory();
  await directory.getDirectoryHandle("a.safetensors", { create: true });
  const store = opfsStore(directory, memoryLocks());
  await store.put("b", patterned(10, 1));
  assert.deepEqual(await store.list(), ["b"]);
  await assert.rejects(store.get("a"), isStoreError);
  await assert.rejects(store.put("a", patterned(1, 1)), isStoreError);
  await assert.rejects(store.delete("a"), isStoreError);
  assert.deepEqual(await Array.fromAsync(directory.keys()), ["a.safetensors", "b.safetensors"]);
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

/** Manifests that announce more than anybody has. */
const ABSURD: readonly number[] = [2 ** 31, 2 ** 40, 2 ** 50, Number.MAX_SAFE_INTEGER];

for (const bytes of ABSURD) {
  Deno.test(`denoKvStore refuses, replaces and deletes an entry whose manifest announces ${bytes} bytes`, async () => {
    const kv = await Deno.openKv(":memory:");
    const store = denoKvStore(kv);
    const forged = { id: "x", bytes, chunks: Math.ceil(bytes / 64512) };
    for (const replace of [true, false]) {
      await kv.set(["couplet-snapshots", "manifest", "a"], forged);
      await kv.set(["couplet-snapshots", "chunk", "a", "x", 0], patterned(64512, 1));
      await assert.rejects(store.get("a"), isStoreError);
      if (replace) {
        await store.put("a", patterned(10, 1));
        assert.deepEqual(await store.get("a"), patterned(10, 1));
      }
      assert.ok(await store.delete("a"));
      assert.deepEqual(await Array.fromAsync(kv.list({ prefix: [] })), []);
    }
    store.close();
  });
}

Deno.test("denoKvStore refuses an entry whose last chunk is there and one before is not", async () => {
  const kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  const forged = { id: "x", bytes: 20 * 64512, chunks: 20 };
  await kv.set(["couplet-snapshots", "manifest", "a"], forged);
  await kv.set(["couplet-snapshots", "chunk", "a", "x", 19], patterned(64512, 1));
  await assert.rejects(store.get("a"), isStoreError);
  store.close();
});

Deno.test("denoKvStore removes chunks that a crash left long ago, and nobody else's", async () => {
  const kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  const before = (age: number) => `${Date.now() - age}-${crypto.randomUUID()}`;
  const chunk = (...parts: (string | number)[]) => ["couplet-snapshots", "chunk", "a", ...parts];
  const old = before(86_400_000);
  const kept = [
    chunk(before(1000), 0),
    chunk("1-mine", 0),
    chunk(`${old}.txt`, 0),
    chunk(old, "mine"),
    chunk(old, 0, "mine"),
    ["couplet-snapshots", "manifest", "a", "mine"],
    ["couplet-snapshots", "manifest", 7],
  ];
  for (const key of [...kept, chunk(old, 0), chunk(old, 1)]) await kv.set(key, patterned(1, 1));
  await store.put("a", patterned(1, 1));
  assert.deepEqual(await store.list(), ["a"]);
  assert.ok(await store.delete("a"));
  const left = await Array.fromAsync(kv.list({ prefix: [] }), ({ key }) => JSON.stringify(key));
  assert.deepEqual(left.sort(), kept.map((key) => JSON.stringify(key)).sort());
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

Deno.test("asStoreError() gives this library's errors on as they are, and says why others were thrown", () => {
  const own = new CoupletError("usage", { what: "a", why: "b", remedy: "c" });
  assert.equal(asStoreError("Cannot read it", own, "Try again"), own);
  for (const cause of [new Error("no disk"), "no disk"]) {
    const error = asStoreError("Cannot read it", cause, "Try again");
    assert.equal(error.code, "store");
    assert.deepEqual(error.parts, { what: "Cannot read it", why: "no disk", remedy: "Try again" });
    assert.equal(error.cause, cause);
  }
});
