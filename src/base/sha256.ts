/** SHA-256 by the platform's own implementation, as text. */

/** The digest of bytes, 64 hexadecimal digits. */
export async function sha256(bytes: Uint8Array): Promise<string> {
  return hexadecimal(await sha256Bytes(bytes));
}

/** The digest of bytes. */
export async function sha256Bytes(bytes: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  // Shared memory is copied first: another thread may write to it, and digest() refuses it.
  const own = bytes.buffer instanceof ArrayBuffer
    ? bytes as Uint8Array<ArrayBuffer>
    : new Uint8Array(bytes);
  return new Uint8Array(await crypto.subtle.digest("SHA-256", own));
}

/** Bytes as text, two digits each. */
export function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
