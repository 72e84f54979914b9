import assert from "node:assert/strict";
import fc from "fast-check";
import { CoupletError, inspectSnapshot, type SnapshotStore } from "../../mod.ts";
import {
  decryptSnapshot,
  encryptedStore,
  encryptSnapshot,
} from "../../src/snapshots/stores/encrypted.ts";
import { directoryStore } from "../../src/snapshots/stores/directory.ts";
import { memoryStore } from "../helpers/memory_store.ts";
import { rejects } from "../helpers/refusals.ts";
import { patterned, STORE_CRITERIA } from "../helpers/store_conformance.ts";
import { encodeSnapshot } from "../../src/snapshots/file.ts";
import { sha256 } from "../../src/base/sha256.ts";
import { couplet } from "../helpers/cli.ts";

const USES: KeyUsage[] = ["encrypt", "decrypt"];

function aes(length: number, usages: KeyUsage[] = USES): Promise<CryptoKey> {
  return crypto.subtle.generateKey({ name: "AES-GCM", length }, false, usages);
}

const key = await aes(256);
const other = await aes(256);

for (const length of [128, 256]) {
  for (const criterion of STORE_CRITERIA) {
    Deno.test(`encryptedStore with ${length} bits ${criterion.name}`, async () => {
      await criterion.run(encryptedStore(memoryStore(), await aes(length)));
    });
  }
}

Deno.test("encryptedStore can be asked which keys it has where the other store can", async () => {
  const inner = memoryStore();
  assert.equal(encryptedStore({ ...inner, has: undefined } as never, key).has, undefined);
  const store: SnapshotStore = encryptedStore(inner, key);
  await store.put("a", patterned(3, 1));
  assert.deepEqual(await store.has!(["a", "b"]), [true, false]);
});

Deno.test("encryptSnapshot hides every byte, gives others each time, and takes all sizes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), fc.string(), async (bytes, name) => {
      const once = await encryptSnapshot(bytes, key, name);
      const again = await encryptSnapshot(bytes, key, name);
      assert.equal(once.length, bytes.length + 44);
      assert.notDeepEqual(once.slice(16, 28), again.slice(16, 28), "the nonce is used twice");
      assert.notDeepEqual(once.slice(28), again.slice(28));
      assert.deepEqual(await decryptSnapshot(once, key, name), new Uint8Array(bytes));
    }),
    { seed: 1, numRuns: 50, examples: [[patterned(1_000_000, 1), "a"]] },
  );
});

Deno.test("encryptSnapshot takes shared memory, and part of a buffer", async () => {
  const shared = new Uint8Array(new SharedArrayBuffer(100));
  shared.set(patterned(100, 1));
  const encrypted = await encryptSnapshot(shared.subarray(10, 60), key);
  const sealed = new Uint8Array(new SharedArrayBuffer(encrypted.length + 2)).subarray(1, -1);
  sealed.set(encrypted);
  assert.deepEqual(await decryptSnapshot(sealed, key), patterned(100, 1).slice(10, 60));
});

Deno.test("encryptedStore refuses every changed bit and every shorter entry, and leaves them as they are", async () => {
  const inner = memoryStore();
  const store = encryptedStore(inner, key);
  await store.put("a", patterned(8, 1));
  const whole = (await inner.get("a"))!;
  const changed = [
    ...Array.from({ length: whole.length * 8 }, (_, bit) => {
      const bytes = whole.slice();
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      return bytes;
    }),
    ...Array.from({ length: whole.length - 1 }, (_, i) => whole.slice(0, i + 1)),
    new Uint8Array([...whole, 0]),
  ];
  for (const bytes of changed) {
    await inner.put("a", bytes);
    await rejects(store.get("a"), "encryption");
    assert.deepEqual(await inner.get("a"), bytes);
  }
  await inner.put("a", whole);
  assert.deepEqual(await store.get("a"), patterned(8, 1));
});

/** What stands where an entry is read, and what the error says. */
const FOREIGN: readonly (readonly [
  what: string,
  make: (whole: Uint8Array<ArrayBuffer>) => Promise<Uint8Array> | Uint8Array,
  message: RegExp,
])[] = [
  ["one of another key", () => encryptSnapshot(patterned(50, 2), other, "a"), /another key/],
  ["one of another name", () => encryptSnapshot(patterned(50, 2), key, "b"), /another name/],
  ["one without encryption", () => patterned(500, 2), /not encrypted.*without a key/],
  ["one cut in its head", (whole) => whole.slice(0, 9), /not encrypted/],
  ["one cut in its nonce", (whole) => whole.slice(0, 20), /cut short: it has 20 bytes/],
  ["one without its end", (whole) => whole.slice(0, -1), /was changed since/],
  ["one of version 2", (whole) => whole.with(15, 2), /version 2 .*reads 1/],
];

