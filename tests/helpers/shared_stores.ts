/** Stores that several processes of one machine open at a place. */
import type { SnapshotStore } from "../../src/snapshots/store.ts";
import { openDenoKvStore } from "../../src/snapshots/stores/deno_kv.ts";
import { directoryStore } from "../../src/snapshots/stores/directory.ts";
import { httpStore } from "../../src/snapshots/stores/http.ts";
import { connectValkey } from "./valkey_server.ts";

/** Their names. */
export type SharedStore = "directory" | "deno_kv" | "http" | "valkey";

/** Opens one, and says how it is closed. */
export async function openShared(
  kind: SharedStore,
  place: string,
): Promise<{ readonly store: SnapshotStore; close(): void }> {
  if (kind === "directory") return { store: directoryStore(place), close() {} };
  if (kind === "http") return { store: httpStore(place), close() {} };
  if (kind === "deno_kv") {
    const store = await openDenoKvStore(place);
    return { store, close: () => store.close() };
  }
  const connection = await connectValkey(place);
  return { store: connection.store(), close: () => connection[Symbol.dispose]() };
}
