import type { KeySpace } from "../model/model.ts";
import type { RecordLayout } from "../records/layout.ts";

/** The ids of this package's schemes ([docs/methods.md](../../docs/methods.md)). */
export type OwnSchemeId =
  | "f16"
  | `c${1 | 2 | 4 | 8 | 16}b${1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 10 | 11 | 12}`
  | `u${4 | 8}b8`
  | `t1b${1 | 2 | 3 | 4}`
  | `k${"c" | "t" | "h"}${2 | 4}`
  | `kc${1 | 2}p${2 | 4 | 8}`
  | "zc3"
  | `q${4 | 8}`
  | `v4b${8 | 10}`
  | `v8b${8 | 10 | 12}`
  | `n${2 | 4 | 8 | 16 | 32}b${4 | 8}`
  | `${"n" | "c"}${2 | 4 | 8 | 16 | 32}b${4 | 8}x${2 | 4}`
  | `sc${1 | 2 | 4}`;

/**
 * The id of a scheme that {@linkcode registerScheme} was given. The property exists in the type
 * alone: it marks texts that are ids.
 */
export type OtherSchemeId = string & { readonly registeredScheme: true };

/**
 * A scheme's id, such as `c4b8`. Texts that are known only when a program runs, such as those of a
 * command line, become ids by `parseScheme(text).id`, and those of another package's schemes by
 * `registerScheme(scheme).id`.
 */
export type SchemeId = OwnSchemeId | OtherSchemeId;

/**
 * A family of schemes that code alike. Its name is that of its files in the library, the generator,
 * the templates and the tests.
 */
export type SchemeFamily =
  | "half"
  | "coupled"
  | "uniform"
  | "promoted"
  | "ternary"
  | "hadamard"
  | "span"
  | "vecinfer"
  | "additive";

/**
 * A family of another program or package. Its name has a slash, such as `acme/ternary`.
 */
export type OtherFamily = `${string}/${string}`;

/**
 * Where a scheme's centroids come from.
 *
 * - `learned`: `calibrate()` learns them from samples
 * - `universal`: they have a definition, the same for all models (data-free schemes)
 * - `none`: the scheme has no centroids
 */
export type CodebookKind = "learned" | "universal" | "none";

/** The codebook of a scheme whose codes are indices of centroids. */
export interface CodebookSpec {
  /**
   * What shares a codebook: one KV head of a layer and side, or the whole model.
   */
  readonly sharedBy: "head" | "model";
  /**
   * Whether all groups of channels share the centroids of their KV head, which are those of vectors
   * after a transform ({@linkcode Codebook.transform}). Absent where each group has its own.
   */
  readonly groupsShare?: true;
  /**
   * Codes of a group whose centroids are added, each with centroids of its own. Defaults to 1.
   */
  readonly stages?: number;
  /**
   * Whether the centroids are those of vectors after a mean is subtracted and a size divided
   * ({@linkcode Codebook.normalisation}).
   */
  readonly normalised?: true;
  /** u32 words that one codebook takes on the device. */
  words(headDim: number): number;
  /**
   * Those that lie from one KV head to the next, where the centroids of all heads follow; absent
   * where each head's centroids are among its words.
   */
  headWords?(headDim: number): number;
  /** binary16 bits of its definition, `[centroids][channels]`; absent where it is learned. */
  definition?(headDim: number): Uint16Array<ArrayBuffer>;
}

/** The work of reading one token's vector, in units whose costs were fitted to measurements. */
export interface ReadingWork {
  /** Codes read, with the centroids of 8 bits that they stand for. */
  readonly gathers?: number;
  /** Numbers unpacked from uniform quantisation. */
  readonly levels?: number;
  /** Numbers gathered from a data-free scheme's codebook, and scaled. */
  readonly universal?: number;
}

/**
 * How one head's key or value vector becomes a fixed number of bits.
 *
 * A scheme is data, independent of WebGPU. Its kernels are rows of the manifest, found by `id`. Its
 * {@linkcode Codec} is the same arithmetic in float64.
 */
export interface Scheme {
  /** The id, the same token in file names, codebooks, policies and names of kernels. */
  readonly id: SchemeId;
  /** The family it belongs to. */
  readonly family: SchemeFamily | OtherFamily;
  /** Channels that share one code. */
  readonly channels: number;
  /** Bits of one code. */
  readonly codeBits: number;
  /** Tokens that are coded together: the window gives up tokens in whole blocks. */
  readonly block: number;
  /** Bits per channel of the codes: `codeBits / channels`, times the codes that are added. */
  readonly bits: number;
  /** Centroids that a code chooses from; 0 where codes are numbers. */
  readonly centroids: number;
  /** Where the centroids come from. */
  readonly codebook: CodebookKind;
  /** Their codebook; absent where there are none. */
  readonly codebookSpec?: CodebookSpec;
  /**
   * Whether keys before their rotary embedding are coded with it ({@linkcode CodingContext.turn}),
   * because it does not commute with what the scheme does to vectors. Kernels that encode and
   * decode such keys are a variant of their own.
   */
  readonly positional: boolean;
  /**
   * How many channels of a head may have a constant offset in the model's keys, such as a bias,
   * beside which the codes still hold the other channels. Absent where all may.
   */
  keyOffsets?(headDim: number, space: KeySpace): number;
  /**
   * Whether codes keep everything that the exact tier keeps.
   */
  readonly lossless: boolean;
  /**
   * Whether it codes spans alone, with levels that are fitted to a whole span and lie outside
   * records. Absent means no.
   */
  readonly forSpans?: boolean;
  /**
   * The record layout at one head dimension.
   *
   * @throws {CoupletError} `shape` where the scheme has none.
   */
  layout(headDim: number): RecordLayout;
  /** The work of reading one token's vector. Bytes read from memory are counted separately. */
  work(headDim: number): ReadingWork;
}

/** A scheme of this package. */
export type OwnScheme = Scheme & { readonly family: SchemeFamily };

/** A scheme of another program or package, before it is registered: its id is any text. */
export interface OtherScheme extends Omit<Scheme, "id" | "family"> {
  /** One token of lower-case letters and digits. */
  readonly id: string;
  /** Its family, of two parts. */
  readonly family: OtherFamily;
}
