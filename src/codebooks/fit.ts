import type { Codebook, CodebookFit, SideCodebook } from "./codebook.ts";
import { headCodebooks } from "./head_codebooks.ts";
import type { CodingContext } from "../schemes/codec.ts";
import { roundTrip } from "../schemes/round_trip.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";

/**
 * Most tokens that a fit is measured on: precise to a few per cent, and cheap compared with
 * learning.
 */
const MOST_TOKENS = 512;

/** A codebook, and the heads it is for. */
export type SizedCodebook = SideCodebook & Pick<Codebook, "keyValueHeads" | "headDim">;

/** Called with each vector and its decoded form. */
export type CodedVisitor = (
  head: number,
  vector: Float32Array,
  decoded: Float64Array,
  /** Where the vector begins in all values. */
  at: number,
) => void;

/**
 * Codes vectors in float64 and decodes them, head by head.
 *
 * @param values `[tokens][keyValueHeads][headDim]`.
 * @param most Most tokens to code, spread evenly over all.
 * @param context The rotary embedding of a token, for keys that are coded with it, and whether they
 * are keys as they are scored.
 * @returns How many tokens were coded.
 */
export function visitCoded(
  codebook: SizedCodebook,
  values: Float32Array,
  most: number,
  visit: CodedVisitor,
  { turn, ...context }: Pick<CodingContext, "turn" | "scored"> = {},
): number {
  const { keyValueHeads, headDim } = codebook;
  const scheme = parseScheme(codebook.scheme);
  const heads = headCodebooks(scheme, codebook, keyValueHeads, headDim);
  const all = values.length / (keyValueHeads * headDim);
  // Tokens that are coded together are neighbours.
  const members = Math.min(all, scheme.block);
  const blocks = Math.floor(Math.min(most, all) / members);
  for (const [head, own] of heads.entries()) {
    for (let block = 0; block < blocks; block++) {
      const place = Math.floor(block * all / blocks / members) * members;
      const starts = Array.from(
        { length: Math.min(members, all - place) },
        (_, i) => ((place + i) * keyValueHeads + head) * headDim,
      );
      const vectors = starts.map((at) => values.subarray(at, at + headDim));
      const decoded = roundTrip(scheme, vectors, {
        ...own,
        ...context,
        ...(turn && { turn: (coded, i, direction) => turn(coded, place + i, direction) }),
      });
      vectors.forEach((vector, i) => visit(head, vector, decoded[i]!, starts[i]!));
    }
  }
  return blocks * members;
}

/**
 * Measures how well a codebook codes vectors, on at most 512 tokens.
 *
 * @param values `[tokens][keyValueHeads][headDim]`.
 * @param turn The rotary embedding of a token, for keys that are coded with it.
 */
export function measureFit(
  codebook: Codebook,
  values: Float32Array,
  turn?: CodingContext["turn"],
): CodebookFit {
  const { keyValueHeads, headDim } = codebook;
  const squaredErrors = new Float64Array(keyValueHeads);
  const squares = new Float64Array(keyValueHeads);
  const sums = new Float64Array(keyValueHeads * headDim);
  const tokens = visitCoded(codebook, values, MOST_TOKENS, (head, vector, decoded) => {
    for (let i = 0; i < headDim; i++) {
      sums[head * headDim + i]! += vector[i]!;
      squares[head]! += vector[i]! ** 2;
      squaredErrors[head]! += (vector[i]! - decoded[i]!) ** 2;
    }
  }, turn && { turn });
  return {
    errors: Float32Array.from(squaredErrors, (sum) => sum / (tokens * headDim)),
    variances: Float32Array.from(squares, (sum, head) => {
      const means = sums.subarray(head * headDim, (head + 1) * headDim);
      const squaredMeans = means.reduce((total, sum) => total + (sum / tokens) ** 2, 0);
      return Math.max(0, (sum / tokens - squaredMeans) / headDim);
    }),
  };
}
