/** The store in IndexedDB, on an implementation in memory. tests/snapshots/stores_browser_test.ts runs it in a browser. */
import assert from "node:assert/strict";
import { IDBFactory, IDBKeyRange } from "fake-indexeddb";
import { CoupletError } from "../../mod.ts";
import { openIndexedDbStore } from "../../src/snapshots/stores/indexed_db.ts";
import { checkBytes, patterned, STORE_CRITERIA } from "../helpers/store_conformance.ts";

/** What the tests use of a database's chunks. */
interface Chunks {
  put(value: unknown, key: unknown): void;
  get(key: unknown): { readonly result: Uint8Array };
  delete(key: unknown): void;
}

/** What they use of a database. */
interface Database {
  readonly objectStoreNames: Iterable<string>;
  createObjectStore(name: string): void;
  transaction(name: string, mode: string): {
    oncomplete: () => void;
    objectStore(name: string): Chunks;
  };
  close(): void;
}

/** What they use of a request to open or delete one. */
interface Request {
  readonly result: Database;
  readonly error: unknown;
  onsuccess: () => void;
  onerror: () => void;
  onupgradeneeded: () => void;
  onblocked: () => void;
}

/** What they use of IndexedDB. */
interface Factory {
  open(name: string, version?: number): Request;
  deleteDatabase(name: string): Request;
}

/** Runs a test with an empty IndexedDB, which is gone after it. */
function testIndexedDb(name: string, test: (indexedDB: Factory) => Promise<void>): void {
  Deno.test(name, async () => {
    const indexedDB = new IDBFactory() as unknown as Factory;
    Object.assign(globalThis, { indexedDB, IDBKeyRange });
    try {
      await test(indexedDB);
    } finally {
      Object.assign(globalThis, { indexedDB: undefined, IDBKeyRange: undefined });
    }
  });
}

function says(message: RegExp): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof CoupletError && error.code === "store", `${error}`);
    assert.match(error.message, message);
    return true;
  };
}

/** Does something in another's connection to the store's database. */
async function inDatabase(indexedDB: Factory, change: (chunks: Chunks) => void): Promise<void> {
  const database = await opened(indexedDB.open("couplet-snapshots"));
  const transaction = database.transaction("chunks", "readwrite");
  change(transaction.objectStore("chunks"));
  await new Promise<void>((resolve) => transaction.oncomplete = resolve);
  database.close();
}

function opened(request: Request): Promise<Database> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

for (const { name, run } of STORE_CRITERIA) {
  testIndexedDb(`openIndexedDbStore ${name}`, async () => {
    const store = await openIndexedDbStore();
    await run(store);
    store.close();
  });
}

testIndexedDb(
  "openIndexedDbStore keeps large entries in chunks, and entries of other names apart",
  async () => {
    const MIB = 2 ** 20;
    const store = await openIndexedDbStore();
    for (const size of [8 * MIB, 8 * MIB + 1, 3]) {
      await store.put("a", patterned(size, size));
      await store.put("a.b", patterned(5, 1));
      checkBytes(await store.get("a"), patterned(size, size));
      assert.deepEqual(await store.list(), ["a", "a.b"]);
    }
    assert.ok(await store.delete("a"));
    checkBytes(await store.get("a.b"), patterned(5, 1));
    const other = await openIndexedDbStore("another");
    assert.deepEqual(await other.list(), []);
    other.close();
    store.close();
  },
);

testIndexedDb(
  "openIndexedDbStore asks that what is written be on the disk before it is complete",
  async (indexedDB) => {
    const store = await openIndexedDbStore();
    const database = await opened(indexedDB.open("couplet-snapshots"));
    const prototype = Object.getPrototypeOf(database);
    const { transaction } = prototype;
    const asked: unknown[] = [];
    prototype.transaction = function (...given: unknown[]) {
      asked.push(given[2]);
      return transaction.apply(this, given);
    };
    try {
      await store.put("a", patterned(3, 1));
      assert.deepEqual(asked, [{ durability: "strict" }]);
    } finally {
      prototype.transaction = transaction;
      database.close();
      store.close();
    }
  },
);

testIndexedDb(
  "openIndexedDbStore undoes an entry of which a chunk cannot be written",
  async (indexedDB) => {
    const store = await openIndexedDbStore();
    await store.put("a", patterned(9, 1));
    let chunks: object | undefined;
    await inDatabase(indexedDB, (found) => chunks = Object.getPrototypeOf(found));
    const prototype = chunks as { put(value: unknown, key: unknown): unknown };
    const { put } = prototype;
    prototype.put = function (...given) {
      if ((given[1] as [string, number])[1] === 1) {
        throw new DOMException("There is no room", "QuotaExceededError");
      }
      return put.apply(this, given);
    };
    try {
      await assert.rejects(
        store.put("a", patterned(9 * 2 ** 20, 2)),
        says(/no room.*storage\.estimate/),
      );
    } finally {
      prototype.put = put;
    }
    checkBytes(await store.get("a"), patterned(9, 1));
    store.close();
  },
);

