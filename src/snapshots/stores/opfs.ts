/**
 * A store of snapshots in the browser's origin private file system: one file per entry, kept across
 * visits, seen by no other site.
 *
 * ```ts ignore
 * import { openOpfsStore } from "@couplet/kv/stores/opfs";
 *
 * const store = await openOpfsStore();
 * ```
 *
 * It needs a secure context (HTTPS or localhost) and a browser with
 * `FileSystemFileHandle.createWritable`: Chrome 86, Firefox 111, Safari 26. Ask for
 * `navigator.storage.persist()` to keep the browser from clearing entries when the disk fills up.
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

/** The members of `FileSystemFileHandle` that the store uses. */
export interface OpfsFile {
  /** Kind of handle. */
  readonly kind: "file";
  /** Its current content. */
  getFile(): Promise<{ readonly size: number; arrayBuffer(): Promise<ArrayBuffer> }>;
  /** A stream that replaces the content atomically when it is closed. */
  createWritable?(): Promise<{
    write(data: Uint8Array<ArrayBuffer>): Promise<void>;
    close(): Promise<void>;
    abort(): Promise<void>;
  }>;
}

/** The members of `FileSystemDirectoryHandle` that the store uses. */
export interface OpfsDirectory {
  /** Kind of handle. */
  readonly kind: "directory";
  /** Its name. */
  readonly name: string;
  /** A file in it. */
  getFileHandle(name: string, options?: { readonly create?: boolean }): Promise<OpfsFile>;
  /** A directory in it. */
  getDirectoryHandle(name: string, options?: { readonly create?: boolean }): Promise<OpfsDirectory>;
  /** Removes a file. */
  removeEntry(name: string): Promise<void>;
  /** Names of its entries. */
  keys(): AsyncIterable<string>;
}

/** The members of `LockManager` that the store uses. */
export interface OpfsLocks {
  /**
   * Calls `task` while it holds the lock of the name, across all of the site's pages and workers.
   */
  request<T>(
    name: string,
    options: { readonly mode: "shared" | "exclusive" },
    task: () => Promise<T>,
  ): Promise<T>;
}

const SUFFIX = ".safetensors";
const REMEDY =
  "Check that the site has storage left (navigator.storage.estimate()) and is not blocked from storing data";

/**
 * Opens the store of this site.
 *
 * @param name The directory its entries lie in.
 * @throws {CoupletError} `store` where there is no origin private file system.
 */
export async function openOpfsStore(name = "couplet-snapshots"): Promise<SnapshotStore> {
  const { navigator } = globalThis as {
    navigator?: { storage?: { getDirectory?(): Promise<OpfsDirectory> }; locks?: OpfsLocks };
  };
  const what = "Cannot open the store";
  if (navigator?.storage?.getDirectory === undefined || navigator.locks === undefined) {
    throw new CoupletError("store", {
      what,
      why: "there is no origin private file system here",
      remedy: "Serve the page over HTTPS or from localhost; outside of browsers, use another store",
    });
  }
  try {
    const root = await navigator.storage.getDirectory();
    return opfsStore(await root.getDirectoryHandle(name, { create: true }), navigator.locks);
  } catch (cause) {
    throw storeError(what, cause, REMEDY);
  }
}

/**
 * A store in a directory that is already open.
 *
 * While a browser replaces a file's content, the file can be missing for a moment, and files that
 * were opened before can no longer be read. Readers and writers of an entry therefore wait for each
 * other.
 *
 * @param directory The directory.
 * @param locks The site's locks, `navigator.locks`.
 */
export function opfsStore(directory: OpfsDirectory, locks: OpfsLocks): SnapshotStore {
  async function locked<T>(
    mode: "shared" | "exclusive",
    key: string,
    what: string,
    task: (file: string) => Promise<T>,
  ): Promise<T> {
    try {
      const lock = `couplet-snapshots ${directory.name}/${key}`;
      return await locks.request(lock, { mode }, () => task(`${key}${SUFFIX}`));
    } catch (cause) {
      throw storeError(what, cause, REMEDY);
    }
  }

  /** An entry's content. A file is empty, and no entry yet, until its first content is in place. */
  async function find(name: string): Promise<Awaited<ReturnType<OpfsFile["getFile"]>> | undefined> {
    try {
      const file = await (await directory.getFileHandle(name)).getFile();
      return file.size > 0 ? file : undefined;
    } catch (cause) {
      if (cause instanceof Error && cause.name === "NotFoundError") return undefined;
      throw cause;
    }
  }

  /** Whether there is an entry. A directory of that name is not one. */
  async function isEntry(name: string): Promise<boolean> {
    try {
      return await find(name) !== undefined;
    } catch (cause) {
      if (cause instanceof Error && cause.name === "TypeMismatchError") return false;
      throw cause;
    }
  }

  return {
    async get(key) {
      checkStoreKey(key);
      return await locked("shared", key, `Cannot read the entry ${key}`, async (name) => {
        const file = await find(name);
        return file === undefined ? undefined : new Uint8Array(await file.arrayBuffer());
      });
    },

    async put(key, bytes) {
      checkStoreEntry(key, bytes);
      // Its own copy: the caller's may change while this waits, and the stream refuses shared
      // memory.
      const content = new Uint8Array(bytes);
      await locked("exclusive", key, `Cannot write the entry ${key}`, async (name) => {
        try {
          await replace(await directory.getFileHandle(name, { create: true }), content);
        } catch (cause) {
          if (await find(name) === undefined) await directory.removeEntry(name).catch(() => {});
          throw cause;
        }
      });
    },

    async delete(key) {
      checkStoreKey(key);
      return await locked("exclusive", key, `Cannot delete the entry ${key}`, async (name) => {
        const existed = await find(name) !== undefined;
        if (existed) await directory.removeEntry(name);
        return existed;
      });
    },

    async list() {
      const what = "Cannot list the entries";
      const keys: string[] = [];
      try {
        for await (const name of directory.keys()) {
          const key = name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : "";
          if (isStoreKey(key)) keys.push(key);
        }
      } catch (cause) {
        throw storeError(what, cause, REMEDY);
      }
      const found = await Promise.all(keys.map((key) => locked("shared", key, what, isEntry)));
      return keys.filter((_, i) => found[i]).sort();
    },
  };
}

/** Replaces a file's content atomically. */
async function replace(file: OpfsFile, content: Uint8Array<ArrayBuffer>): Promise<void> {
  if (file.createWritable === undefined) {
    throw new TypeError("the browser has no FileSystemFileHandle.createWritable");
  }
  const writable = await file.createWritable();
  try {
    await writable.write(content);
    await writable.close();
  } catch (cause) {
    await writable.abort().catch(() => {});
    throw cause;
  }
}
