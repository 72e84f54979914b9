import { CoupletError } from "../errors.ts";
import { type RecordLayout, recordWords } from "../record_layout.ts";

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
  const { word, shift } = locate(layout, token, index);
  const mask = 2 ** layout.codeBits - 1;
  const value = code & mask;
  words[word] = (words[word]! & ~(mask << shift)) | (value << shift);
  const spilled = shift + layout.codeBits - 32;
  if (spilled > 0) {
    const kept = layout.codeBits - spilled;
    words[word + 1] = (words[word + 1]! & ~(mask >>> kept)) | (value >>> kept);
  }
}

/** Reads one code from the words of consecutive records of one KV head; arguments as for {@linkcode writeCode}. */
export function readCode(
  layout: RecordLayout,
  words: Uint32Array,
  token: number,
  index: number,
): number {
  const { word, shift } = locate(layout, token, index);
  const mask = 2 ** layout.codeBits - 1;
  const low = words[word]! >>> shift;
  const spilled = shift + layout.codeBits - 32;
  if (spilled <= 0) return low & mask;
  return (low | (words[word + 1]! << (32 - shift))) & mask;
}

/** The word and bit at which a code begins. */
function locate(
  layout: RecordLayout,
  token: number,
  index: number,
): { readonly word: number; readonly shift: number } {
  const record = Math.floor(token / layout.tokens);
  const bit = ((token % layout.tokens) * layout.codes + index) * layout.codeBits;
  return { word: record * layout.words + (bit >>> 5), shift: bit & 31 };
}

/**
 * Packs the codes of one KV head, as {@linkcode RecordLayout} describes. Bits past the last token are zero.
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
  const words = new Uint32Array(recordWords(layout, tokens));
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
 * The inverse of {@linkcode packRecords}.
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
  if (words.length < recordWords(layout, tokens)) {
    throw new CoupletError("shape", {
      what: "Cannot unpack records",
      why: `${tokens} tokens take ${
        recordWords(layout, tokens)
      } words and ${words.length} were given`,
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
