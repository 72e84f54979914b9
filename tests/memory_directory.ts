/** The origin private file system as its standard describes it, in memory, as far as the store uses it. */
import type { OpfsDirectory, OpfsFile } from "../src/stores/opfs.ts";

/** A file's content, and whether it is still there. */
interface MemoryFile {
  bytes: Uint8Array<ArrayBuffer>;
  removed: boolean;
}

/** Lets a directory fail as a full disk does. */
export interface MemoryDirectoryOptions {
  /** Bytes all files together may take. */
  readonly quota?: number;
}

/** An empty directory. */
export function memoryDirectory({ quota = Infinity }: MemoryDirectoryOptions = {}): OpfsDirectory {
  const files = new Map<string, MemoryFile>();
  const absent = () => new DOMException("A requested file could not be found", "NotFoundError");

  function handle(file: MemoryFile): OpfsFile {
    return {
      kind: "file",
      async getFile() {
        await tick();
        if (file.removed) throw absent();
        const { bytes } = file;
        return {
          size: bytes.length,
          async arrayBuffer() {
            await tick();
            return bytes.slice().buffer;
          },
        };
      },
      async createWritable() {
        await tick();
        if (file.removed) throw absent();
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
            file.bytes = swap;
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
    async getFileHandle(name, { create = false } = {}) {
      await tick();
      let file = files.get(name);
      if (file === undefined) {
        if (!create) throw absent();
        files.set(name, file = { bytes: new Uint8Array(0), removed: false });
      }
      return handle(file);
    },
    async getDirectoryHandle() {
      await tick();
      throw absent();
    },
    async removeEntry(name) {
      await tick();
      const file = files.get(name);
      if (file === undefined) throw absent();
      file.removed = true;
      files.delete(name);
    },
    async *keys() {
      await tick();
      yield* [...files.keys()];
    },
  };
}

/** As the real one, nothing happens at once. */
async function tick(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve));
}
