import type { CodingContext } from "./codec.ts";
import { schemeCodec } from "./scheme_codec.ts";
import type { Scheme } from "./scheme.ts";

/**
 * Encodes and decodes vectors of one KV head, in float64.
 *
 * @param vectors `[tokens]` vectors `[headDim]`, consecutive tokens: whole blocks of the scheme.
 * @param context Its `turn` is called with the index in `vectors`.
 * @returns The decoded vectors.
 */
export function roundTrip(
  scheme: Scheme,
  vectors: readonly ArrayLike<number>[],
  context: CodingContext,
): Float64Array<ArrayBuffer>[] {
  const headDim = vectors[0]?.length ?? 0;
  const { turn, ...codebook } = context;
  const codec = schemeCodec(scheme);
  return vectors.flatMap((_, first) => {
    if (first % scheme.block !== 0) return [];
    const block = vectors.slice(first, first + scheme.block);
    const record = new Uint32Array(scheme.layout(headDim).words);
    const own: CodingContext = turn === undefined ? codebook : {
      ...codebook,
      turn: (vector, token, direction) => turn(vector, first + token, direction),
    };
    codec.encode(block, record, 0, own);
    return block.map((_, token) => codec.decode(record, token, headDim, own));
  });
}
