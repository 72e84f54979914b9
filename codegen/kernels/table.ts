/** The rows of the generator's table. */
import type { KernelFeature, KeyVariant } from "../../src/kernels/name.ts";
import type { SchemeId } from "../../src/schemes/scheme.ts";

/** Schemes and head dimensions that get all kernels of a cache, and why. */
export interface SizeRow {
  /** Schemes, for keys and for values. */
  readonly schemes: readonly SchemeId[];
  /** Channels per head. */
  readonly headDims: readonly number[];
  /** Why these rows exist. */
  readonly reason: string;
}

/** A pair of schemes whose attention is fused into one kernel, and why. */
export interface PairRow {
  /** Scheme of the keys. */
  readonly keys: SchemeId;
  /** Scheme of the values. */
  readonly values: SchemeId;
  /** Channels per head. */
  readonly headDims: readonly number[];
  /** Why the pair exists. */
  readonly reason: string;
}

/** Schemes whose kernels for keys with anchors are generated, and why. */
export type AnchoredRow = SizeRow;

/** Schemes whose kernels for keys that turn by three positions are generated, and why. */
export type MropeRow = SizeRow;

/** Pairs of one scheme that get kernels that use what not all chips do well, and why. */
export interface LadderRow {
  /** What they use. */
  readonly feature: KernelFeature;
  /** How they read keys, where the scheme's keys are read so at all. */
  readonly variants: readonly KeyVariant[];
  /** Schemes, the same for keys and values. */
  readonly schemes: readonly SchemeId[];
  /** Channels per head. */
  readonly headDims: readonly number[];
  /** Why the rows exist. */
  readonly reason: string;
}

/** Channels per group whose k-means runs on the GPU, and why. */
export interface KmeansRow {
  /** Channels per group. */
  readonly channels: number;
  /** Why the row exists. */
  readonly reason: string;
}

/** The table, as its parts. */
export interface Table {
  /** Schemes and head dimensions. */
  readonly sizes: readonly SizeRow[];
  /** Fused pairs. */
  readonly pairs: readonly PairRow[];
  /** Keys with anchors. */
  readonly anchored: readonly AnchoredRow[];
  /** Keys that turn by three positions. */
  readonly mrope: readonly MropeRow[];
  /** Optional features. */
  readonly ladder: readonly LadderRow[];
  /** Calibration. */
  readonly kmeans: readonly KmeansRow[];
}
