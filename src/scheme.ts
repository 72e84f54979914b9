import { TEXT } from "./check_options.ts";
import { describeValue } from "./describe_value.ts";
import { CoupletError } from "./errors.ts";
import { coupled } from "./schemes/coupled.ts";
import { ggml } from "./schemes/ggml.ts";
import { half } from "./schemes/half.ts";
import { kivi } from "./schemes/kivi.ts";
import { lattice } from "./schemes/lattice.ts";
import { turboQuant } from "./schemes/turbo_quant.ts";
import type { RecordLayout } from "./record_layout.ts";

/** Keys or values: the two sides of a cache. */
export type Side = "keys" | "values";

/** Both sides, keys first. */
export const SIDES: readonly Side[] = ["keys", "values"];

/**
 * A scheme's id: `f16`, or `c<channels>b<bits>` such as `c4b8`, `u<channels>b<bits>`, `t1b<bits>`, `kc<bits>`, `kt<bits>`,
 * `q<bits>`.
 */
export type SchemeId = string;

/** A family of schemes that code alike: the name of its room in the library, the generator, the templates and the tests. */
export type SchemeFamily = "half" | "coupled" | "uniform" | "hadamard";

/**
 * Where a scheme's centroids come from.
 *
 * - `learned`: from samples, for each layer, side, KV head and group of channels
 * - `universal`: from a definition, the same for all of these and for all models
 * - `none`: the scheme has no centroids
 */
export type CodebookKind = "learned" | "universal" | "none";

/**
 * Levels at equal distances, a scale, for each group of 32 numbers: code `c` stands for
 * `minimum + scale * (c - zero)`. Scale and minimum are binary16.
 */
export interface UniformLevels {
  /** What a group is: consecutive tokens of one channel, which are a block then, or consecutive channels of one token. */
  readonly group: "tokens" | "channels";
  /**
   * What the scale divides into `steps`.
   *
   * - `range`: from the group's smallest number, which is kept as the minimum, to its largest
   * - `magnitude`: from 0 to the largest magnitude; there is no minimum
   * - `extreme`: the same, but the scale has the sign that puts the number of largest magnitude at the lowest code; of two
   *   as large, the negative one
   */
  readonly span: "range" | "magnitude" | "extreme";
  /** Scales in the span. */
  readonly steps: number;
  /** The code of `minimum`, or of 0 where there is none. */
  readonly zero: number;
}

/**
 * How one head's key or value vector becomes a fixed number of bits.
 *
 * A scheme is data; it knows nothing of WebGPU. Kernels for it are rows of the manifest, found by `id`, and the same
 * arithmetic in float64 is its {@linkcode Codec}.
 */
export interface Scheme {
  /** The id, the same token in file names, codebooks, policies and tables. */
  readonly id: SchemeId;
  /** The family it is of. */
  readonly family: SchemeFamily;
  /** Channels that share one code. */
  readonly channels: number;
  /** Bits of one code. */
  readonly codeBits: number;
  /** Tokens that are coded together: the window gives up tokens in whole blocks. */
  readonly block: number;
  /** Bits per channel of the codes: `codeBits / channels`. */
  readonly bits: number;
  /** Where its centroids come from. */
  readonly codebook: CodebookKind;
  /** Centroids a code chooses from; 0 where the scheme has none. */
  readonly centroids: number;
  /**
   * Whether codes describe a vector that was rotated by a Hadamard matrix. The rotary embedding does not commute with it,
   * so keys that come before theirs get it first ({@linkcode CodingContext.turn}).
   */
  readonly rotated: boolean;
  /** The levels that codes count, where they are evenly spaced; absent for the other schemes. */
  readonly levels?: UniformLevels;
  /**
   * The record layout at one head dimension.
   *
   * @throws {CoupletError} `shape` where the scheme has none.
   */
  layout(headDim: number): RecordLayout;
  /** binary16 bits `[centroids][channels]` of a universal codebook at one head dimension; absent for the other kinds. */
  universalCentroids?(headDim: number): Uint16Array<ArrayBuffer>;
}

/** Each family of schemes parses the ids it knows. */
const families: readonly ((id: SchemeId) => Scheme | undefined)[] = [
  half,
  coupled,
  lattice,
  turboQuant,
  kivi,
  ggml,
];

const parsed = new Map<SchemeId, Scheme>();

/**
 * The scheme an id names.
 *
 * @throws {CoupletError} `scheme` where no family of schemes knows the id.
 */
export function parseScheme(id: SchemeId): Scheme {
  let scheme = parsed.get(id);
  if (scheme === undefined) {
    if (TEXT[1](id)) { for (const family of families) scheme ??= family(id); }
    if (scheme === undefined) {
      throw new CoupletError("scheme", {
        what: `Cannot use the scheme ${describeValue(id)}`,
        why: "no scheme has an id of that form",
        remedy:
          'Use "f16", "u8b8", "u4b8", one such as "c4b8" (1, 2, 4, 8 or 16 channels, 1 to 12 bits), or a baseline: t1b1 to t1b4, kc2, kc4, kt2, kt4, q4, q8',
      });
    }
    parsed.set(id, scheme);
  }
  return scheme;
}
