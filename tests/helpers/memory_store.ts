/** A store in memory, with nothing to wait for. */
import { checkStoreEntry, checkStoreKey, type SnapshotStore } from "../../src/snapshots/store.ts";

/** A store that can be asked which keys it has. */
export type MemoryStore = Required<SnapshotStore>;

/** An empty store. */
export function memoryStore(): MemoryStore {
  const entries = new Map<string, Uint8Array<ArrayBuffer>>();
  return {
    // deno-lint-ignore require-await
    async get(key) {
      checkStoreKey(key);
      return entries.get(key)?.slice();
    },
    // deno-lint-ignore require-await
    async put(key, bytes) {
      checkStoreEntry(key, bytes);
      entries.set(key, new Uint8Array(bytes));
    },
    // deno-lint-ignore require-await
    async delete(key) {
      checkStoreKey(key);
      return entries.delete(key);
    },
    list: () => Promise.resolve([...entries.keys()].sort()),
    // deno-lint-ignore require-await
    async has(keys) {
      keys.forEach(checkStoreKey);
      return keys.map((key) => entries.has(key));
    },
  };
}
