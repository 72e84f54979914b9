import { raise } from "../base/raise.ts";

/** Numbers of one kind in a record: metadata, codes, or a plane of their bits. */
export interface RecordSection {
  /** Their name, for display. The section `codes` holds the codes, or their first plane. */
  readonly name: string;
  /** Whether each token has its own, or all tokens of the record share them. */
  readonly per: "record" | "token";
  /** How many there are, per record or per token. */
  readonly count: number;
  /** Bits of one. */
  readonly bits: number;
}

/**
 * A section at its place. Number `i` of token `t` begins at bit `firstBit + (t * count + i) * bits`
 * of a record.
 */
export interface PlacedSection extends RecordSection {
  /** The first bit, counted from the record's lowest. */
  readonly firstBit: number;
}

/**
 * How the codes of one KV head lie in u32 words.
 *
 * A record holds `tokens` consecutive tokens of one KV head and one side (keys or values) in
 * `words` words, section by section: first the metadata that decoding needs
 * ({@linkcode RecordMetadata}), then, from a new word on, the codes. Numbers lie least significant
 * bit first, and may straddle two words.
 */
export interface RecordLayout {
  /** All that a record holds, in order. */
  readonly sections: readonly PlacedSection[];
  /** Codes per token and KV head. */
  readonly codes: number;
  /** Bits per code. */
  readonly codeBits: number;
  /** Tokens in one record, a power of two up to 64. */
  readonly tokens: number;
  /** u32 words in one record. */
  readonly words: number;
  /** Bits before the codes. */
  readonly metadata: RecordMetadata;
  /** Words before the codes, filled by the metadata. */
  readonly metadataWords: number;
  /** Unused bits of one record. */
  readonly paddingBits: number;
}

/**
 * What a record holds besides codes: first what its tokens share, then each token's own.
 */
export interface RecordMetadata {
  /** Bits that all tokens of the record share. */
  readonly sharedBits: number;
  /** Bits of each token. */
  readonly tokenBits: number;
}

/** A record of codes and nothing else. */
const NO_METADATA: RecordMetadata = { sharedBits: 0, tokenBits: 0 };

/** The largest share of a record that may be padding. */
const MAX_PADDING = 0.03;

/**
 * The layout for `codes` codes of `codeBits` bits per token and KV head.
 *
 * @param least Fewest tokens of a record, a power of two. A record has more only where these would
 * leave 3 % or more of its words unused.
 */
export function recordLayout(
  codes: number,
  codeBits: number,
  { sharedBits, tokenBits }: RecordMetadata = NO_METADATA,
  least = 1,
): RecordLayout {
  return sectionedLayout(
    [
      { name: "shared", per: "record", count: sharedBits, bits: 1 },
      { name: "token", per: "token", count: tokenBits, bits: 1 },
    ],
    [{ name: "codes", per: "token", count: codes, bits: codeBits }],
    least,
  );
}

/**
 * The layout of records with several sections.
 *
 * @param metadata What lies before the codes.
 * @param planes The codes, and other planes of their bits. Each begins at a new word.
 * @param least Fewest tokens of a record, a power of two. A record has more only where these would
 * leave 3 % or more of its words unused.
 */
export function sectionedLayout(
  metadata: readonly RecordSection[],
  planes: readonly [RecordSection, ...RecordSection[]],
  least = 1,
): RecordLayout {
  const sum = (per: RecordSection["per"]) =>
    metadata.reduce((bits, one) => bits + (one.per === per ? one.count * one.bits : 0), 0);
  const { count: codes, bits: codeBits } = planes[0];
  for (let tokens = least;; tokens *= 2) {
    let bit = 0;
    let used = 0;
    const sections = [...metadata, ...planes].map((section, i) => {
      if (i >= metadata.length) bit = 32 * Math.ceil(bit / 32);
      const { per, count, bits } = section;
      const size = count * bits * (per === "token" ? tokens : 1);
      used += size;
      bit += size;
      return { ...section, firstBit: bit - size };
    });
    const words = Math.ceil(bit / 32);
    const paddingBits = words * 32 - used;
    if (paddingBits >= MAX_PADDING * words * 32) continue;
    return {
      sections: sections.filter(({ count }) => count > 0),
      codes,
      codeBits,
      tokens,
      words,
      metadata: { sharedBits: sum("record"), tokenBits: sum("token") },
      metadataWords: sections[metadata.length]!.firstBit / 32,
      paddingBits,
    };
  }
}

/** Words that `tokens` tokens of one KV head occupy. */
export function recordWords(layout: RecordLayout, tokens: number): number {
  return Math.ceil(tokens / layout.tokens) * layout.words;
}

/** Bits of a record per channel of its tokens, with metadata and without padding. */
export function recordBits(layout: RecordLayout, headDim: number): number {
  return (layout.words * 32 - layout.paddingBits) / (layout.tokens * headDim);
}

/**
 * Checks that channels divide into groups of a size.
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
