/**
 * A store of snapshots in a directory, for Deno, Node and Bun: one file per entry.
 *
 * ```ts
 * import { directoryStore } from "@couplet/kv/stores/directory";
 *
 * const store = directoryStore("./snapshots");
 * ```
 *
 * In Deno it takes read and write permission for the directory.
 *
 * @module
 */
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  checkStoreEntry,
  checkStoreKey,
  isStoreKey,
  type SnapshotStore,
  storeError,
} from "../snapshot_store.ts";

export type { SnapshotStore };

/** What entries' files end in. */
const SUFFIX = ".safetensors";

/** What files that are being written end in, which no entry's does. */
const UNFINISHED = ".unfinished";

/** Age in milliseconds at which an unfinished file counts as left behind by a crash. */
const ABANDONED = 60 * 60 * 1000;

/**
 * A store in a directory, which is created when the first entry is written.
 *
 * Entries are written to a file of another name, flushed, and renamed: several processes may share the directory,
 * and a crash leaves the entry before.
 */
export function directoryStore(directory: string | URL): SnapshotStore {
  const folder = directory instanceof URL ? fileURLToPath(directory) : directory;
  const file = (key: string) => join(folder, `${key}${SUFFIX}`);
  const remedy = `Check the permissions of "${folder}", and that its disk has room`;

  return {
    async get(key) {
      checkStoreKey(key);
      try {
        return new Uint8Array(await readFile(file(key)));
      } catch (cause) {
        if (isAbsent(cause)) return undefined;
        throw storeError(`Cannot read the entry ${key}`, cause, remedy);
      }
    },

    async put(key, bytes) {
      checkStoreEntry(key, bytes);
      // Its own copy: the caller's may change while this waits.
      const content = new Uint8Array(bytes);
      const unfinished = join(folder, `${key}.${crypto.randomUUID()}${UNFINISHED}`);
      try {
        await mkdir(folder, { recursive: true });
        await removeAbandoned(folder);
        const handle = await open(unfinished, "wx");
        try {
          await handle.writeFile(content);
          // Else a crash of the system could leave a renamed file without its content.
          await handle.sync();
        } finally {
          await handle.close();
        }
        await rename(unfinished, file(key));
      } catch (cause) {
        await rm(unfinished, { force: true }).catch(() => {});
        throw storeError(`Cannot write the entry ${key}`, cause, remedy);
      }
    },

    async delete(key) {
      checkStoreKey(key);
      try {
        await rm(file(key));
        return true;
      } catch (cause) {
        if (isAbsent(cause)) return false;
        throw storeError(`Cannot delete the entry ${key}`, cause, remedy);
      }
    },

    async list() {
      try {
        return (await readdir(folder)).filter((name) => name.endsWith(SUFFIX))
          .map((name) => name.slice(0, -SUFFIX.length)).filter(isStoreKey).sort();
      } catch (cause) {
        if (isAbsent(cause)) return [];
        throw storeError("Cannot list the entries", cause, remedy);
      }
    },
  };
}

async function removeAbandoned(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(UNFINISHED));
  for (const name of names) {
    const path = join(folder, name);
    // Gone meanwhile: another process finished or removed it.
    const info = await stat(path).catch(() => undefined);
    if (info !== undefined && Date.now() - info.mtimeMs > ABANDONED) {
      await rm(path, { force: true });
    }
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
