/** Files with the checksum that they should have, whatever else they hold. */
import { crc32 } from "../../src/base/crc32.ts";
import { writeSafetensors } from "../../src/base/safetensors.ts";
import { hexadecimal, sha256Bytes } from "../../src/base/sha256.ts";

/** JSON of one thing in so many lists. */
export function nested(deep: number): string {
  return `${"[".repeat(deep)}0${"]".repeat(deep)}`;
}

/** The same as a value. */
export function nestedLists(deep: number): unknown {
  let value: unknown = 0;
  for (let i = 0; i < deep; i++) value = [value];
  return value;
}

/** A safetensors file of any header. */
export function withHeader(header: string): Uint8Array<ArrayBuffer> {
  const json = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + json.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

/** A codebook file without codebooks; `change` replaces metadata. */
export function forgeCodebooks(change: Readonly<Record<string, string>>): Uint8Array<ArrayBuffer> {
  const metadata: Record<string, string> = {
    format: "couplet-codebooks",
    version: "2",
    model: '{"name":"a","digest":"b"}',
    key_space: "pre-rope",
    provenance: '{"source":"a","tokens":1,"seed":1,"iterations":1}',
    ...change,
  };
  const lines = Object.keys(metadata).sort().map((key) =>
    `${JSON.stringify([key, metadata[key]])}\n`
  );
  const crc = crc32(new TextEncoder().encode(lines.join("")));
  const checksum = `crc32:${crc.toString(16).padStart(8, "0")}`;
  return writeSafetensors({ metadata: { ...metadata, checksum }, tensors: new Map() });
}

/** A snapshot without tensors; `change` replaces metadata. */
export async function forgeSnapshot(
  change: Readonly<Record<string, string>>,
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = writeSafetensors({
    metadata: {
      format: "couplet-snapshot",
      version: "3",
      model: "null",
      plan: "{}",
      plan_fingerprint: "p",
      codebook_fingerprint: "c",
      length: "1",
      exact_from: "0",
      coded_from: "[0]",
      checksum: `sha256:${"0".repeat(64)}`,
      ...change,
    },
    tensors: new Map(),
  });
  const start = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const mark = '"checksum":"sha256:';
  const at = new TextDecoder("latin1").decode(bytes.subarray(0, start)).indexOf(mark) + mark.length;
  const digests = [bytes.slice(0, start), bytes.slice(start)].map(sha256Bytes);
  const both = new Uint8Array((await Promise.all(digests)).flatMap((digest) => [...digest]));
  bytes.set(new TextEncoder().encode(hexadecimal(await sha256Bytes(both))), at);
  return bytes;
}
