/** How the k-means kernels lay out their data, for both the generator and the host. */
import { WORKGROUP_SIZE } from "../kernels/constants.ts";

/** Bytes of a centroid table's uniform binding, which every WebGPU device offers. */
export const KMEANS_TABLE_BYTES = 65536;

/** vec4s of one centroid: its channels, then its bias. */
export function kmeansRowVectors(channels: number): number {
  return Math.ceil((channels + 1) / 4);
}

/**
 * Centroids that one binding of the centroid table holds. A power of two, so that codebooks divide
 * evenly into bindings.
 */
export function kmeansTableRows(channels: number): number {
  return 2 ** Math.floor(Math.log2(KMEANS_TABLE_BYTES / (16 * kmeansRowVectors(channels))));
}

/**
 * Quads (four samples) of one invocation: as many as keep a lane's samples within 128 registers.
 */
export function kmeansQuads(channels: number): number {
  return Math.min(4, 32 / channels);
}

/** Samples of one workgroup of the assignment; planes are padded to a multiple of it. */
export function kmeansTileSamples(channels: number): number {
  return 4 * kmeansQuads(channels) * WORKGROUP_SIZE;
}

/** Parts of the samples that the update sums in parallel. */
export function kmeansSlices(channels: number): number {
  return Math.floor(WORKGROUP_SIZE / (channels + 1));
}

/**
 * Sums of centroids that the search keeps for each sample from stage to stage: as many as encoding
 * keeps. Codebooks that were learned with twice as many lose as much.
 */
export const SEARCH_BEAM = 4;

/** Bits of one stage's code in a sum's word. */
export const SEARCH_CODE_BITS = 8;

/**
 * Multiply-adds that take as long as one term of the update, which scatters: measured on a software
 * adapter.
 */
const UPDATE_COST = 140;

/**
 * Multiply-adds of an assignment to `centroids` centroids, per value of the samples: comparing
 * takes about two.
 */
export function kmeansAssignCost(channels: number, centroids: number): number {
  return (centroids * (channels + 2)) / channels;
}

/** The cost of an update in multiply-adds, per value of the samples. */
export function kmeansUpdateCost(channels: number): number {
  return (UPDATE_COST * (channels + 1)) / channels;
}

/**
 * Multiply-adds of extending `kept` sums by one stage, per value of the samples: keeping the best
 * takes about as long as eight for each sum and centroid.
 */
export function kmeansSearchCost(channels: number, centroids: number, kept: number): number {
  return (centroids * 4 * Math.ceil(kept / 4) * (channels + 8)) / channels;
}
