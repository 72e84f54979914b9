/**
 * A store of snapshots in Deno KV: an SQLite file on this machine, or a database that many machines
 * share.
 *
 * ```ts
 * import { openDenoKvStore } from "@couplet/kv/stores/deno_kv";
 *
 * const store = await openDenoKvStore(":memory:"); // or a path, "./snapshots.sqlite"
 * // ...
 * store.close();
 * ```
 *
 * Deno KV is unstable: run Deno with `--unstable-kv`, or put `"unstable": ["kv"]` into deno.json.
 *
 * @module
 */
import { CoupletError } from "../../base/errors.ts";
import {
  checkStoreEntry,
  checkStoreKey,
  isStoreKey,
  type SnapshotStore,
  storeError,
} from "../store.ts";

export type { SnapshotStore };

/** A key of Deno KV, with the types that the store uses. */
export type KvKey = (string | number)[];

/** A value and its version. Both are `null` where the key has no value. */
export interface KvEntry {
  /** The value. */
  readonly value: unknown;
  /** Changes with every write. */
  readonly versionstamp: string | null;
}

/** The methods of a transaction that the store uses. */
export interface KvAtomic {
  /** Commits only where the key still has this version. */
  check(entry: { readonly key: KvKey; readonly versionstamp: string | null }): KvAtomic;
  /** Writes. */
  set(key: KvKey, value: unknown): KvAtomic;
  /** Deletes. */
  delete(key: KvKey): KvAtomic;
  /** Carries out everything or nothing. */
  commit(): Promise<{ readonly ok: boolean }>;
}

/** The methods of `Deno.Kv` that the store uses. */
export interface KvDatabase {
  /** One value. */
  get(key: KvKey): Promise<KvEntry>;
  /** Several values, at most 10. */
  getMany(keys: KvKey[]): Promise<KvEntry[]>;
  /** All values whose keys begin with a prefix, in order. */
  list(selector: { readonly prefix: KvKey }): AsyncIterable<{ readonly key: readonly unknown[] }>;
  /** A transaction. */
  atomic(): KvAtomic;
  /** Closes the database. */
  close(): void;
}

/** A store that holds a database open. */
export interface DenoKvStore extends SnapshotStore {
  /** Closes the database. */
  close(): void;
}

/** The manifest of an entry. Its chunks are stored separately, under its id. */
interface Manifest {
  readonly id: string;
  readonly bytes: number;
  readonly chunks: number;
}

/** Bytes of one value: Deno KV allows 65536, without the key. */
const CHUNK_BYTES = 63 * 1024;

/** Chunks of one transaction: Deno KV allows 800 KiB, and ten keys per reading. */
const BATCH = 10;

/** The ids of this store: the time when writing began, and a UUID. */
const ID = /^([0-9]{1,16})-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Age in milliseconds at which chunks without a manifest count as left behind by a crash. */
const ABANDONED = 60 * 60 * 1000;

/** Most attempts where another process keeps writing the same entry, or the database. */
const ATTEMPTS = 20;

/** Longest wait in milliseconds between two attempts. */
const LONGEST_WAIT = 200;

const REMEDY = "Check that the database can be reached and has room, and try again";

/**
 * Opens a store in a database of its own.
 *
 * @param path A file, `:memory:`, or the URL of a remote database. Defaults to Deno's default
 * database.
 * @throws {CoupletError} `store` where this is not Deno with Deno KV, or the database does not
 * open.
 */
export async function openDenoKvStore(path?: string): Promise<DenoKvStore> {
  const { Deno } = globalThis as unknown as {
    Deno?: { openKv?(path?: string): Promise<KvDatabase> };
  };
  const what = "Cannot open the store";
  if (Deno?.openKv === undefined) {
    throw new CoupletError("store", {
      what,
      why: "Deno KV is not available",
      remedy:
        'Run Deno with --unstable-kv or "unstable": ["kv"] in deno.json; outside of Deno, use another store',
    });
  }
  try {
    return denoKvStore(await Deno.openKv(path));
  } catch (cause) {
    throw storeError(what, cause, REMEDY);
  }
}

