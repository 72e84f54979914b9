import type { RecordLayout } from "../records/layout.ts";

/**
 * A scheme's id: `f16`, or `c<channels>b<bits>` such as `c4b8`, `u<channels>b<bits>`, `t1b<bits>`,
 * `kc<bits>`, `kt<bits>`, `q<bits>`.
 */
export type SchemeId = string;

/**
 * A family of schemes that code alike: the name of its room in the library, the generator, the
 * templates and the tests.
 */
export type SchemeFamily = "half" | "coupled" | "uniform" | "hadamard";

/**
 * A family that another program or package brings, by a name with a slash in it, such as
 * `acme/ternary`.
 */
export type OtherFamily = `${string}/${string}`;

/** The codebook of a scheme whose codes name centroids. */
export interface CodebookSpec {
  /**
   * Where its centroids come from: `calibrate()` learns them from samples, or a definition gives
   * them to all models.
   */
  readonly source: "calibration" | "definition";
  /**
   * What has a codebook of its own: each KV head of a layer and side, or no less than the model.
   */
  readonly sharedBy: "head" | "model";
  /** u32 words that one codebook takes on the device. */
  words(headDim: number): number;
  /** binary16 bits of its definition, `[centroids][channels]`; absent where it is learned. */
  definition?(headDim: number): Uint16Array<ArrayBuffer>;
}

/** What reading one token's vector takes, in units whose costs were fitted to measurements. */
export interface ReadingWork {
  /** Codes read, with the centroids of 8 bits that they stand for. */
  readonly gathers?: number;
  /** Numbers unpacked from evenly spaced levels. */
  readonly levels?: number;
  /** Numbers gathered from a codebook that all heads share, and scaled. */
  readonly universal?: number;
}

/**
 * How one head's key or value vector becomes a fixed number of bits.
 *
 * A scheme is data; it knows nothing of WebGPU. Kernels for it are rows of the manifest, found by
 * `id`, and the same arithmetic in float64 is its {@linkcode Codec}.
 */
export interface Scheme {
  /** The id, the same token in file names, codebooks, policies and tables. */
  readonly id: SchemeId;
  /** The family it is of. */
  readonly family: SchemeFamily | OtherFamily;
  /** Channels that share one code. */
  readonly channels: number;
  /** Bits of one code. */
  readonly codeBits: number;
  /** Tokens that are coded together: the window gives up tokens in whole blocks. */
  readonly block: number;
  /** Bits per channel of the codes: `codeBits / channels`. */
  readonly bits: number;
  /** Centroids that a code chooses from; 0 where codes are numbers themselves. */
  readonly centroids: number;
  /** Where the centroids are; absent where there are none. */
  readonly codebook?: CodebookSpec;
  /**
   * Whether keys that come before their rotary embedding are coded with it
   * ({@linkcode CodingContext.turn}), because it does not commute with what the scheme does to
   * vectors. Kernels that encode and decode them have a variant of their own.
   */
  readonly positional: boolean;
  /**
   * Whether codes are all that the cache would keep otherwise, so that none of the vector is lost.
   */
  readonly lossless: boolean;
  /**
   * The record layout at one head dimension.
   *
   * @throws {CoupletError} `shape` where the scheme has none.
   */
  layout(headDim: number): RecordLayout;
  /** What reading one token's vector takes; what it takes from memory is counted apart. */
  work(headDim: number): ReadingWork;
}

/** A scheme that has a room in this package. */
export type OwnScheme = Scheme & { readonly family: SchemeFamily };
