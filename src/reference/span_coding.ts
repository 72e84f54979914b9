/** Spans in float64: what the tokens that were handed over at once are decoded as. */
import type { SideCodebook } from "../codebooks/codebook.ts";
import { headCodebooks } from "../codebooks/head_codebooks.ts";
import type { Side } from "../model/side.ts";
import { schemeCodec } from "../schemes/scheme_codec.ts";
import type { CodingContext } from "../schemes/codec.ts";
import type { Scheme } from "../schemes/scheme.ts";
import { keptBinary16 } from "./binary16.ts";

/** How one side of spans is coded in one layer. */
export interface SpanCoding {
  readonly scheme: Scheme;
  readonly codebook: SideCodebook | undefined;
  readonly side: Side;
  readonly keyValueHeads: number;
  readonly headDim: number;
}

/** One side of a span in one layer. */
export interface CodedSpan {
  /** The vectors that its codes stand for, `[tokens][keyValueHeads][headDim]`. */
  readonly vectors: Float64Array<ArrayBuffer>;
  /** `[keyValueHeads]` runs of records, whole ones. */
  readonly records: readonly Uint32Array<ArrayBuffer>[];
  /** `[keyValueHeads]` lists of levels `[headDim][2]`, where the scheme fits some. */
  readonly levels: readonly (Float64Array<ArrayBuffer> | undefined)[];
}

/**
 * Codes one side of a span, from its binary16 values.
 *
 * @param vectors `[...][keyValueHeads][headDim]`.
 * @param rows The rows of `vectors` that are the span's tokens.
 */
export function codeSpan(
  { scheme, codebook, side, keyValueHeads, headDim }: SpanCoding,
  vectors: ArrayLike<number>,
  rows: readonly number[],
): CodedSpan {
  const codec = schemeCodec(scheme);
  const { block, layout } = scheme;
  const { tokens: recordTokens, words } = layout(headDim);
  const decoded = new Float64Array(rows.length * keyValueHeads * headDim);
  const heads = headCodebooks(scheme, codebook, keyValueHeads, headDim).map((own, head) => {
    const exact = rows.map((row) =>
      Float64Array.from(
        { length: headDim },
        (_, i) => keptBinary16(vectors[(row * keyValueHeads + head) * headDim + i]!),
      )
    );
    const levels = codec.fit?.(exact, side);
    const context: CodingContext = {
      ...own,
      scored: side === "keys",
      ...(levels === undefined ? {} : { levels }),
    };
    const records = new Uint32Array(Math.ceil(rows.length / recordTokens) * words);
    const recordOf = (token: number) => {
      const at = Math.floor(token / recordTokens) * words;
      return records.subarray(at, at + words);
    };
    for (let first = 0; first < rows.length; first += block) {
      // Behind the last token it stands in for those that the block lacks.
      const members = Array.from(
        { length: block },
        (_, i) => exact[Math.min(first + i, rows.length - 1)]!,
      );
      codec.encode(members, recordOf(first), first % recordTokens, context);
    }
    rows.forEach((_, token) => {
      const vector = codec.decode(recordOf(token), token % recordTokens, headDim, context);
      decoded.set(vector, (token * keyValueHeads + head) * headDim);
    });
    return { records, levels };
  });
  return {
    vectors: decoded,
    records: heads.map(({ records }) => records),
    levels: heads.map(({ levels }) => levels),
  };
}
