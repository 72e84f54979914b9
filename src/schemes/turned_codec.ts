import type { Codec } from "./codec.ts";

/**
 * Codes what a codec codes, turned by {@linkcode CodingContext.turn} where there is one. For schemes
 * that do not turn vectors themselves.
 */
export function turnedCodec(codec: Codec): Codec {
  const { learning } = codec;
  return {
    ...(learning === undefined ? {} : { learning }),
    ...(codec.fit === undefined ? {} : { fit: (vectors, side) => codec.fit!(vectors, side) }),

    encode(vectors, record, token, context) {
      const { turn } = context;
      const turned = turn === undefined
        ? vectors
        : vectors.map((vector, i) => turn(vector, token + i, 1));
      codec.encode(turned, record, token, context);
    },

    decode(record, token, headDim, context) {
      const vector = codec.decode(record, token, headDim, context);
      return context.turn === undefined ? vector : context.turn(vector, token, -1);
    },
  };
}
