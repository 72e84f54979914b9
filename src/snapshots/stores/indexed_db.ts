/**
 * A store of snapshots in a browser's IndexedDB, for browsers without
 * `navigator.storage.getDirectory` or `createWritable`.
 *
 * ```ts ignore
 * import { openIndexedDbStore } from "@couplet/kv/stores/indexed_db";
 *
 * const store = await openIndexedDbStore();
 * // ...
 * store.close();
 * ```
 *
 * Ask for `navigator.storage.persist()` to keep the browser from clearing entries when the disk
 * fills up.
 *
 * @module
 */
import { CoupletError } from "../../base/errors.ts";
import { joinBytes } from "../../base/join_bytes.ts";
import {
  asStoreError,
  checkStoreEntry,
  checkStoreKey,
  isStoreKey,
  type SnapshotStore,
  storeError,
} from "../store.ts";

export type { SnapshotStore };

/** A store that holds a database open. */
export interface IndexedDbStore extends SnapshotStore {
  /** Closes the database. */
  close(): void;
}

/** The members of `IDBRequest` that the store uses. */
interface DbRequest<T> {
  readonly result: T;
  readonly error: unknown;
  addEventListener(type: "success" | "error" | "upgradeneeded", listener: () => void): void;
}

/** The members of `IDBObjectStore` that the store uses. */
interface DbObjects {
  put(value: unknown, key: DbKey): DbRequest<unknown>;
  get(key: DbKey): DbRequest<unknown>;
  getAllKeys(): DbRequest<readonly unknown[]>;
  count(range: unknown): DbRequest<number>;
  delete(range: unknown): DbRequest<unknown>;
}

/** The members of `IDBTransaction` that the store uses. */
interface DbTransaction {
  readonly error: unknown;
  objectStore(name: string): DbObjects;
  abort(): void;
  addEventListener(type: "complete" | "abort", listener: () => void): void;
}

/** The members of `IDBDatabase` that the store uses. */
interface Database {
  readonly objectStoreNames: { contains(name: string): boolean };
  createObjectStore(name: string): unknown;
  transaction(
    names: string,
    mode: "readonly" | "readwrite",
    options: { readonly durability: "strict" },
  ): DbTransaction;
  addEventListener(type: "versionchange", listener: () => void): void;
  close(): void;
}

/** What there is of IndexedDB. */
interface IndexedDb {
  readonly indexedDB?: { open(name: string, version: number): DbRequest<Database> };
  readonly IDBKeyRange: { bound(lower: readonly unknown[], upper: readonly unknown[]): unknown };
}

/** A chunk's key: the entry's, and the chunk's index. */
type DbKey = [key: string, index: number];

/** The name of the object store. */
const CHUNKS = "chunks";

/** Raised if the layout of the database changes. */
const VERSION = 1;

/**
 * Bytes of a chunk. Browsers limit what one value may have: 128 MiB in Chromium.
 */
const CHUNK_BYTES = 8 * 2 ** 20;

const OPEN_REMEDY =
  "Check that the site may store data (private windows and blocked cookies can forbid it), or give another name";
const REMEDY =
  "Check that the site has storage left (navigator.storage.estimate()), and open the store again";

/**
 * Opens a store of this site.
 *
 * An entry is written by one transaction, which the browser is asked to bring to the disk before it
 * is complete (`durability: "strict"`).
 *
 * @param name The database that holds it, and nothing else.
 * @throws {CoupletError} `store` where there is no IndexedDB, or the database does not open.
 */
