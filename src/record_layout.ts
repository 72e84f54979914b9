/**
 * How the codes of one KV head lie in u32 words.
 *
 * A record holds `tokens` consecutive tokens of one KV head and one side (keys or values) in `words`
 * words. Code `j` of token `t` occupies bits `(t * codes + j) * codeBits` onward, least significant
 * bit first, and may straddle two words. Tokens share a record only where one token alone would
 * leave 3 % or more of its words unused.
 */
export interface RecordLayout {
  /** Codes per token and KV head. */
  readonly codes: number;
  /** Bits per code. */
  readonly codeBits: number;
  /** Tokens in one record, a power of two up to 32. */
  readonly tokens: number;
  /** u32 words in one record. */
  readonly words: number;
  /** Unused bits at the end of one record. */
  readonly paddingBits: number;
}

/** The share of a record that may be padding. */
const MAX_PADDING = 0.03;

/** The layout for `codes` codes of `codeBits` bits per token and KV head. */
export function recordLayout(codes: number, codeBits: number): RecordLayout {
  const bits = codes * codeBits;
  let tokens = 1;
  const padding = () => Math.ceil((tokens * bits) / 32) * 32 - tokens * bits;
  while (padding() >= MAX_PADDING * Math.ceil((tokens * bits) / 32) * 32) tokens *= 2;
  return {
    codes,
    codeBits,
    tokens,
    words: Math.ceil((tokens * bits) / 32),
    paddingBits: padding(),
  };
}

/** Words that `tokens` tokens of one KV head occupy. */
export function recordWords(layout: RecordLayout, tokens: number): number {
  return Math.ceil(tokens / layout.tokens) * layout.words;
}
