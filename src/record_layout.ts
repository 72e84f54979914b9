import { raise } from "./raise.ts";

/**
 * How the codes of one KV head lie in u32 words.
 *
 * A record holds `tokens` consecutive tokens of one KV head and one side (keys or values) in `words`
 * words: first what else a scheme must know to decode them, {@linkcode RecordMetadata}, then, from a
 * word of its own on, the codes. Code `j` of token `t` occupies bits `(t * codes + j) * codeBits` of
 * them onward, least significant bit first, and may straddle two words.
 */
export interface RecordLayout {
  /** Codes per token and KV head. */
  readonly codes: number;
  /** Bits per code. */
  readonly codeBits: number;
  /** Tokens in one record, a power of two up to 64. */
  readonly tokens: number;
  /** u32 words in one record. */
  readonly words: number;
  /** Bits in front of the codes. */
  readonly metadata: RecordMetadata;
  /** Words in front of the codes: those that the metadata fill. */
  readonly metadataWords: number;
  /** Unused bits of one record. */
  readonly paddingBits: number;
}

/** What a record holds besides codes: first what its tokens share, then token by token what each has for itself. */
export interface RecordMetadata {
  /** Bits all tokens of the record share. */
  readonly sharedBits: number;
  /** Bits of each token. */
  readonly tokenBits: number;
}

/** A record of codes and nothing else. */
const NO_METADATA: RecordMetadata = { sharedBits: 0, tokenBits: 0 };

/** The share of a record that may be padding. */
const MAX_PADDING = 0.03;

/**
 * The layout for `codes` codes of `codeBits` bits per token and KV head.
 *
 * @param least Tokens of a record, a power of two; it has more only where these would leave 3 % or more of its words
 * unused.
 */
export function recordLayout(
  codes: number,
  codeBits: number,
  metadata: RecordMetadata = NO_METADATA,
  least = 1,
): RecordLayout {
  const { sharedBits, tokenBits } = metadata;
  let tokens = least;
  const metadataWords = () => Math.ceil((sharedBits + tokens * tokenBits) / 32);
  const words = () => metadataWords() + Math.ceil((tokens * codes * codeBits) / 32);
  const padding = () => words() * 32 - sharedBits - tokens * (tokenBits + codes * codeBits);
  while (padding() >= MAX_PADDING * words() * 32) tokens *= 2;
  return {
    codes,
    codeBits,
    tokens,
    words: words(),
    metadata,
    metadataWords: metadataWords(),
    paddingBits: padding(),
  };
}

/** Words that `tokens` tokens of one KV head occupy. */
export function recordWords(layout: RecordLayout, tokens: number): number {
  return Math.ceil(tokens / layout.tokens) * layout.words;
}

/** Bits of a record per channel of its tokens, metadata included and padding not. */
export function recordBits(layout: RecordLayout, headDim: number): number {
  return (layout.words * 32 - layout.paddingBits) / (layout.tokens * headDim);
}

/**
 * Checks that channels divide into groups of so many.
 *
 * @throws {CoupletError} `shape` where they do not.
 */
export function requireMultiple(scheme: string, headDim: number, of: number): void {
  if (headDim > 0 && headDim % of === 0) return;
  raise(
    "shape",
    `Cannot use ${scheme} at head dimension ${headDim}`,
    `${headDim} channels do not divide into groups of ${of}`,
    `Use a head dimension that ${of} divides, or another scheme`,
  );
}
