import { joinBytes } from "./join_bytes.ts";

/** Numbers that came in parts, as one array. */
export function joinFloats(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const bytes = parts.map((part) => new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  return new Float32Array(joinBytes(bytes).buffer);
}
