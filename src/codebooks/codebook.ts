import type { SchemeId } from "../schemes/scheme.ts";
import type { Side } from "../model/side.ts";
import type { KeySpace, ModelFingerprint } from "../model/model.ts";

/** Learned centroids of one layer and one side. */
export interface Codebook {
  /** Layer index, from 0. */
  readonly layer: number;
  /** Which side of the cache the codebook serves. */
  readonly side: Side;
  /** The scheme whose codes index the centroids. */
  readonly scheme: SchemeId;
  /** KV heads of the layer. */
  readonly keyValueHeads: number;
  /** Channels per head. */
  readonly headDim: number;
  /**
   * Levels on each channel's grid, `[keyValueHeads][headDim / channels][2^codeBits][channels]`, or
   * one group of a head for all if they share it. A centroid's number is `low + level * step`;
   * {@linkcode centroidNumbers} gives them all.
   *
   * Where the centroids of several stages are added,
   * `[keyValueHeads][headDim / channels][stages][2^codeBits][channels]`, or those of one head for
   * all heads if they share them. The levels of a sum are at most 255.
   */
  readonly centroids: Uint8Array<ArrayBuffer>;
  /**
   * binary16 bits, `[keyValueHeads][headDim][2]`: each channel's `low`, and 64 times its `step`.
   * If all groups share centroids, `[keyValueHeads][channels][2]`. Where centroids are added,
   * `[keyValueHeads][headDim][stages + 1]`: the `low` of each stage, and 64 times their `step`,
   * which is never 0.
   */
  readonly grid: Uint16Array<ArrayBuffer>;
  /**
   * binary16 bits, `[keyValueHeads][headDim][2]`: each channel's factor and mean. Vectors are
   * divided by the factors, get a Walsh-Hadamard transform, and the means are subtracted. A factor
   * is a signed power of two, or 0 in all channels of a head that is not
   * rotated. Present if all groups share centroids, and only then.
   */
  readonly transform?: Uint16Array<ArrayBuffer>;
  /** What vectors are normalised by. Present if the scheme's are, and only then. */
  readonly normalisation?: CodebookNormalisation;
  /**
   * Optional channel scale, `[keyValueHeads][headDim]`: encoding compares `x * scale` with
   * `centroid * scale`, so that channels are weighted by importance. Centroids stay in the vector's
   * own space, so attention needs no inverse.
   */
  readonly scale?: Float32Array<ArrayBuffer>;
  /**
   * How well the centroids code their own samples; absent where `calibrate()` did not learn them.
   */
  readonly fit?: CodebookFit;
}

/** What the vectors of one layer and side are normalised by, before they are coded. */
export interface CodebookNormalisation {
  /** `[keyValueHeads][headDim]`: the middle of each channel's means. */
  readonly offsets: Float32Array<ArrayBuffer>;
  /** binary16 bits, `[keyValueHeads][headDim]`: 64 times the step of each channel's 16 means. */
  readonly meanSteps: Uint16Array<ArrayBuffer>;
  /** binary16 bits, `[keyValueHeads][16]`: the sizes of tokens, ascending and positive. */
  readonly sizes: Uint16Array<ArrayBuffer>;
}

/**
 * How well a codebook codes some vectors. All errors count alike; the calibration's weights are
 * ignored.
 */
export interface CodebookFit {
  /** `[keyValueHeads]`: mean squared error per channel. */
  readonly errors: Float32Array<ArrayBuffer>;
  /** `[keyValueHeads]`: mean squared distance per channel of the vectors from their mean. */
  readonly variances: Float32Array<ArrayBuffer>;
}

/** The codebook of a data-free scheme: the same for all models, layers, sides and KV heads. */
export interface UniversalCodebook {
  /** The scheme whose codes index the centroids. */
  readonly scheme: SchemeId;
  /** binary16 bits, `[2^codeBits][channels]`. */
  readonly centroids: Uint16Array<ArrayBuffer>;
  /** One codebook for all needs no grids to be small. */
  readonly grid?: undefined;
  /** Vectors are coded as their scheme defines. */
  readonly transform?: undefined;
  /** What they are normalised by is part of the scheme. */
  readonly normalisation?: undefined;
  /** All channels are weighted alike. */
  readonly scale?: undefined;
}

/** The codebook of one side of one layer. */
export type SideCodebook = Codebook | UniversalCodebook;

/**
 * An orthonormal rotation of one layer's values, head by head. A host folds it into the weights
 * around its attention, so that the cache is given values after it.
 */
export interface ValueRotation {
  /** Layer index, from 0. */
  readonly layer: number;
  /** KV heads of the layer. */
  readonly keyValueHeads: number;
  /** Channels per head. */
  readonly headDim: number;
  /** `[keyValueHeads][headDim][headDim]`: row i is the axis of rotated channel i. */
  readonly axes: Float32Array<ArrayBuffer>;
}

/** How a set of codebooks was learned. */
export interface CalibrationProvenance {
  /** What the samples were taken from, for display. */
  readonly source: string;
  /** Token positions sampled. */
  readonly tokens: number;
  /** The seed of the k-means start. */
  readonly seed: number;
  /** The limit of Lloyd iterations of a group. */
  readonly iterations: number;
}

/**
 * All codebooks of one model, of any number of schemes. They are found by layer, side and scheme.
 */
export interface CodebookSet {
  /** The model the codebooks were learned on. */
  readonly model: ModelFingerprint;
  /** The space the keys are coded in. */
  readonly keySpace: KeySpace;
  /**
   * The tokens of an anchor, by band of eight pairs of channels; 0 where pairs have none. Present
   * where the keys' space is `anchored`, and only then.
   */
  readonly anchors?: readonly number[];
  /** How the codebooks were learned. */
  readonly provenance: CalibrationProvenance;
  /**
   * Value rotations that are folded into the model, at most one per layer; absent where values are
   * the checkpoint's own. {@linkcode CodebookSet.model} is the model with these rotations, so its
   * digest differs.
   */
  readonly valueRotations?: readonly ValueRotation[];
  /** The codebooks, in no particular order. */
  readonly codebooks: readonly Codebook[];
}
