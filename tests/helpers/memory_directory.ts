/** The origin private file system as its standard describes it and Chromium carries it out, in memory. */
import type { OpfsDirectory, OpfsFile, OpfsLocks } from "../../src/snapshots/stores/opfs.ts";

/** A file's content. */
interface MemoryFile {
  bytes: Uint8Array<ArrayBuffer>;
}

/** Lets a directory fail as a full disk does. */
export interface MemoryDirectoryOptions {
  /** Bytes all files together may take. */
  readonly quota?: number;
}

/** An empty directory. */
export function memoryDirectory({ quota = Infinity }: MemoryDirectoryOptions = {}): OpfsDirectory {
  const files = new Map<string, MemoryFile>();
  const folders = new Set<string>();
  const absent = () => new DOMException("A requested file could not be found", "NotFoundError");

  function handle(name: string): OpfsFile {
    const find = () => {
      const file = files.get(name);
      if (file === undefined) throw absent();
      return file;
    };
    return {
      kind: "file",
      async getFile() {
        await tick();
        const { bytes } = find();
        return {
          size: bytes.length,
          async arrayBuffer() {
            await tick();
            if (files.get(name)?.bytes !== bytes) {
              throw new DOMException("The file has changed", "NotReadableError");
            }
            return bytes.slice().buffer;
          },
        };
      },
      async createWritable() {
        await tick();
        find();
        // A swap file of its own, which takes the file's place when it is closed.
        let swap = new Uint8Array(0);
        return {
          async write(data) {
            await tick();
            const others = [...files.values()].reduce((sum, { bytes }) => sum + bytes.length, 0);
            if (others + data.length > quota) {
              throw new DOMException("There is no room", "QuotaExceededError");
            }
            swap = data.slice();
          },
          async close() {
            await tick();
            files.delete(name);
            await tick();
            files.set(name, { bytes: swap });
          },
          async abort() {
            await tick();
          },
        };
      },
    };
  }

  return {
    kind: "directory",
    name: "memory",
    async getFileHandle(name, { create = false } = {}) {
      await tick();
      if (folders.has(name)) throw new DOMException("It is a directory", "TypeMismatchError");
      if (!files.has(name)) {
        if (!create) throw absent();
        files.set(name, { bytes: new Uint8Array(0) });
      }
      return handle(name);
    },
    async getDirectoryHandle(name, { create = false } = {}) {
      await tick();
      if (!create) throw absent();
      folders.add(name);
      return memoryDirectory({ quota });
    },
    async removeEntry(name) {
      await tick();
      if (!files.delete(name)) throw absent();
    },
    async *keys() {
      await tick();
      yield* [...folders, ...files.keys()];
    },
  };
}

/** Locks that one holder at a time has, whatever the mode. */
export function memoryLocks(): OpfsLocks {
  const last = new Map<string, Promise<unknown>>();
  return {
    request(name, _options, task) {
      const result = (last.get(name) ?? Promise.resolve()).then(task);
      last.set(name, result.catch(() => {}));
      return result;
    },
  };
}

/** As the real one, nothing happens at once. */
async function tick(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
}
