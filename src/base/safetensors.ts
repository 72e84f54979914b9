/**
 * The safetensors container (https://huggingface.co/docs/safetensors): an 8-byte little-endian
 * header length, a JSON header, and the tensors' bytes without gap or overlap.
 *
 * @module
 */
import { checkOptions, isA, kind, listOf, oneOf, whole } from "./check_options.ts";
import { BYTES, record } from "./data_kinds.ts";
import { describeValue } from "./describe_value.ts";
import { messageOf, raise } from "./raise.ts";
import { parseJson } from "./parse_json.ts";

/** An element type as safetensors spells it. */
export type SafetensorsDtype =
  | "BOOL"
  | "U8"
  | "I8"
  | "F8_E4M3"
  | "F8_E5M2"
  | "U16"
  | "I16"
  | "F16"
  | "BF16"
  | "U32"
  | "I32"
  | "F32"
  | "U64"
  | "I64"
  | "F64";

/** Bytes of one element. */
const ELEMENT_BYTES: Readonly<Record<SafetensorsDtype, number>> = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
};

/** One tensor of a safetensors file. */
export interface SafetensorsTensor {
  /** Element type. */
  readonly dtype: SafetensorsDtype;
  /** Sizes, outermost first; empty for a scalar. */
  readonly shape: readonly number[];
  /** Little-endian elements, row-major. A view that need not be aligned to the element size. */
  readonly data: Uint8Array;
}

/** The content of a safetensors file. */
export interface SafetensorsFile {
  /** The header's `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
}

/** Bytes of the header length at the start of a file. */
const PREFIX_BYTES = 8;

/** The longest header the format allows. */
const MAX_HEADER_BYTES = 100_000_000;

/** The header's own entry, a name that no tensor can have. */
const METADATA = "__metadata__";

/**
 * Reads a safetensors file and checks all of it: header length, JSON, dtypes, shapes, and that the
 * tensors cover the data without gap or overlap.
 *
 * @param bytes The whole file. The tensors' data are views of it, not copies.
 * @throws {CoupletError} `file` where the bytes are not a well-formed safetensors file.
 */
export function readSafetensors(bytes: Uint8Array): SafetensorsFile {
  if (!isA("Uint8Array", bytes)) malformed(`it is ${describeValue(bytes)}`);
  if (bytes.length < PREFIX_BYTES) {
    malformed(`its ${bytes.length} bytes hold no header`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = view.getBigUint64(0, true);
  const available = Math.min(bytes.length - PREFIX_BYTES, MAX_HEADER_BYTES);
  if (headerBytes > BigInt(available)) {
    malformed(
      `its header takes ${headerBytes} bytes and at most ${available} can follow`,
    );
  }
  const dataStart = PREFIX_BYTES + Number(headerBytes);
  const header = parseHeader(bytes.subarray(PREFIX_BYTES, dataStart));
  const data = bytes.subarray(dataStart);

  const spans: { readonly name: string; readonly begin: number; readonly end: number }[] = [];
  const tensors = new Map<string, SafetensorsTensor>();
  let metadata: Record<string, string> = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === METADATA) {
      metadata = parseMetadata(entry);
      continue;
    }
    const { dtype, shape, begin, end } = parseTensor(name, entry);
    if (end > data.length) {
      malformed(
        `tensor "${name}" ends at byte ${end} of ${data.length}`,
      );
    }
    spans.push({ name, begin, end });
    tensors.set(name, { dtype, shape, data: data.subarray(begin, end) });
  }

  // An empty tensor has begin = end, so ties in begin must be ordered by end.
  spans.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let covered = 0;
  for (const { name, begin, end } of spans) {
    if (begin !== covered) {
      malformed(`tensor "${name}" begins at byte ${begin}, not ${covered}`);
    }
    covered = end;
  }
  if (covered !== data.length) {
    malformed(`its tensors end at byte ${covered} of ${data.length}`);
  }
  return { metadata, tensors };
}

/**
 * Writes a safetensors file. Equal content makes equal bytes, in any order of insertion. Tensors
 * are sorted by falling element size, then by name, so that each is aligned to its element size.
 *
 * @throws {CoupletError} `usage` where a tensor's data do not match its dtype and shape, or a name
 * is reserved or not well-formed Unicode.
 */
export function writeSafetensors(file: SafetensorsFile): Uint8Array<ArrayBuffer> {
  checkFile(file);
  const ordered = [...file.tensors].sort(([a, { dtype: x }], [b, { dtype: y }]) =>
    ELEMENT_BYTES[y] - ELEMENT_BYTES[x] || compareCodeUnits(a, b)
  );
  const fields: string[] = [];
  const metadata = Object.entries(file.metadata).sort(([a], [b]) => compareCodeUnits(a, b));
  for (const [key, value] of metadata) {
    if (typeof value !== "string" || !key.isWellFormed() || !value.isWellFormed()) {
      unwritable(`metadata entry "${key}" is not well-formed text`);
    }
  }
  if (metadata.length > 0) {
    fields.push(
      jsonField(METADATA, `{${metadata.map(([k, v]) => jsonField(k, JSON.stringify(v)))}}`),
    );
  }
  let offset = 0;
  for (const [name, { dtype, shape, data }] of ordered) {
    if (name === METADATA || !name.isWellFormed()) {
      unwritable(`"${name}" cannot name a tensor`);
    }
    const size = tensorBytes(dtype, shape);
    if (size === undefined || size !== data.length) {
      unwritable(
        `tensor "${name}" of dtype ${dtype} and shape [${shape}] has ${data.length} bytes of data, not ${size}`,
      );
    }
    const end = offset + size;
    fields.push(jsonField(name, JSON.stringify({ dtype, shape, data_offsets: [offset, end] })));
    offset = end;
  }

  const json = new TextEncoder().encode(`{${fields}}`);
  const headerBytes = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(PREFIX_BYTES + headerBytes + offset);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true);
  bytes.set(json, PREFIX_BYTES);
  bytes.fill(0x20, PREFIX_BYTES + json.length, PREFIX_BYTES + headerBytes);
  let at = PREFIX_BYTES + headerBytes;
  for (const [, { data }] of ordered) {
    bytes.set(data, at);
    at += data.length;
  }
  return bytes;
}

