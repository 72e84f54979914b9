/** How an encrypted snapshot begins. docs/formats.md has all of its bytes. */
import { isA } from "../base/check_options.ts";
import { raise } from "../base/raise.ts";

/** The first bytes. As the header length of a safetensors file they would be larger than any. */
export const MAGIC = "couplet-aes-gcm";

/** Whether bytes begin as an encrypted snapshot does, of any version. */
export function isEncrypted(bytes: Uint8Array): boolean {
  return isA("Uint8Array", bytes) &&
    String.fromCharCode(...bytes.subarray(0, MAGIC.length)) === MAGIC;
}

/** @throws {CoupletError} `encryption` where a snapshot is encrypted. */
export function checkNotEncrypted(bytes: Uint8Array): void {
  if (!isEncrypted(bytes)) return;
  raise(
    "encryption",
    "Cannot read the snapshot",
    "it is encrypted",
    "Read it with its key: encryptedStore() or decryptSnapshot() of @couplet/kv/stores/encrypted",
  );
}
