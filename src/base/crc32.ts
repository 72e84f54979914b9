/** CRC-32 (ISO 3309, as in zip and PNG): finds damage, not forgery. */

// Pure, so that bundles without checksums drop it.
const TABLE: Uint32Array = /* @__PURE__ */ crcTable();

function crcTable(): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    return crc >>> 0;
  });
}

/** The CRC-32 of bytes that follow those of checksum `before`. */
export function crc32(bytes: Uint8Array, before = 0): number {
  let crc = ~before;
  for (const byte of bytes) crc = (crc >>> 8) ^ TABLE[(crc ^ byte) & 0xff]!;
  return ~crc >>> 0;
}