/** The header's entries. Integer-like names come first, which no check depends on. */
function parseHeader(bytes: Uint8Array): Record<string, unknown> {
  let header: unknown;
  try {
    // A byte order mark is kept, so that the parser refuses it.
    header = parseJson(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (cause) {
    malformed(`its header is no JSON in UTF-8: ${messageOf(cause)}`, { cause });
  }
  if (!isObject(header)) malformed("its header is no object");
  return header;
}

function parseMetadata(entry: unknown): Record<string, string> {
  if (!isObject(entry) || Object.values(entry).some((value) => typeof value !== "string")) {
    malformed(`its "${METADATA}" is no object of texts`);
  }
  return entry as Record<string, string>;
}

function parseTensor(
  name: string,
  entry: unknown,
): { dtype: SafetensorsDtype; shape: readonly number[]; begin: number; end: number } {
  const { dtype, shape, data_offsets: offsets } = Object(entry);
  if (
    typeof dtype !== "string" || !Object.hasOwn(ELEMENT_BYTES, dtype) || !isSizes(shape) ||
    !isSizes(offsets) || offsets.length !== 2
  ) {
    malformed(
      `tensor "${name}" lacks a dtype of ${Object.keys(ELEMENT_BYTES)}, a shape or data_offsets`,
    );
  }
  const begin = offsets[0]!;
  const end = offsets[1]!;
  const size = tensorBytes(dtype as SafetensorsDtype, shape);
  if (size === undefined || end - begin !== size) {
    malformed(
      `tensor "${name}" of dtype ${dtype} and shape [${shape}] spans ${
        end - begin
      } bytes, not ${size}`,
    );
  }
  return { dtype: dtype as SafetensorsDtype, shape, begin, end };
}

function checkFile(file: SafetensorsFile): void {
  const dtypes = Object.keys(ELEMENT_BYTES) as SafetensorsDtype[];
  const tensor = record<SafetensorsTensor>("a tensor", {
    dtype: oneOf(...dtypes),
    shape: listOf(whole(0, Number.MAX_SAFE_INTEGER)),
    data: BYTES,
  });
  checkOptions("usage", "Cannot write the safetensors file", {
    metadata: kind(
      "texts by name",
      (value) => isObject(value) && Object.values(value).every((text) => typeof text === "string"),
    ),
    tensors: kind(
      "a Map of tensors by name",
      (value) =>
        isA("Map", value) &&
        [...value as Map<unknown, unknown>].every(([name, one]) =>
          typeof name === "string" && tensor[1](one)
        ),
    ),
  }, file);
}

/** Bytes of a tensor, or undefined where a size is not one or the product exceeds exact numbers. */
function tensorBytes(dtype: SafetensorsDtype, shape: readonly number[]): number | undefined {
  if (!isSizes(shape)) return undefined;
  let bytes: number = ELEMENT_BYTES[dtype];
  // A size of zero makes the product zero.
  if (shape.includes(0)) return 0;
  for (const size of shape) {
    bytes *= size;
    if (!Number.isSafeInteger(bytes)) return undefined;
  }
  return bytes;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSizes(value: unknown): value is readonly number[] {
  return Array.isArray(value) &&
    value.every((size) => Number.isSafeInteger(size) && size >= 0 && !Object.is(size, -0));
}

function jsonField(name: string, json: string): string {
  return `${JSON.stringify(name)}:${json}`;
}

function compareCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function malformed(why: string, options?: ErrorOptions): never {
  raise(
    "file",
    "Cannot read the safetensors file",
    why,
    "Give the bytes of a safetensors file; where they are, fetch or write it again",
    options,
  );
}

function unwritable(why: string): never {
  raise(
    "usage",
    "Cannot write the safetensors file",
    why,
    "Give every tensor a plain name and exactly the bytes its dtype and shape call for",
  );
}
