/**
 * How codes lie in records, with arguments checked. Planning and the reference call the unchecked
 * functions, for speed.
 */
import {
  checkOptions,
  type Kind,
  kind,
  listOf,
  oneOf,
  TEXT,
  whole,
} from "../base/check_options.ts";
import { NUMBER, NUMBERS, record, typedArray } from "../base/data_kinds.ts";
import * as unchecked from "../records/layout.ts";
import * as pack from "../records/pack.ts";
import type { RecordLayout, RecordMetadata, RecordSection } from "../records/layout.ts";

const WHAT = "Cannot lay out records";
const NO_METADATA: RecordMetadata = { sharedBits: 0, tokenBits: 0 };

/**
 * The layout for `codes` codes of `codeBits` bits per token and KV head.
 *
 * @param metadata What a record has besides codes. Defaults to nothing.
 * @param least Fewest tokens of a record, a power of two. A record has more only where these would
 * leave 3 % or more of its words unused.
 * @throws {CoupletError} `shape` where a number is out of range.
 */
export function recordLayout(
  codes: number,
  codeBits: number,
  metadata: RecordMetadata = NO_METADATA,
  least = 1,
): RecordLayout {
  const bits = whole(0);
  checkOptions("shape", WHAT, {
    codes: whole(1),
    codeBits: whole(1, 32),
    metadata: { sharedBits: bits, tokenBits: bits },
    least: whole(1, 64),
  }, { codes, codeBits, metadata, least });
  return unchecked.recordLayout(codes, codeBits, metadata, least);
}

/**
 * The layout of records with several sections.
 *
 * @param metadata What lies before the codes.
 * @param planes The codes, and other planes of their bits. Each begins at a new word.
 * @param least Fewest tokens of a record, a power of two. A record has more only where these would
 * leave 3 % or more of its words unused.
 * @throws {CoupletError} `shape` where a section is not valid, or there is no plane.
 */
export function sectionedLayout(
  metadata: readonly RecordSection[],
  planes: readonly [RecordSection, ...RecordSection[]],
  least = 1,
): RecordLayout {
  const sections = listOf(record<RecordSection>("a section { name, per, count, bits }", {
    name: TEXT,
    per: oneOf("record", "token"),
    count: whole(0),
    bits: whole(1, 32),
  }));
  checkOptions("shape", WHAT, {
    metadata: sections,
    planes: kind(
      `${sections[0]}, and one at least`,
      (value) => sections[1](value) && value.length > 0 && value[0]!.count > 0,
    ),
    least: whole(1, 64),
  }, { metadata, planes, least });
  return unchecked.sectionedLayout(metadata, planes, least);
}

/**
 * Words that `tokens` tokens of one KV head occupy.
 *
 * @throws {CoupletError} `shape` where the layout is not valid, or `tokens` is not a number.
 */
export function recordWords(layout: RecordLayout, tokens: number): number {
  checkOptions("shape", WHAT, { layout: layoutKind(), tokens: NUMBER }, { layout, tokens });
  return unchecked.recordWords(layout, tokens);
}

/**
 * Bits of a record per channel of its tokens, with metadata and without padding.
 *
 * @throws {CoupletError} `shape` where the layout or the head dimension is not valid.
 */
export function recordBits(layout: RecordLayout, headDim: number): number {
  checkOptions("shape", WHAT, { layout: layoutKind(), headDim: whole(1) }, { layout, headDim });
  return unchecked.recordBits(layout, headDim);
}

/**
 * Packs the codes of one KV head, as {@linkcode RecordLayout} describes. Metadata and bits past the
 * last token are zero.
 *
 * @param codes `[tokens][layout.codes]`.
 * @returns `[recordWords(layout, tokens)]`.
 * @throws {CoupletError} `shape` where `codes` has another length, or a code does not fit its bits.
 */
export function packRecords(
  layout: RecordLayout,
  codes: ArrayLike<number>,
  tokens: number,
): Uint32Array<ArrayBuffer> {
  checkOptions("shape", "Cannot pack codes into records", {
    layout: layoutKind(),
    codes: NUMBERS,
    tokens: whole(0),
  }, { layout, codes, tokens });
  return pack.packRecords(layout, codes, tokens);
}

/**
 * The codes in records: the inverse of {@linkcode packRecords}.
 *
 * @param words At least `[recordWords(layout, tokens)]`.
 * @returns `[tokens][layout.codes]`.
 * @throws {CoupletError} `shape` where `words` is too short for `tokens`.
 */
export function unpackRecords(
  layout: RecordLayout,
  words: Uint32Array,
  tokens: number,
): Uint32Array<ArrayBuffer> {
  checkOptions("shape", "Cannot unpack records", {
    layout: layoutKind(),
    words: typedArray("Uint32Array"),
    tokens: whole(0),
  }, { layout, words, tokens });
  return pack.unpackRecords(layout, words, tokens);
}

/**
 * Writes `bits` bits of a number into words, least significant bit first; the other bits are kept.
 *
 * @param words Changed in place.
 * @param bit The first bit, counted from the first word's lowest.
 * @param bits 1 to 32.
 * @throws {CoupletError} `shape` where the bits do not lie in the words.
 */
export function writeBits(words: Uint32Array, bit: number, bits: number, value: number): void {
  checkOptions("shape", "Cannot write bits", { value: NUMBER }, { value });
  checkPlace(words, bit, bits);
  pack.writeBits(words, bit, bits, value);
}

/**
 * Reads what {@linkcode writeBits} wrote.
 *
 * @throws {CoupletError} `shape` where the bits do not lie in the words.
 */
export function readBits(words: Uint32Array, bit: number, bits: number): number {
  checkPlace(words, bit, bits);
  return pack.readBits(words, bit, bits);
}

function checkPlace(words: Uint32Array, bit: number, bits: number): void {
  checkOptions("shape", "Cannot find bits in records", {
    words: typedArray("Uint32Array"),
    bits: whole(1, 32),
  }, { words, bits });
  checkOptions("shape", "Cannot find bits in records", {
    bit: whole(0, words.length * 32 - bits),
  }, { bit });
}

/** What `layout()` of a scheme returns. */
function layoutKind(): Kind<Pick<RecordLayout, "codes" | "codeBits" | "tokens" | "words">> {
  return record("what layout() of a scheme gives", {
    codes: NUMBER,
    codeBits: NUMBER,
    tokens: NUMBER,
    words: NUMBER,
    paddingBits: NUMBER,
  });
}
