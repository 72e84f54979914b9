/**
 * What schemes do to vectors, in float64: the arithmetic that kernels are checked against. A device
 * cache needs only the schemes, so its bundle omits this module.
 */
import type { TokenTurn } from "../model/anchors.ts";
import type { Side } from "../model/side.ts";

/** What one KV head's vectors are normalised by, in numbers as stored. */
export interface Normalisation {
  /** `[headDim]`: the middle of each channel's means. */
  readonly offsets: ArrayLike<number>;
  /** `[headDim]`: the step of each channel's means. */
  readonly meanSteps: ArrayLike<number>;
  /** `[16]`: sizes of tokens, ascending. */
  readonly sizes: ArrayLike<number>;
}

/** The centroids of one KV head. */
export interface HeadCodebook {
  /**
   * `[groups][centroids][channels]`, or `[centroids][channels]` where all groups share them; where
   * centroids are added, `[groups][stages][centroids][channels]`. Empty without a codebook.
   */
  readonly centroids: ArrayLike<number>;
  /** `[headDim]` factors of differences before they are squared. Defaults to ones. */
  readonly scale?: ArrayLike<number>;
  /**
   * `[headDim][2]`: each channel's factor and mean, as in {@linkcode Codebook.transform}. Present
   * where all groups share the centroids.
   */
  readonly transform?: ArrayLike<number>;
  /** Present where vectors are normalised. */
  readonly normalisation?: Normalisation;
}

/** How the codebooks of a scheme are learned whose groups share the centroids of their KV head. */
export interface SharedLearning {
  /**
   * The transforms to choose from for one KV head: each is learned for, and the one that codes
   * samples with the least error is kept.
   *
   * @param vectors `[tokens]` samples `[headDim]`, as they are coded: with the rotary embedding
   * where the scheme is positional.
   * @returns Transforms `[headDim][2]`, of numbers that binary16 holds.
   */
  transforms(vectors: readonly ArrayLike<number>[], side: Side): readonly Float64Array[];
  /** A vector `[headDim]` in the space of the centroids. */
  transformed(vector: ArrayLike<number>, transform: ArrayLike<number>): Float64Array;
}

/** What coding needs besides the vectors. */
export interface CodingContext extends HeadCodebook {
  /**
   * Applies the rotary embedding of the token at an index of the record, or with -1 its inverse.
   * Present for keys before their rotary embedding in {@linkcode Scheme.positional} schemes, and,
   * with the part of it that is coded, for anchored ones in schemes that are learned.
   */
  readonly turn?: TokenTurn;
  /**
   * Whether the vectors are keys as they are scored, in which a constant from before the rotary
   * embedding rotates with the position. Absent for values, and for keys before their rotary
   * embedding.
   */
  readonly scored?: boolean;
  /** `[headDim][2]`: scale and minimum of each channel, for schemes that fit them to a span. */
  readonly levels?: ArrayLike<number>;
}

/** How a scheme encodes and decodes vectors. */
export interface Codec {
  /** Present where all groups share the centroids of their KV head. */
  readonly learning?: SharedLearning;
  /**
   * The levels of a span, for schemes that fit them to one ({@linkcode Scheme.forSpans}).
   *
   * @param vectors All vectors of the span, `[headDim]` each, of one KV head and side.
   * @returns `[headDim][2]`: scale and minimum of each channel.
   */
  fit?(vectors: readonly ArrayLike<number>[], side: Side): Float64Array<ArrayBuffer>;
  /**
   * Encodes one block of tokens, in float64.
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