export async function openIndexedDbStore(name = "couplet-snapshots"): Promise<IndexedDbStore> {
  const what = "Cannot open the store";
  const { indexedDB, IDBKeyRange } = globalThis as unknown as IndexedDb;
  if (indexedDB === undefined) {
    throw new CoupletError("store", {
      what,
      why: "there is no IndexedDB here",
      remedy: "Outside of browsers, use another store",
    });
  }
  let database: Database;
  try {
    const opening = indexedDB.open(name, VERSION);
    opening.addEventListener("upgradeneeded", () => opening.result.createObjectStore(CHUNKS));
    database = await resultOf(opening);
  } catch (cause) {
    throw storeError(what, cause, OPEN_REMEDY);
  }
  if (!database.objectStoreNames.contains(CHUNKS)) {
    database.close();
    throw new CoupletError("store", {
      what,
      why: `the database "${name}" is another's`,
      remedy: "Give another name",
    });
  }
  // Otherwise a page that deletes the database would wait for this one.
  database.addEventListener("versionchange", () => database.close());
  return indexedDbStore(database, (key) => IDBKeyRange.bound([key], [key, []]));
}

/** @param chunksOf The range of an entry's chunks. */
function indexedDbStore(database: Database, chunksOf: (key: string) => unknown): IndexedDbStore {
  /** Does something in a transaction, and waits until it is complete. */
  async function transact<T>(
    mode: "readonly" | "readwrite",
    what: string,
    task: (chunks: DbObjects) => T | Promise<T>,
  ): Promise<T> {
    try {
      const transaction = database.transaction(CHUNKS, mode, { durability: "strict" });
      const completed = completion(transaction);
      completed.catch(() => {});
      let result: T;
      try {
        result = await task(transaction.objectStore(CHUNKS));
      } catch (cause) {
        abort(transaction);
        throw cause;
      }
      await completed;
      return result;
    } catch (cause) {
      throw asStoreError(what, cause, REMEDY);
    }
  }

  return {
    async get(key) {
      checkStoreKey(key);
      const what = `Cannot read the entry ${key}`;
      return await transact("readonly", what, async (chunks) => {
        const count = await resultOf(chunks.count(chunksOf(key)));
        const parts: Uint8Array[] = [];
        for (let index = 0; index < count; index++) {
          const part = await resultOf(chunks.get([key, index]));
          if (!(part instanceof Uint8Array)) throw damaged(what);
          parts.push(part);
        }
        return count === 0 ? undefined : joinBytes(parts);
      });
    },

    async put(key, bytes) {
      checkStoreEntry(key, bytes);
      // Its own copies: the caller's may change while this waits, and a view would bring along all of
      // its buffer.
      const parts: Uint8Array<ArrayBuffer>[] = [];
      for (let start = 0; start < bytes.length; start += CHUNK_BYTES) {
        parts.push(new Uint8Array(bytes.subarray(start, start + CHUNK_BYTES)));
      }
      // A request that fails undoes the transaction, which says why.
      await transact("readwrite", `Cannot write the entry ${key}`, (chunks) => {
        chunks.delete(chunksOf(key));
        for (const [index, part] of parts.entries()) chunks.put(part, [key, index]);
      });
    },

    async delete(key) {
      checkStoreKey(key);
      return await transact("readwrite", `Cannot delete the entry ${key}`, async (chunks) => {
        const existed = await resultOf(chunks.count(chunksOf(key))) > 0;
        await resultOf(chunks.delete(chunksOf(key)));
        return existed;
      });
    },

    async list() {
      return await transact("readonly", "Cannot list the entries", async (chunks) => {
        const found = await resultOf(chunks.getAllKeys()) as DbKey[];
        return found.filter(([, index]) => index === 0).map(([key]) => key).filter(isStoreKey)
          .sort();
      });
    },

    close() {
      database.close();
    },
  };
}

function resultOf<T>(request: DbRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => resolve(request.result));
    request.addEventListener("error", () => reject(request.error));
  });
}

function completion(transaction: DbTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.addEventListener("complete", () => resolve());
    transaction.addEventListener(
      "abort",
      () => reject(transaction.error ?? new Error("the transaction was aborted")),
    );
  });
}

/** Undoes a transaction, unless a request that failed did so. */
function abort(transaction: DbTransaction): void {
  try {
    transaction.abort();
  } catch {
    // It is over.
  }
}

function damaged(what: string): CoupletError {
  return new CoupletError("store", {
    what,
    why: "chunks of it are missing",
    remedy: "Delete the entry, and store it again",
  });
}
