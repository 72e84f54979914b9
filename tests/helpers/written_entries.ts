/** Entries that tell who wrote them, and whether they are whole. */
import { patterned } from "./store_conformance.ts";

/** Bytes of an entry, and some more: enough to take every store several steps. */
const ENTRY_BYTES = 700_000;

/** The two entries that a writer writes by turns, and no other writer does. */
export function entriesOf(writer: number): readonly Uint8Array<ArrayBuffer>[] {
  return [2 * writer, 2 * writer + 1].map((seed) => patterned(ENTRY_BYTES + seed, seed));
}

/** Whose an entry is, as `whole, of 1`; or `absent`, or that it is torn. */
export function describeEntry(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return "absent";
  const seed = bytes.length - ENTRY_BYTES;
  const wanted = entriesOf(seed >> 1)[seed & 1]!;
  return wanted.length === bytes.length && wanted.every((byte, i) => byte === bytes[i])
    ? `whole, of ${seed >> 1}`
    : `${bytes.length} torn bytes`;
}
