/**
 * What schemes do to vectors, in float64: the arithmetic that kernels are checked against. A cache
 * on a device gets along with schemes alone, so that a bundle of one leaves this out.
 */

/** The centroids of one KV head. */
export interface HeadCodebook {
  /**
   * Those of one codebook: `[groups][centroids][channels]`, or `[centroids][channels]` where all
   * groups share them; else empty.
   */
  readonly centroids: ArrayLike<number>;
  /** `[headDim]` weights of the squared distance's root; ones where absent. */
  readonly scale?: ArrayLike<number>;
}

/** What coding takes besides the vectors. */
export interface CodingContext extends HeadCodebook {
  /**
   * The rotary embedding of the token at an index of the record, or with -1 its inverse: present
   * for keys that come before it and are coded with it, by schemes that are
   * {@linkcode Scheme.positional}.
   */
  readonly turn?: (
    vector: ArrayLike<number>,
    token: number,
    direction: 1 | -1,
  ) => Float64Array<ArrayBuffer>;
  /**
   * Whether the vectors are keys as they are scored, in which what was constant before the rotary
   * embedding turns with the position; absent for values, and for keys that come before it.
   */
  readonly scored?: boolean;
}

/** How a scheme codes vectors, and decodes them. */
export interface Codec {
  /**
   * Codes one block of tokens, in float64.
   *
   * @param vectors `[block]` vectors `[headDim]`.
   * @param record The words of the record the block belongs to, changed in place.
   * @param token Index in the record of the block's first token.
   */
  encode(
    vectors: readonly ArrayLike<number>[],
    record: Uint32Array,
    token: number,
    context: CodingContext,
  ): void;
  /**
   * The inverse of {@linkcode Codec.encode}, for one token.
   *
   * @param record The words of a record.
   * @param token Index in the record.
   * @returns `[headDim]`.
   */
  decode(
    record: Uint32Array,
    token: number,
    headDim: number,
    context: CodingContext,
  ): Float64Array<ArrayBuffer>;
}