testIndexedDb(
  "openIndexedDbStore stores a part of a buffer without the rest of it",
  async (indexedDB) => {
    const store = await openIndexedDbStore();
    await store.put("a", patterned(300, 1).subarray(100, 200));
    let found: { readonly result: Uint8Array } | undefined;
    await inDatabase(indexedDB, (chunks) => found = chunks.get(["a", 0]));
    assert.equal(found!.result.buffer.byteLength, 100);
    store.close();
  },
);

testIndexedDb(
  "openIndexedDbStore refuses entries with missing or foreign chunks, and replaces them",
  async (indexedDB) => {
    const store = await openIndexedDbStore();
    for (const value of [undefined, "text"]) {
      await store.put("a", patterned(17 * 2 ** 20, 1));
      await inDatabase(indexedDB, (chunks) => {
        chunks.delete(["a", 1]);
        if (value !== undefined) chunks.put(value, ["a", 1]);
      });
      await assert.rejects(store.get("a"), says(/missing.*store it again/));
      await store.put("a", patterned(9, 2));
      checkBytes(await store.get("a"), patterned(9, 2));
    }
    store.close();
  },
);

testIndexedDb(
  "openIndexedDbStore lists entries alone, and is not done before the database is",
  async (indexedDB) => {
    const store = await openIndexedDbStore();
    await store.put("b", patterned(9, 1));
    await store.put("a", patterned(9, 1));
    await inDatabase(indexedDB, (chunks) => chunks.put(patterned(9, 1), ["A", 0]));
    assert.deepEqual(await store.list(), ["a", "b"]);

    // A transaction that fails after all of its requests, as one does that finds no room for its log.
    let chunks: object | undefined;
    await inDatabase(indexedDB, (found) => chunks = Object.getPrototypeOf(found));
    type Undoable = { readonly transaction: { abort(): void } };
    const prototype = chunks as { put(value: unknown, key: unknown): EventTarget };
    const { put } = prototype;
    prototype.put = function (this: Undoable, ...given) {
      const request = put.apply(this as never, given);
      request.addEventListener("success", () => this.transaction.abort());
      return request;
    } as typeof put;
    try {
      await assert.rejects(store.put("a", patterned(9, 2)), says(/open the store again/));
    } finally {
      prototype.put = put;
    }
    checkBytes(await store.get("a"), patterned(9, 1));
    store.close();
  },
);

testIndexedDb(
  "openIndexedDbStore says why a transaction ended that is over when it would undo it",
  async (indexedDB) => {
    const store = await openIndexedDbStore();
    await store.put("a", patterned(9, 1));
    let chunks: object | undefined;
    await inDatabase(indexedDB, (found) => chunks = Object.getPrototypeOf(found));
    const prototype = chunks as { get(key: unknown): unknown };
    const { get } = prototype;
    prototype.get = function (this: { readonly transaction: { abort(): void } }) {
      this.transaction.abort();
      throw new DOMException("The disk broke", "UnknownError");
    } as typeof get;
    try {
      await assert.rejects(store.get("a"), says(/The disk broke/));
    } finally {
      prototype.get = get;
    }
    store.close();
  },
);

testIndexedDb("openIndexedDbStore leaves another's database alone", async (indexedDB) => {
  const request = indexedDB.open("mine", 1);
  request.onupgradeneeded = () => request.result.createObjectStore("notes");
  (await opened(request)).close();
  await assert.rejects(openIndexedDbStore("mine"), says(/another's.*another name/));
  const database = await opened(indexedDB.open("mine"));
  assert.deepEqual([...database.objectStoreNames], ["notes"]);
  database.close();
  // It does not keep it open either.
  await new Promise<void>((resolve, reject) => {
    const deletion = indexedDB.deleteDatabase("mine");
    deletion.onsuccess = () => resolve();
    deletion.onblocked = () => reject(new Error("it is open"));
  });
  // Of a version that this library does not know.
  (await opened(indexedDB.open("newer", 7))).close();
  await assert.rejects(openIndexedDbStore("newer"), says(/version.*another name/));
});

testIndexedDb(
  "openIndexedDbStore lets its database be deleted, and says that it is closed",
  async (indexedDB) => {
    const store = await openIndexedDbStore();
    await store.put("a", patterned(9, 1));
    await opened(indexedDB.deleteDatabase("couplet-snapshots"));
    for (
      const act of [
        () => store.get("a"),
        () => store.put("a", patterned(9, 1)),
        () => store.delete("a"),
        () => store.list(),
      ]
    ) await assert.rejects(act(), says(/open the store again/), `${act}`);
    const again = await openIndexedDbStore();
    assert.equal(await again.get("a"), undefined);
    again.close();
  },
);

testIndexedDb(
  "openIndexedDbStore reports a browser that lets the site store nothing",
  async (indexedDB) => {
    indexedDB.open = () => {
      throw new DOMException("Storage is not allowed", "SecurityError");
    };
    await assert.rejects(openIndexedDbStore(), says(/not allowed.*private windows/));
  },
);

Deno.test("openIndexedDbStore reports where there is no IndexedDB", async () => {
  await assert.rejects(openIndexedDbStore(), says(/no IndexedDB here.*another store/));
});
