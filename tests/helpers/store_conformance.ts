/** What every store of snapshots must do. Runs in Deno, Node and browsers: it imports nothing of any of them. */
import { CoupletError, type CoupletErrorCode } from "../../src/base/errors.ts";
import type { SnapshotStore } from "../../src/snapshots/store.ts";

/** One thing a store must do; `store` is empty when it begins. */
export interface StoreCriterion {
  /** What it must do. */
  readonly name: string;
  /** Throws where it does not. */
  run(store: SnapshotStore): Promise<void>;
}

/** Bytes that tell where they are from. */
export function patterned(length: number, seed: number): Uint8Array<ArrayBuffer> {
  // Uint8Array.from() would take seconds for the large ones.
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = i * 31 + (i >> 8) * 17 + seed;
  return bytes;
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Throws where bytes are not the wanted ones. */
export function checkBytes(
  found: Uint8Array | undefined,
  wanted: Uint8Array,
  what = "an entry",
): void {
  check(
    found?.length === wanted.length && found.every((byte, i) => byte === wanted[i]),
    `${what}: ${found?.length} bytes, ${wanted.length} wanted`,
  );
}

async function checkRefused(promise: Promise<unknown>, code: CoupletErrorCode): Promise<void> {
  const error = await promise.then(() => undefined, (error) => error);
  check(error instanceof CoupletError && error.code === code, `${error}, not ${code}`);
}

/** Sizes around those at which back ends cut entries, and one that all of them cut. */
const SIZES: readonly number[] = [1, 64511, 64512, 64513, 65536, 1_048_576, 1_048_577, 2_200_000];

/** What every store must do. */
export const STORE_CRITERIA: readonly StoreCriterion[] = [
  {
    name: "gives nothing where there is nothing",
    async run(store) {
      check(await store.get("absent") === undefined, "an entry");
      check(await store.delete("absent") === false, "a deletion");
      check((await store.list()).length === 0, "a key");
    },
  },
  {
    name: "gives back what was put, at any size",
    async run(store) {
      for (const size of SIZES) {
        await store.put(`size-${size}`, patterned(size, size));
        checkBytes(await store.get(`size-${size}`), patterned(size, size), `${size}`);
      }
    },
  },
  {
    name: "replaces an entry, by a longer or a shorter one",
    async run(store) {
      for (const size of [200_000, 3, 90_000]) {
        await store.put("entry", patterned(size, size));
        checkBytes(await store.get("entry"), patterned(size, size), `${size}`);
      }
      check((await store.list()).length === 1, "more than one key");
    },
  },
  {
    name: "deletes an entry, and takes it anew",
    async run(store) {
      await store.put("entry", patterned(100_000, 1));
      await store.put("other", patterned(10, 2));
      check(await store.delete("entry"), "no deletion");
      check(await store.get("entry") === undefined, "an entry that was deleted");
      check(!await store.delete("entry"), "a deletion of what was deleted");
      checkBytes(await store.get("other"), patterned(10, 2), "the other entry");
      await store.put("entry", patterned(5, 3));
      checkBytes(await store.get("entry"), patterned(5, 3), "the new entry");
    },
  },
  {
    name: "lists keys in order",
    async run(store) {
      const keys = ["b", "a.1", "a", "a-b", "0", "z".repeat(128), "a_b", "a.safetensors"];
      for (const key of keys) await store.put(key, patterned(1, 1));
      check(`${await store.list()}` === `${keys.sort()}`, `${await store.list()}`);
    },
  },
  {
    name: "says which keys have an entry, where it can be asked, and refuses to look for others",
    async run({ has, ...store }) {
      if (has === undefined) return;
      check(`${await has([])}` === "", "an answer without a question");
      for (const key of ["a", "b", "c"]) await store.put(key, patterned(10, 1));
      await store.delete("b");
      const found = await has(["c", "b", "a", "z", "c"]);
      check(`${found}` === "true,false,true,false,true", `${found}`);
      // More than are asked about at a time.
      const many = await has([...new Array<string>(20).fill("b"), "a"]);
      check(`${many}` === `${[...new Array<boolean>(20).fill(false), true]}`, `${many}`);
      await checkRefused(has(["a", "A"]), "usage");
    },
  },
  {
    name: "refuses keys that are no file's name everywhere, and entries without bytes",
    async run(store) {
      for (const key of ["", ".", "..", ".a", "A", "a/b", "a\\b", "a b", "é", "a".repeat(129)]) {
        await checkRefused(store.get(key), "usage");
        await checkRefused(store.put(key, patterned(1, 1)), "usage");
        await checkRefused(store.delete(key), "usage");
      }
      await checkRefused(store.put("a", new Uint8Array(0)), "usage");
      check((await store.list()).length === 0, "a key");
    },
  },
  {
    name: "keeps its own bytes: the caller's may change",
    async run(store) {
      const bytes = patterned(70_000, 1);
      await store.put("entry", bytes);
      bytes.fill(0);
      const found = await store.get("entry");
      checkBytes(found, patterned(70_000, 1), "after the caller's changed");
      found!.fill(0);
      checkBytes(await store.get("entry"), patterned(70_000, 1), "after the given ones changed");
    },
  },
  {
    name: "takes what the bytes are when it is called, not when it gets to write them",
    async run(store) {
      // So that the second waits for the first.
      const written = store.put("entry", patterned(200_000, 1));
      const bytes = patterned(70_000, 2);
      const replaced = store.put("entry", bytes);
      bytes.fill(0);
      await Promise.all([written, replaced]);
      const found = await store.get("entry");
      const wanted = [patterned(200_000, 1), patterned(70_000, 2)];
      checkBytes(found, wanted.find(({ length }) => length === found?.length)!, "one of the two");
      const single = patterned(100, 3);
      const done = store.put("single", single);
      single.fill(0);
      await done;
      checkBytes(await store.get("single"), patterned(100, 3), "the entry");
    },
  },
  {
    name: "stores a part of a buffer as that part",
    async run(store) {
      await store.put("part", patterned(300, 1).subarray(100, 200));
      checkBytes(await store.get("part"), patterned(300, 1).slice(100, 200), "the part");
    },
  },
  {
    name: "keeps one of several entries that are put at once, whole",
    async run(store) {
      const entries = [1, 2, 3, 4].map((seed) => patterned(130_000 + seed, seed));
      await Promise.all(entries.map((bytes) => store.put("entry", bytes)));
      const found = await store.get("entry");
      const wanted = entries.find(({ length }) => length === found?.length);
      checkBytes(found, wanted ?? new Uint8Array(0), "one of them");
      check((await store.list()).length === 1, "more than one key");
    },
  },
  {
    name: "gives the entry before or the one after while it is replaced",
    async run(store) {
      const entries = [patterned(150_000, 1), patterned(140_000, 2)];
      await store.put("entry", entries[0]!);
      let writing = true;
      const writes = (async () => {
        for (let i = 1; i < 8; i++) await store.put("entry", entries[i % 2]!);
        writing = false;
      })();
      while (writing) {
        const found = await store.get("entry");
        const wanted = entries.find(({ length }) => length === found?.length);
        checkBytes(found, wanted ?? new Uint8Array(0), "while it is replaced");
      }
      await writes;
    },
  },
];
