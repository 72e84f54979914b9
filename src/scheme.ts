import {
  checkOptions,
  FUNCTION,
  having,
  type Kind,
  kind,
  POSITIVE,
  TEXT,
  whole,
} from "./check_options.ts";
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

/** A family that another program or package brings, by a name with a slash in it, such as `acme/ternary`. */
export type OtherFamily = `${string}/${string}`;

/** The codebook of a scheme whose codes name centroids. */
export interface CodebookSpec {
  /** Where its centroids come from: `calibrate()` learns them from samples, or a definition gives them to all models. */
  readonly source: "calibration" | "definition";
  /** What has a codebook of its own: each KV head of a layer and side, or no less than the model. */
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
 * A scheme is data; it knows nothing of WebGPU. Kernels for it are rows of the manifest, found by `id`, and the same
 * arithmetic in float64 is its {@linkcode Codec}.
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
   * Whether keys that come before their rotary embedding are coded with it ({@linkcode CodingContext.turn}), because it does
   * not commute with what the scheme does to vectors. Kernels that encode and decode them have a variant of their own.
   */
  readonly positional: boolean;
  /** Whether codes are all that the cache would keep otherwise, so that none of the vector is lost. */
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

/** Each family of schemes parses the ids it knows. */
const families: readonly ((id: SchemeId) => OwnScheme | undefined)[] = [
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

/** Blocks that a page divides into. */
const BLOCKS: readonly unknown[] = [1, 2, 4, 8, 16, 32, 64];

/**
 * Makes a scheme of another program or package known, by its id: {@linkcode parseScheme} then returns it, and caches can be
 * planned with it. What codes vectors in float64 is given to {@linkcode registerCodec}, what its kernels are made of to
 * `registerKernels()` of `@couplet/kv/generate`. See docs/adding_a_scheme.md.
 *
 * @throws {CoupletError} `scheme` where it is no scheme, its id is not of lower-case letters and digits, its family has no
 * slash in its name, or another scheme has its id.
 */
export function registerScheme(scheme: Scheme): void {
  const what = "Cannot register a scheme";
  const flag: Kind<boolean> = kind("true or false", (value) => typeof value === "boolean");
  checkOptions("scheme", what, {
    scheme: {
      id: kind<string>(
        "lower-case letters and digits",
        (id) => TEXT[1](id) && /^[a-z][a-z0-9]*$/.test(id),
      ),
      family: kind<OtherFamily>(
        "a name of two parts, owner/family",
        (name) => TEXT[1](name) && /^[^/]+\/[^/]+$/.test(name),
      ),
      channels: whole(1, 256),
      codeBits: whole(1, 32),
      block: kind<number>("1, 2, 4, 8, 16, 32 or 64 tokens", (tokens) => BLOCKS.includes(tokens)),
      bits: POSITIVE,
      centroids: whole(0),
      "codebook?": having<CodebookSpec>(
        "{ source, sharedBy, words }",
        "source",
        "sharedBy",
        "words",
      ),
      positional: flag,
      lossless: flag,
      layout: FUNCTION,
      work: FUNCTION,
    },
  }, { scheme });
  const { id } = scheme;
  let known: Scheme | undefined;
  for (const parse of families) known ??= parse(id);
  known ??= parsed.get(id);
  if (known !== undefined && known !== scheme) {
    throw new CoupletError("scheme", {
      what,
      why: `there is a scheme "${id}" of the family ${known.family}`,
      remedy: "Choose another id",
    });
  }
  parsed.set(id, scheme);
}
