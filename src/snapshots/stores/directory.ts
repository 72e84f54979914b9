/**
 * A store of snapshots in a directory, for Deno, Node and Bun: one file per entry.
 *
 * ```ts
 * import { directoryStore } from "@couplet/kv/stores/directory";
 *
 * const store = directoryStore("./snapshots");
 * ```
 *
 * In Deno it needs read and write permission for the directory.
 *
 * @module
 */
import { lstat, mkdir, open, readdir, readFile, rename, rm, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { CoupletError } from "../../base/errors.ts";
import {
  asStoreError,
  checkStoreEntry,
  checkStoreKey,
  isStoreKey,
  type SnapshotStore,
  storeError,
} from "../store.ts";

export type { SnapshotStore };

/** The suffix of entries' files. */
const SUFFIX = ".safetensors";

/** Names of files that this store is writing. No entry's name ends like this. */
const UNFINISHED = /^couplet-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.unfinished$/;

/** Age in milliseconds at which an unfinished file counts as left behind by a crash. */
const ABANDONED = 10 * 60 * 1000;

/** Errors of systems that cannot flush folders. */
const NO_FLUSH: readonly unknown[] = ["EBADF", "EINVAL", "EISDIR", "ENOSYS", "ENOTSUP", "EPERM"];

/**
 * A store in a directory, which is created when the first entry is written.
 *
 * Entries are written to a file of another name, flushed, and renamed, and the directory is
 * flushed: several processes may share the directory, and a crash leaves the entry before. Every
 * file `<key>.safetensors` in the directory is an entry. Other files are not touched.
 */
export function directoryStore(directory: string | URL): SnapshotStore {
  const folder = directory instanceof URL ? fileURLToPath(directory) : directory;
  const file = (key: string) => join(folder, `${key}${SUFFIX}`);
  const remedy = `Check the permissions of "${folder}", and that its disk has room`;

  return {
    async get(key) {
      checkStoreKey(key);
      const what = `Cannot read the entry ${key}`;
      try {
        // Checked before it is opened: a pipe would wait for a writer.
        if (!(await stat(file(key))).isFile()) throw noFile(what, file(key));
        return new Uint8Array(await readFile(file(key)));
      } catch (cause) {
        if (isAbsent(cause)) return undefined;
        throw asStoreError(what, cause, remedy);
      }
    },

    async put(key, bytes) {
      checkStoreEntry(key, bytes);
      // Its own copy: the caller's may change while this waits.
      const content = new Uint8Array(bytes);
      const what = `Cannot write the entry ${key}`;
      const unfinished = join(folder, `couplet-${crypto.randomUUID()}.unfinished`);
      try {
        const made = await mkdir(folder, { recursive: true });
        const present = await lstat(file(key)).catch(absent);
        if (present !== undefined && !isEntry(present)) throw noFile(what, file(key));
        await removeAbandoned(folder, await writeFlushed(unfinished, content));
        await rename(unfinished, file(key));
        await flushNames(folder, made);
      } catch (cause) {
        await rm(unfinished, { force: true }).catch(() => {});
        throw asStoreError(what, cause, remedy);
      }
    },

    async delete(key) {
      checkStoreKey(key);
      const what = `Cannot delete the entry ${key}`;
      try {
        if (!isEntry(await lstat(file(key)))) throw noFile(what, file(key));
        await unlink(file(key));
        await flushNames(folder);
        return true;
      } catch (cause) {
        if (isAbsent(cause)) return false;
        throw asStoreError(what, cause, remedy);
      }
    },

    async list() {
      try {
        return (await readdir(folder, { withFileTypes: true }))
          .filter((entry) => entry.name.endsWith(SUFFIX) && isEntry(entry))
          .map(({ name }) => name.slice(0, -SUFFIX.length)).filter(isStoreKey).sort();
      } catch (cause) {
        if (isAbsent(cause)) return [];
        throw storeError("Cannot list the entries", cause, remedy);
      }
    },
  };
}

/**
 * Whether this is a file, or a link, which is replaced or deleted without its target.
 */
function isEntry(found: { isFile(): boolean; isSymbolicLink(): boolean }): boolean {
  return found.isFile() || found.isSymbolicLink();
}

/**
 * Writes a new file, and waits until the disk has it. Otherwise a crash of the system could leave a
 * renamed file without its content.
 *
 * @returns When it was written, by the file system's clock.
 */
async function writeFlushed(path: string, bytes: Uint8Array): Promise<number> {
  const handle = await open(path, "wx");
  try {
    await handle.writeFile(bytes);
    await handle.sync();
    return (await handle.stat()).mtimeMs;
  } finally {
    await handle.close();
  }
}

/**
 * Waits until the disk has a folder's names. Otherwise a crash of the system could lose a renaming.
 *
 * @param made The outermost folder that was created for it, if any.
 */
async function flushNames(folder: string, made?: string): Promise<void> {
  const last = resolve(made === undefined ? folder : dirname(made));
  for (let path = resolve(folder);; path = dirname(path)) {
    // Some folders cannot be opened to be flushed: those on Windows, and those that Deno has no
    // permission to read.
    const handle = await open(path, "r").catch(() => undefined);
    try {
      await handle?.sync();
    } catch (cause) {
      if (!NO_FLUSH.includes((cause as { code?: unknown }).code)) throw cause;
    } finally {
      await handle?.close();
    }
    if (path === last || path === dirname(path)) return;
  }
}

/**
 * Removes this store's files that a crash left behind. A failure does not prevent writing.
 */
async function removeAbandoned(folder: string, now: number): Promise<void> {
  const names = await readdir(folder).catch(() => []);
  for (const path of names.filter((name) => UNFINISHED.test(name)).map((n) => join(folder, n))) {
    // It is gone: another process finished or removed it.
    const info = await lstat(path).catch(() => undefined);
    if (info?.isFile() && now - info.mtimeMs > ABANDONED) await unlink(path).catch(() => {});
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}

function absent(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}

function noFile(what: string, path: string): CoupletError {
  return new CoupletError("store", {
    what,
    why: `"${path}" is a folder, a pipe or a device, and entries are files`,
    remedy: "Move it elsewhere, or give the store a directory of its own",
  });
}
