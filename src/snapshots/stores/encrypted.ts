/**
 * Snapshots encrypted at rest, in any store or as bytes: AES-GCM by WebCrypto, with a key of the
 * host's.
 *
 * ```ts
 * import { encryptedStore } from "@couplet/kv/stores/encrypted";
 * import { directoryStore } from "@couplet/kv/stores/directory";
 *
 * const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, [
 *   "encrypt",
 *   "decrypt",
 * ]);
 * const store = encryptedStore(directoryStore("./snapshots"), key);
 * ```
 *
 * Entries keep their names, which hash prompts, and their sizes, which tell the number of tokens.
 *
 * @module
 */
import { checkOptions, having, isA, type Kind, kind, TEXT } from "../../base/check_options.ts";
import { BYTES } from "../../base/data_kinds.ts";
import { raise } from "../../base/raise.ts";
import { isEncrypted, MAGIC } from "../encrypted_file.ts";
import { checkStoreEntry, type SnapshotStore } from "../store.ts";

export type { SnapshotStore };

/** The version of the format, which follows the magic. */
const VERSION = 1;

/** Bytes of the magic and the version. */
const HEAD_BYTES = MAGIC.length + 1;

/** Bytes of the nonce, drawn at random for every encryption. */
const NONCE_BYTES = 12;

/** Bytes of the authentication tag, the last ones. */
const TAG_BYTES = 16;

/**
 * A store whose entries are encrypted in another store. Entries cannot be read, changed, cut short
 * or exchanged for one another without the key. An earlier version of an entry can take its place.
 *
 * @param store Holds the encrypted entries. It may hold others, which this store lists and refuses
 * to read.
 * @param key For AES-GCM, of 128 or 256 bits, to encrypt and decrypt. Change it before it has
 * written 2^32 entries: nonces are random.
 * @throws {CoupletError} `usage` for another key. The store's methods throw `encryption` for
 * entries that are not encrypted, or with another key or under another name, or that were changed.
 */
export function encryptedStore(store: SnapshotStore, key: CryptoKey): SnapshotStore {
  checkOptions("usage", "Cannot use the store", {
    store: having<SnapshotStore>("a store of snapshots", "get", "put", "delete", "list"),
    key: aesKey("encrypt", "decrypt"),
  }, { store, key });
  const { has } = store;
  return {
    async get(name) {
      const bytes = await store.get(name);
      if (bytes === undefined) return undefined;
      return await decrypt(`Cannot read the entry ${name}`, bytes, key, name);
    },
    async put(name, bytes) {
      checkStoreEntry(name, bytes);
      await store.put(name, await encryptSnapshot(bytes, key, name));
    },
    delete: (name) => store.delete(name),
    list: () => store.list(),
    ...(has === undefined ? {} : { has: (names) => has.call(store, names) }),
  };
}

/**
 * Encrypts a snapshot.
 *
 * @param key For AES-GCM, of 128 or 256 bits, to encrypt.
 * @param name Must be given again to decrypt it. {@linkcode encryptedStore} gives the entry's key.
 * @returns The bytes and 44 more; others at every call.
 * @throws {CoupletError} `usage` for another key; `encryption` where the platform cannot encrypt
 * it.
 */
export async function encryptSnapshot(
  bytes: Uint8Array,
  key: CryptoKey,
  name = "",
): Promise<Uint8Array<ArrayBuffer>> {
  const what = "Cannot encrypt the snapshot";
  checkArguments(what, { bytes, key, name }, "encrypt");
  const head = new Uint8Array(HEAD_BYTES + NONCE_BYTES);
  head.set(new TextEncoder().encode(MAGIC));
  head[MAGIC.length] = VERSION;
  crypto.getRandomValues(head.subarray(HEAD_BYTES));
  let sealed: ArrayBuffer;
  try {
    sealed = await crypto.subtle.encrypt(parameters(head, name), key, unshared(bytes));
  } catch (cause) {
    raise("encryption", what, `${cause}`, "Give fewer bytes: the platform limits them", { cause });
  }
  const all = new Uint8Array(head.length + sealed.byteLength);
  all.set(head);
  all.set(new Uint8Array(sealed), head.length);
  return all;
}

