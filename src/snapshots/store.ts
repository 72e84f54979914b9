/** Stores of snapshots: the interface, and checks that all stores share. */
import { CoupletError } from "../base/errors.ts";

/**
 * Bytes by key. A store does not interpret its entries. An entry is seen whole or not at all, even
 * while it is written and after a crash.
 *
 * An entry has at least one byte. Keys have 1 to 128 of the characters `a-z`, `0-9`, `.`, `_` and
 * `-` and begin with a letter or digit, so that each is a file name on every system. Other entries
 * and keys throw a {@linkcode CoupletError} `usage`. A store that fails throws `store`.
 */
export interface SnapshotStore {
  /**
   * Returns a copy of an entry's bytes, or undefined where there is none.
   *
   * @throws {CoupletError} `store` where the entry cannot be read, or is not whole.
   */
  get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Writes an entry, and replaces the one before. */
  put(key: string, bytes: Uint8Array): Promise<void>;
  /** Deletes an entry. Returns whether there was one. */
  delete(key: string): Promise<boolean>;
  /** Returns all keys, sorted. */
  list(): Promise<string[]>;
  /**
   * Returns which of some keys have an entry, in the order given. A store that lists slowly, or not
   * at all, has it: the search for prefixes then asks for a prompt's keys and lists nothing.
   */
  has?(keys: readonly string[]): Promise<boolean[]>;
}

/** What the search for prefixes needs of a store: one to read from need not be one to write to. */
export type ReadableStore = Pick<SnapshotStore, "get" | "list" | "has">;

const KEY = /^[a-z0-9][a-z0-9._-]{0,127}$/;

/** Whether a text can be the key of an entry. */
export function isStoreKey(key: string): boolean {
  return KEY.test(key);
}

/** @throws {CoupletError} `usage` where a text cannot be the key of an entry. */
export function checkStoreKey(key: string): void {
  if (isStoreKey(key)) return;
  throw new CoupletError("usage", {
    what: "Cannot use the store's entry",
    why: `its key is ${JSON.stringify(key)}`,
    remedy: "Use 1 to 128 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
  });
}

/** @throws {CoupletError} `usage` where this cannot be an entry. */
export function checkStoreEntry(key: string, bytes: Uint8Array): void {
  checkStoreKey(key);
  if (bytes.length > 0) return;
  throw new CoupletError("usage", {
    what: `Cannot write the entry ${key}`,
    why: "it has no bytes",
    remedy: "Delete the entry instead, or write what snapshotSequence() gives",
  });
}

/** The error of a store whose back end fails. */
export function storeError(what: string, cause: unknown, remedy: string): CoupletError {
  const why = cause instanceof Error ? cause.message || cause.name : `${cause}`;
  return new CoupletError("store", { what, why, remedy }, { cause });
}

/** The same, unless the error is one of this library, which says more. */
export function asStoreError(what: string, cause: unknown, remedy: string): CoupletError {
  return cause instanceof CoupletError ? cause : storeError(what, cause, remedy);
}