/**
 * A store in a database that is already open.
 *
 * An entry is divided into chunks. Its manifest, written last and atomically, says which chunks
 * belong to it, so readers see whole entries, and a crash leaves the one before.
 *
 * @param kv The database, a `Deno.Kv`.
 * @param prefix The prefix of all of the store's keys.
 */
export function denoKvStore(kv: KvDatabase, prefix = "couplet-snapshots"): DenoKvStore {
  const manifestKey = (key: string): KvKey => [prefix, "manifest", key];
  const chunkKey = (key: string, id: string, index: number): KvKey => [
    prefix,
    "chunk",
    key,
    id,
    index,
  ];

  /** Removes values, as many at a time as Deno KV allows. */
  async function remove(keys: AsyncIterable<KvKey>): Promise<void> {
    let batch: KvKey[] = [];
    const removeBatch = async () => {
      const change = batch.reduce((change, key) => change.delete(key), kv.atomic());
      batch = [];
      await commit(() => change.commit());
    };
    for await (const key of keys) {
      batch.push(key);
      if (batch.length === BATCH) await removeBatch();
    }
    if (batch.length > 0) await removeBatch();
  }

  /**
   * The existing chunks of an entry, or those of one id, and their ids. The manifest is not read.
   */
  async function* chunksOf(...of: [key: string, id?: string]): AsyncIterable<[KvKey, string]> {
    const under: KvKey = [prefix, "chunk", ...of.filter((part) => part !== undefined)];
    for await (const { key: found } of kv.list({ prefix: under })) {
      const [, , , id, index, ...more] = found;
      if (typeof id === "string" && typeof index === "number" && more.length === 0) {
        yield [chunkKey(of[0], id, index), id];
      }
    }
  }

  /** Removes the chunks of one id. */
  async function removeChunks(key: string, id: string): Promise<void> {
    await remove((async function* () {
      for await (const [found] of chunksOf(key, id)) yield found;
    })());
  }

  /** Removes chunks that were left behind by a crash before their manifest was written. */
  async function removeAbandoned(key: string, current: string): Promise<void> {
    await remove((async function* () {
      for await (const [found, id] of chunksOf(key)) {
        const age = Date.now() - Number(ID.exec(id)?.[1]);
        if (id !== current && age > ABANDONED) yield found;
      }
    })());
  }

  /** The bytes of an entry, or undefined where a chunk does not match the manifest. */
  async function readChunks(
    key: string,
    { id, bytes, chunks }: Manifest,
  ): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const bytesOf = (index: number) => Math.min(CHUNK_BYTES, bytes - index * CHUNK_BYTES);
    const isWhole = (value: unknown, index: number): value is Uint8Array =>
      value instanceof Uint8Array && value.length === bytesOf(index);
    // The last one first: a damaged manifest may announce far more than there is.
    const last = await kv.get(chunkKey(key, id, chunks - 1));
    if (!isWhole(last.value, chunks - 1)) return undefined;
    const all = new Uint8Array(bytes);
    for (let first = 0; first < chunks; first += BATCH) {
      const indices = Array.from({ length: Math.min(BATCH, chunks - first) }, (_, i) => first + i);
      const entries = await kv.getMany(indices.map((index) => chunkKey(key, id, index)));
      for (const [i, { value }] of entries.entries()) {
        if (!isWhole(value, first + i)) return undefined;
        all.set(value, (first + i) * CHUNK_BYTES);
      }
    }
    return all;
  }

  return {
    async get(key) {
      checkStoreKey(key);
      const what = `Cannot read the entry ${key}`;
      let before: string | null = null;
      try {
        for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
          const { value, versionstamp } = await kv.get(manifestKey(key));
          if (value === null) return undefined;
          if (!isManifest(value)) throw incomplete(what, "its manifest is none");
          const bytes = await readChunks(key, value);
          if (bytes !== undefined) return bytes;
          // Another process may have replaced it between the readings of manifest and chunks. Else
          // it is damaged.
          if (versionstamp === before) break;
          before = versionstamp;
        }
      } catch (cause) {
        if (cause instanceof CoupletError) throw cause;
        throw storeError(what, cause, REMEDY);
      }
      throw incomplete(what, "chunks of it are missing");
    },

    async put(key, bytes) {
      checkStoreEntry(key, bytes);
      const content = new Uint8Array(bytes);
      const manifest: Manifest = {
        id: `${Date.now()}-${crypto.randomUUID()}`,
        bytes: content.length,
        chunks: Math.ceil(content.length / CHUNK_BYTES),
      };
      let committed = false;
      try {
        for (let first = 0; first < manifest.chunks; first += BATCH) {
          const batch = kv.atomic();
          for (let index = first; index < Math.min(first + BATCH, manifest.chunks); index++) {
            const chunk = content.slice(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES);
            batch.set(chunkKey(key, manifest.id, index), chunk);
          }
          await commit(() => batch.commit());
        }
        for (let attempt = 0; attempt < ATTEMPTS && !committed; attempt++) {
          const { value, versionstamp } = await kv.get(manifestKey(key));
          const change = kv.atomic().check({ key: manifestKey(key), versionstamp })
            .set(manifestKey(key), manifest);
          const { ok } = await commit(() => change.commit());
          committed = ok;
          if (ok && isManifest(value)) await removeChunks(key, value.id);
        }
        if (!committed) throw new Error("other processes keep writing it");
        await removeAbandoned(key, manifest.id);
      } catch (cause) {
        if (!committed) await removeChunks(key, manifest.id).catch(() => {});
        throw storeError(`Cannot write the entry ${key}`, cause, REMEDY);
      }
    },

    async delete(key) {
      checkStoreKey(key);
      try {
        for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
          const { value, versionstamp } = await kv.get(manifestKey(key));
          if (value === null) return false;
          const change = kv.atomic().check({ key: manifestKey(key), versionstamp })
            .delete(manifestKey(key));
          const { ok } = await commit(() => change.commit());
          if (!ok) continue;
          if (isManifest(value)) await removeChunks(key, value.id);
          await removeAbandoned(key, "");
          return true;
        }
        throw new Error("other processes keep writing it");
      } catch (cause) {
        throw storeError(`Cannot delete the entry ${key}`, cause, REMEDY);
      }
    },

    async list() {
      try {
        const keys: string[] = [];
        for await (const { key } of kv.list({ prefix: [prefix, "manifest"] })) {
          const found = key[2];
          if (key.length === 3 && typeof found === "string" && isStoreKey(found)) keys.push(found);
        }
        return keys.sort();
      } catch (cause) {
        throw storeError("Cannot list the entries", cause, REMEDY);
      }
    },

    close() {
      kv.close();
    },
  };
}

/**
 * Commits, and retries while another process holds the SQLite file: Deno KV does not wait for it.
 */
async function commit<T>(attempt: () => Promise<T>): Promise<T> {
  for (let failures = 1;; failures++) {
    try {
      return await attempt();
    } catch (error) {
      const locked = error instanceof Error && /database is (locked|busy)/.test(error.message);
      if (!locked || failures === ATTEMPTS) throw error;
      const wait = Math.random() * Math.min(LONGEST_WAIT, 5 * 2 ** failures);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

function isManifest(value: unknown): value is Manifest {
  const { id, bytes, chunks } = (value ?? {}) as Partial<Manifest>;
  const isCount = (n: unknown) => Number.isSafeInteger(n) && (n as number) > 0;
  return typeof id === "string" && isCount(bytes) && isCount(chunks) &&
    chunks === Math.ceil(bytes! / CHUNK_BYTES);
}

function incomplete(what: string, why: string): CoupletError {
  return new CoupletError("store", {
    what,
    why,
    remedy: "Store it again",
  });
}