/**
 * Decrypts what {@linkcode encryptSnapshot} returned, or an entry of {@linkcode encryptedStore}.
 *
 * @param key The one it was encrypted with.
 * @param name What it was encrypted under.
 * @throws {CoupletError} `usage` where the key cannot decrypt; `encryption` where the bytes are not
 * encrypted, or with another key or under another name, or were changed.
 */
export async function decryptSnapshot(
  bytes: Uint8Array,
  key: CryptoKey,
  name = "",
): Promise<Uint8Array<ArrayBuffer>> {
  const what = "Cannot decrypt the snapshot";
  checkArguments(what, { bytes, key, name }, "decrypt");
  return await decrypt(what, bytes, key, name);
}

async function decrypt(
  what: string,
  bytes: Uint8Array,
  key: CryptoKey,
  name: string,
): Promise<Uint8Array<ArrayBuffer>> {
  const version = bytes[MAGIC.length];
  if (!isEncrypted(bytes) || version === undefined) {
    raise(
      "encryption",
      what,
      "it is not encrypted",
      "If it should not be, read it without a key; if it should be, it was replaced: do not use it",
    );
  }
  if (version !== VERSION) {
    raise(
      "encryption",
      what,
      `it is encrypted in version ${version} of the format, and this library reads ${VERSION}`,
      "Read it with the library that wrote it",
    );
  }
  const head = bytes.slice(0, HEAD_BYTES + NONCE_BYTES);
  const sealed = unshared(bytes.subarray(head.length));
  if (sealed.length < TAG_BYTES) {
    raise(
      "encryption",
      what,
      `it was cut short: it has ${bytes.length} bytes`,
      "Get all of it, or store it again",
    );
  }
  try {
    return new Uint8Array(await crypto.subtle.decrypt(parameters(head, name), key, sealed));
  } catch (cause) {
    // AES-GCM does not tell these apart.
    raise(
      "encryption",
      what,
      "it was encrypted with another key or under another name, or was changed since",
      "Give the key and name that it was encrypted with; if they are right, store it again",
      { cause },
    );
  }
}

/** The head and the name are authenticated as well. */
function parameters(head: Uint8Array<ArrayBuffer>, name: string): AesGcmParams {
  const named = new TextEncoder().encode(name);
  const additionalData = new Uint8Array(HEAD_BYTES + named.length);
  additionalData.set(head.subarray(0, HEAD_BYTES));
  additionalData.set(named, HEAD_BYTES);
  return { name: "AES-GCM", iv: head.subarray(HEAD_BYTES), additionalData };
}

/** The bytes, or a copy where another thread may write to them: WebCrypto refuses shared memory. */
function unshared(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return bytes.buffer instanceof ArrayBuffer
    ? bytes as Uint8Array<ArrayBuffer>
    : new Uint8Array(bytes);
}

function checkArguments(
  what: string,
  given: { readonly bytes: Uint8Array; readonly key: CryptoKey; readonly name: string },
  usage: KeyUsage,
): void {
  checkOptions("usage", what, { bytes: BYTES, key: aesKey(usage), name: TEXT }, given);
}

/** Keys for AES-GCM of sizes that every platform has. */
function aesKey(...usages: readonly KeyUsage[]): Kind<CryptoKey> {
  return kind(
    `a CryptoKey of AES-GCM, of 128 or 256 bits, that may ${usages.join(" and ")}`,
    (value) => {
      if (!isA("CryptoKey", value)) return false;
      const { algorithm, usages: allowed } = value as CryptoKey;
      const { name, length } = algorithm as AesKeyAlgorithm;
      return name === "AES-GCM" && (length === 128 || length === 256) &&
        usages.every((usage) => allowed.includes(usage));
    },
  );
}
