/** What the tests of browsers' stores call in a page. */
import { CoupletError } from "../../src/base/errors.ts";
import type { SnapshotStore } from "../../src/snapshots/store.ts";
import { openIndexedDbStore } from "../../src/snapshots/stores/indexed_db.ts";
import { openOpfsStore } from "../../src/snapshots/stores/opfs.ts";
import { STORE_CRITERIA } from "./store_conformance.ts";
import { describeEntry, entriesOf } from "./written_entries.ts";

/** The stores of browsers. */
export type BrowserStore = "opfs" | "indexed_db";

/** The page's global `storePage`. */
export interface StorePage {
  /** Tries all criteria. Returns what does not hold. */
  meet(kind: BrowserStore): Promise<string[]>;
  /** Writes an entry again and again, as long as the page is there. Resolves when it did so twice. */
  write(kind: BrowserStore, writer: number): Promise<void>;
  /** Reads the entry, some times. Returns what it was. */
  read(kind: BrowserStore, times: number): Promise<string[]>;
  /** Writes another entry of some bytes. Returns "written", or the error's code and message. */
  put(kind: BrowserStore, bytes: number): Promise<string>;
}

const OPEN: Readonly<Record<BrowserStore, (name: string) => Promise<SnapshotStore>>> = {
  opfs: openOpfsStore,
  indexed_db: openIndexedDbStore,
};

const page: StorePage = {
  async meet(kind) {
    const failed: string[] = [];
    for (const { name, run } of STORE_CRITERIA) {
      const store = await OPEN[kind](`criterion-${crypto.randomUUID()}`);
      await run(store).catch((error) => failed.push(`${name}: ${error}`));
    }
    return failed;
  },
  async write(kind, writer) {
    const store = await OPEN[kind]("kept");
    const entries = entriesOf(writer);
    for (const entry of entries) await store.put("entry", entry);
    (async () => {
      for (let index = 0;; index++) await store.put("entry", entries[index % 2]!);
    })();
  },
  async read(kind, times) {
    const store = await OPEN[kind]("kept");
    const found: string[] = [];
    for (let i = 0; i < times; i++) found.push(describeEntry(await store.get("entry")));
    return found;
  },
  async put(kind, bytes) {
    const store = await OPEN[kind]("kept");
    // At random, because browsers compress.
    const entry = new Uint8Array(bytes);
    for (let start = 0; start < bytes; start += 65536) {
      crypto.getRandomValues(entry.subarray(start, start + 65536));
    }
    try {
      await store.put("other", entry);
      return "written";
    } catch (error) {
      return error instanceof CoupletError ? `${error.code}: ${error.message}` : `${error}`;
    }
  },
};
Object.assign(globalThis, { storePage: page });
