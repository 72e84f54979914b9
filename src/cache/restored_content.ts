/**
 * A sequence's content from a snapshot, on the device, until commands copy it into the cache's own
 * buffers.
 */

/** One part of a layer. */
export interface RestoredPart {
  /** Records of the keys, `[pages of the sequence][heads][words]`; absent where it has none. */
  readonly keyRecords: GPUBuffer | undefined;
  /** Records of the values, in the same way. */
  readonly valueRecords: GPUBuffer | undefined;
  /** The sequence's exact tier, both sides. */
  readonly exact: GPUBuffer;
}

/** A sequence's content. */
export interface RestoredContent {
  /** By page table, the place in the sequence of the first page that the records have. */
  readonly first: readonly number[];
  /** By layer and part. */
  readonly layers: readonly (readonly RestoredPart[])[];
}
