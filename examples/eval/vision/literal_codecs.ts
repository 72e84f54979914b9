/** Other methods to the letter, as codecs without kernels: they are decoded on the CPU. */
import { literalSpan } from "./calibquant_literal.ts";
import { LITERAL_BITS, literalKeys, literalValues, wideChannels } from "./vidkv_literal.ts";

/** Keys or values, `[heads][tokens]` vectors. */
export type HeadVectors = readonly (readonly Float64Array[])[];

/** A codec of whole spans. */
export interface LiteralCodec {
  readonly name: string;
  /** Bits a channel of keys and values in the mean, with all metadata, of a span of so many tokens. */
  bits(tokens: number): number;
  /** Codes and decodes one layer's keys, as they are scored. */
  keys(heads: HeadVectors): HeadVectors;
  /** Codes and decodes one layer's values. */
  values(heads: HeadVectors): HeadVectors;
}

function vidkv(mode: "paper" | "released"): LiteralCodec {
  return {
    name: `vidkv_literal ${mode}`,
    bits: () => (LITERAL_BITS.keys + LITERAL_BITS.values) / 2,
    keys(heads) {
      const wide = wideChannels(heads.flat());
      return heads.map((head) => literalKeys(head, wide));
    },
    values: (heads) => heads.map((head) => literalValues(head, mode)),
  };
}

/** All codecs. */
export const LITERAL_CODECS: readonly LiteralCodec[] = [
  {
    name: "calibquant_literal",
    // Two levels of 16 bits for each channel of the span.
    bits: (tokens) => 1 + 32 / tokens,
    keys: (heads) => heads.map((head) => literalSpan(head, "keys")),
    values: (heads) => heads.map((head) => literalSpan(head, "values")),
  },
  vidkv("paper"),
  vidkv("released"),
];