for (const [what, make, message] of FOREIGN) {
  Deno.test(`encryptedStore refuses ${what}, says what to do, and keeps it`, async () => {
    const inner = memoryStore();
    const store = encryptedStore(inner, key);
    await store.put("a", patterned(50, 1));
    const bytes = await make((await inner.get("a"))!);
    await inner.put("a", bytes);
    await assert.rejects(
      store.get("a"),
      (error) =>
        error instanceof CoupletError && error.code === "encryption" &&
        /Cannot read the entry a/.test(error.message) && message.test(error.message),
    );
    assert.deepEqual(await inner.get("a"), new Uint8Array(bytes));
    assert.deepEqual(await store.list(), ["a"]);
    // As anywhere, what is written replaces what was there.
    await store.put("a", patterned(50, 3));
    assert.deepEqual(await store.get("a"), patterned(50, 3));
  });
}

/** Keys that are none for this. */
const KEYS: readonly (readonly [what: string, make: () => Promise<unknown>])[] = [
  ["no key", () => Promise.resolve(undefined)],
  ["bytes", () => Promise.resolve(patterned(32, 1))],
  ["AES-GCM of 192 bits", () => aes(192)],
  [
    "AES-CBC",
    () => crypto.subtle.generateKey({ name: "AES-CBC", length: 256 }, false, USES),
  ],
  [
    "HMAC",
    () => crypto.subtle.generateKey({ name: "HMAC", hash: "SHA-256" }, false, ["sign", "verify"]),
  ],
  ["one that may only decrypt", () => aes(256, ["decrypt"])],
  ["one that may only encrypt", () => aes(256, ["encrypt"])],
];

for (const [what, make] of KEYS) {
  Deno.test(`encryptedStore refuses ${what} before it touches the store`, async () => {
    const made = await make() as CryptoKey;
    assert.throws(
      () => encryptedStore(memoryStore(), made),
      (error) =>
        error instanceof CoupletError && error.code === "usage" &&
        /AES-GCM, of 128 or 256 bits/.test(error.message),
    );
  });
}

Deno.test("encryptSnapshot and decryptSnapshot need a key that may do it, and no more", async () => {
  const [writing, reading] = [await aes(128, ["encrypt"]), await aes(128, ["decrypt"])];
  await encryptSnapshot(patterned(9, 1), writing);
  await rejects(encryptSnapshot(patterned(9, 1), reading), "usage");
  await rejects(decryptSnapshot(patterned(90, 1), writing), "usage");
  await rejects(decryptSnapshot(patterned(90, 1), reading), "encryption");
  await rejects(encryptSnapshot("text" as never, writing), "usage");
});

Deno.test("an encrypted snapshot is refused as encrypted where it is read without its key, not as damaged", async () => {
  const plan = "{}";
  const bytes = await encodeSnapshot({
    info: {
      model: undefined,
      plan,
      planFingerprint: await sha256(new TextEncoder().encode(plan)),
      codebookFingerprint: "0",
      prompt: undefined,
      length: 0,
      exactFrom: 0,
      codedFrom: [0],
      spans: [],
    },
    tensors: new Map(),
  });
  assert.equal((await inspectSnapshot(bytes)).length, 0);
  const directory = await Deno.makeTempDir({ prefix: "couplet-" });
  try {
    const plain = directoryStore(directory);
    await encryptedStore(plain, key).put("a", bytes);
    await assert.rejects(
      inspectSnapshot((await plain.get("a"))!),
      (error) =>
        error instanceof CoupletError && error.code === "encryption" &&
        /it is encrypted.*encryptedStore\(\) or decryptSnapshot\(\)/.test(error.message) &&
        !/[Dd]elete/.test(error.message),
    );
    const path = `${directory}/a.safetensors`;
    const { exitCode, errors } = await couplet(["snapshot", "info", path]);
    assert.notEqual(exitCode, 0);
    assert.match(errors, /a\.safetensors: it is encrypted/);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
