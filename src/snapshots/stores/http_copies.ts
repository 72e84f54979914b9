/** Copies of entries with their ETags, in another store: the ETag's length in 4 bytes, the ETag, the bytes. */
import type { SnapshotStore } from "../store.ts";

/** An entry that was received before. */
export interface Copy {
  /** Its bytes then. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** By which the server tells whether it is still the same. */
  readonly etag: string;
}

/** The copy of an entry, where there is one. */
export async function readCopy(
  copies: SnapshotStore | undefined,
  key: string,
): Promise<Copy | undefined> {
  const kept = await copies?.get(key);
  if (kept === undefined || kept.length < 4) return undefined;
  const start = 4 + new DataView(kept.buffer, kept.byteOffset).getUint32(0, true);
  if (start >= kept.length) return undefined;
  return { bytes: kept.slice(start), etag: new TextDecoder().decode(kept.subarray(4, start)) };
}

/** Keeps an entry, or forgets it where there is none, or none that can be asked about again. */
export async function writeCopy(
  copies: SnapshotStore,
  key: string,
  entry: { readonly bytes: Uint8Array; readonly etag: string | undefined } | undefined,
): Promise<void> {
  if (entry?.etag === undefined) {
    await copies.delete(key);
    return;
  }
  const etag = new TextEncoder().encode(entry.etag);
  const copy = new Uint8Array(4 + etag.length + entry.bytes.length);
  new DataView(copy.buffer).setUint32(0, etag.length, true);
  copy.set(etag, 4);
  copy.set(entry.bytes, 4 + etag.length);
  await copies.put(key, copy);
}
