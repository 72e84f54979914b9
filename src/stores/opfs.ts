/**
 * A store of snapshots in the browser's origin private file system: one file per entry, kept across
 * visits, seen by no other site.
 *
 * ```ts no-eval
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
import { CoupletError } from "../errors.ts";
import {
  checkStoreEntry,
  checkStoreKey,
  isStoreKey,
  type SnapshotStore,
  storeError,
} from "../snapshot_store.ts";

export type { SnapshotStore };

/** As much of a `FileSystemFileHandle` as the store uses. */
export interface OpfsFile {
  /** Kind of handle. */
  readonly kind: "file";
  /** Its content as it is now. */
  getFile(): Promise<{ readonly size: number; arrayBuffer(): Promise<ArrayBuffer> }>;
  /** A stream that replaces the content, all at once, when it is closed. */
  createWritable?(): Promise<{
    write(data: Uint8Array<ArrayBuffer>): Promise<void>;
    close(): Promise<void>;
    abort(): Promise<void>;
  }>;
}

/** As much of a `FileSystemDirectoryHandle` as the store uses. */
export interface OpfsDirectory {
  /** Kind of handle. */
  readonly kind: "directory";
  /** A file in it. */
  getFileHandle(name: string, options?: { readonly create?: boolean }): Promise<OpfsFile>;
  /** A directory in it. */
  getDirectoryHandle(name: string, options?: { readonly create?: boolean }): Promise<OpfsDirectory>;
  /** Removes a file. */
  removeEntry(name: string): Promise<void>;
  /** Names of what is in it. */
  keys(): AsyncIterable<string>;
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
    navigator?: { storage?: { getDirectory?(): Promise<OpfsDirectory> } };
  };
  const what = "Cannot open the store";
  if (navigator?.storage?.getDirectory === undefined) {
    throw new CoupletError("store", {
      what,
      why: "there is no origin private file system here",
      remedy: "Serve the page over HTTPS or from localhost; outside of browsers, use another store",
    });
  }
  try {
    const root = await navigator.storage.getDirectory();
    return opfsStore(await root.getDirectoryHandle(name, { create: true }));
  } catch (cause) {
    throw storeError(what, cause, REMEDY);
  }
}

/** A store in a directory that is already open. */
export function opfsStore(directory: OpfsDirectory): SnapshotStore {
  /** An entry's content. A file is empty, and no entry yet, until its first content is in place. */
  async function find(key: string): Promise<Awaited<ReturnType<OpfsFile["getFile"]>> | undefined> {
    try {
      const file = await (await directory.getFileHandle(`${key}${SUFFIX}`)).getFile();
      return file.size > 0 ? file : undefined;
    } catch (cause) {
      if (isAbsent(cause)) return undefined;
      throw cause;
    }
  }

  return {
    async get(key) {
      checkStoreKey(key);
      try {
        const file = await find(key);
        return file === undefined ? undefined : new Uint8Array(await file.arrayBuffer());
      } catch (cause) {
        if (isAbsent(cause)) return undefined;
        throw storeError(`Cannot read the entry ${key}`, cause, REMEDY);
      }
    },

    async put(key, bytes) {
      checkStoreEntry(key, bytes);
      try {
        const handle = await directory.getFileHandle(`${key}${SUFFIX}`, { create: true });
        if (handle.createWritable === undefined) {
          throw new TypeError("the browser has no FileSystemFileHandle.createWritable");
        }
        const writable = await handle.createWritable();
        try {
          // Its own copy: the stream refuses shared memory.
          await writable.write(new Uint8Array(bytes));
          await writable.close();
        } catch (cause) {
          await writable.abort().catch(() => {});
          throw cause;
        }
      } catch (cause) {
        if (await find(key).catch(() => null) === undefined) {
          await directory.removeEntry(`${key}${SUFFIX}`).catch(() => {});
        }
        throw storeError(`Cannot write the entry ${key}`, cause, REMEDY);
      }
    },

    async delete(key) {
      checkStoreKey(key);
      try {
        const existed = await find(key) !== undefined;
        await directory.removeEntry(`${key}${SUFFIX}`);
        return existed;
      } catch (cause) {
        if (isAbsent(cause)) return false;
        throw storeError(`Cannot delete the entry ${key}`, cause, REMEDY);
      }
    },

    async list() {
      try {
        const keys: string[] = [];
        for await (const name of directory.keys()) {
          const key = name.endsWith(SUFFIX) ? name.slice(0, -SUFFIX.length) : "";
          if (isStoreKey(key) && await find(key) !== undefined) keys.push(key);
        }
        return keys.sort();
      } catch (cause) {
        throw storeError("Cannot list the entries", cause, REMEDY);
      }
    },
  };
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && error.name === "NotFoundError";
}
