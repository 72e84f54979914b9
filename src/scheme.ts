import { CoupletError } from "./errors.ts";
import { coupled } from "./schemes/coupled.ts";
import { half } from "./schemes/half.ts";
import type { RecordLayout } from "./record_layout.ts";

/** Keys or values: the two sides of a cache. */
export type Side = "keys" | "values";

/** A scheme's id: `f16`, or `c<channels>b<bits>` such as `c4b8`. */
export type SchemeId = string;

/**
 * How one head's key or value vector becomes a fixed number of bits.
 *
 * A scheme is data and arithmetic; it knows nothing of WebGPU. Kernels for it are rows of the
 * manifest, found by `id`.
 */
export interface Scheme {
  /** The id, the same token in file names, codebooks, policies and tables. */
  readonly id: SchemeId;
  /** Channels that share one code. */
  readonly channels: number;
  /** Bits of one code. */
  readonly codeBits: number;
  /** Tokens that are coded together: the window gives up tokens in whole blocks. */
  readonly block: number;
  /** Nominal bits per channel: `codeBits / channels`. */
  readonly bits: number;
  /** Centroids per group, or 0 where the scheme needs no codebook. */
  readonly centroids: number;
  /**
   * The record layout at one head dimension.
   *
   * @throws {CoupletError} `shape` where the head dimension is no multiple of `channels`.
   */
  layout(headDim: number): RecordLayout;
  /**
   * Codes of one vector, in float64.
   *
   * @param vector `[headDim]`.
   * @param centroids `[groups][centroids][channels]` of the vector's KV head, as stored; empty where the scheme has none.
   * @param scale `[headDim]` weights of the squared distance's root, or undefined for ones.
   */
  encode(
    vector: ArrayLike<number>,
    centroids: ArrayLike<number>,
    scale?: ArrayLike<number>,
  ): Uint32Array;
  /** The inverse of {@linkcode Scheme.encode}: `[headDim]` values from `[codes]` codes. */
  decode(codes: ArrayLike<number>, centroids: ArrayLike<number>): Float64Array;
}

/** Each family of schemes parses the ids it knows. */
const families: readonly ((id: SchemeId) => Scheme | undefined)[] = [half, coupled];

const parsed = new Map<SchemeId, Scheme>();

/**
 * The scheme an id names.
 *
 * @throws {CoupletError} `scheme` where no family of schemes knows the id.
 */
export function parseScheme(id: SchemeId): Scheme {
  let scheme = parsed.get(id);
  if (scheme === undefined) {
    for (const family of families) scheme ??= family(id);
    if (scheme === undefined) {
      throw new CoupletError("scheme", {
        what: `Cannot use the scheme "${id}"`,
        why: "no family of schemes has an id of that form",
        remedy:
          'Use "f16", or "c<channels>b<bits>" with 1 to 16 channels (a power of two) and 1 to 12 bits, such as "c4b8"',
      });
    }
    parsed.set(id, scheme);
  }
  return scheme;
}
