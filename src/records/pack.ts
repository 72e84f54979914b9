import { CoupletError } from "../base/errors.ts";
import type { RecordLayout } from "./layout.ts";

/** Words of the records that hold `tokens` tokens of one KV head. */
function wordsOf({ tokens: recordTokens, words }: RecordLayout, tokens: number): number {
  return Math.ceil(tokens / recordTokens) * words;
}

/**
 * Writes `bits` bits of a number into words, least significant bit first; the other bits are kept.
 *
 * @param words Changed in place.
 * @param bit The first bit, counted from the first word's lowest.
 * @param bits At most 32.
 */
export function writeBits(words: Uint32Array, bit: number, bits: number, value: number): void {
  const word = bit >>> 5;
  const shift = bit & 31;
  const mask = 0xffffffff >>> (32 - bits);
  const masked = value & mask;
  words[word] = (words[word]! & ~(mask << shift)) | (masked << shift);
  const spilled = shift + bits - 32;
  if (spilled > 0) {
    const kept = bits - spilled;
    words[word + 1] = (words[word + 1]! & ~(mask >>> kept)) | (masked >>> kept);
  }
}

/** Reads what {@linkcode writeBits} wrote. */
export function readBits(words: Uint32Array, bit: number, bits: number): number {
  const word = bit >>> 5;
  const shift = bit & 31;
  const mask = 0xffffffff >>> (32 - bits);
  const low = words[word]! >>> shift;
  const spilled = shift + bits - 32;
  if (spilled <= 0) return (low & mask) >>> 0;
  return ((low | (words[word + 1]! << (32 - shift))) & mask) >>> 0;
}

/**
 * Writes one code into the words of consecutive records of one KV head.
 *
 * @param words `[recordWords(layout, tokens)]`, changed in place; the other codes' bits are kept.
 * @param token Token index within `words`, from 0.
 * @param index Which of the token's codes, from 0.
 * @param code The code; bits above `layout.codeBits` are dropped.
 */
export function writeCode(
  layout: RecordLayout,
  words: Uint32Array,
  token: number,
  index: number,
  code: number,
): void {
  writeBits(words, codeBit(layout, token, index), layout.codeBits, code);
}

/**
 * Reads one code from the words of consecutive records of one KV head; arguments as for
 * {@linkcode writeCode}.
 */
export function readCode(
  layout: RecordLayout,
  words: Uint32Array,
  token: number,
  index: number,
): number {
  return readBits(words, codeBit(layout, token, index), layout.codeBits);
}

/** The bit at which a code begins. */
function codeBit(layout: RecordLayout, token: number, index: number): number {
  const record = Math.floor(token / layout.tokens);
  const code = (token % layout.tokens) * layout.codes + index;
  return (record * layout.words + layout.metadataWords) * 32 + code * layout.codeBits;
}

/** The bit at which a token's metadata begin; arguments as for {@linkcode writeCode}. */
export function tokenBit({ metadata, ...layout }: RecordLayout, token: number): number {
  const record = Math.floor(token / layout.tokens);
  return record * layout.words * 32 + metadata.sharedBits +
    (token % layout.tokens) * metadata.tokenBits;
}

/**
 * The records of the first `tokens` tokens. In the last record, the other tokens' own numbers are
 * cleared in each section.
 *
 * @param words At least `[recordWords(layout, tokens)]`.
 */
export function firstRecords(
  layout: RecordLayout,
  words: Uint32Array,
  tokens: number,
): Uint32Array<ArrayBuffer> {
  const first = words.slice(0, wordsOf(layout, tokens));
  const last = tokens % layout.tokens;
  if (last === 0) return first;
  const record = first.subarray(-layout.words);
  for (const { per, count, bits, firstBit } of layout.sections) {
    if (per === "record") continue;
    const end = firstBit + layout.tokens * count * bits;
    for (let bit = firstBit + last * count * bits; bit < end; bit += 32) {
      writeBits(record, bit, Math.min(32, end - bit), 0);
    }
  }
  return first;
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
  if (codes.length !== tokens * layout.codes) {
    throw new CoupletError("shape", {
      what: "Cannot pack codes into records",
      why:
        `${tokens} tokens of ${layout.codes} codes were announced and ${codes.length} codes given`,
      remedy: "Pass [tokens][codes] codes of one KV head",
    });
  }
  const words = new Uint32Array(wordsOf(layout, tokens));
  for (let token = 0; token < tokens; token++) {
    for (let index = 0; index < layout.codes; index++) {
      const code = codes[token * layout.codes + index]!;
      if (!(code >= 0 && code < 2 ** layout.codeBits && Number.isInteger(code))) {
        throw new CoupletError("shape", {
          what: "Cannot pack codes into records",
          why:
            `code ${index} of token ${token} is ${code}, which ${layout.codeBits} bits cannot hold`,
          remedy: "Pass codes made by the scheme whose layout this is",
        });
      }
      writeCode(layout, words, token, index, code);
    }
  }
  return words;
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
  if (words.length < wordsOf(layout, tokens)) {
    throw new CoupletError("shape", {
      what: "Cannot unpack records",
      why: `${tokens} tokens take ${wordsOf(layout, tokens)} words and ${words.length} were given`,
      remedy: "Pass all records of one KV head, or fewer tokens",
    });
  }
  const codes = new Uint32Array(tokens * layout.codes);
  for (let token = 0; token < tokens; token++) {
    for (let index = 0; index < layout.codes; index++) {
      codes[token * layout.codes + index] = readCode(layout, words, token, index);
    }
  }
  return codes;
}
