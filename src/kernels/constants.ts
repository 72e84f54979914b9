/** Tokens in one page of a record pool, for every scheme; a multiple of every record's tokens. */
export const PAGE_TOKENS = 64;

/**
 * Distances that the rotary table holds one by one. Pages behind a sliding window are freed in
 * multiples of it, and coded tiles begin at such a multiple.
 */
export const NEAR_TOKENS = 2 * PAGE_TOKENS;

/**
 * Most pages of a coded tile. An invocation scores one token of each page, so that each loaded
 * query serves as many keys.
 */
export const MAX_SPAN = 8;

/**
 * Fewest pages of a coded tile. With fewer, the sums of a whole workgroup do not fit workgroup
 * memory.
 */
export const MIN_SPAN = 4;

/** Tokens of a tile of exact tokens that an invocation scores. Exact tokens are usually few. */
export const EXACT_SPAN = 2;

/**
 * Query rows one attention workgroup serves: the components of a vector, and the GQA group of many
 * models.
 */
export const BLOCK_ROWS = 4;

/** Invocations of every cache kernel's workgroup. */
export const WORKGROUP_SIZE = 64;

/** Workgroups that share the channels of a head where its centroids are staged. */
export const MIX_PARTS = 4;

/** Most sequences that may take part in one step. */
export const STEP_ENTRIES = 64;

/** Bytes of workgroup memory every WebGPU device offers. */
export const BASE_WORKGROUP_BYTES = 16384;

/**
 * Workgroups that the planner cuts one layer's attention into without a tuning record, if there are
 * enough tiles.
 */
export const TARGET_WORKGROUPS = 256;

/**
 * The numbers of workgroups that tuning compares, because no device says how many it runs at a
 * time. The fewest keep two cores busy; the most keep a large GPU busy, which runs several on each
 * processor.
 */
export const TUNED_WORKGROUPS: readonly number[] = [16, 64, TARGET_WORKGROUPS, 1024, 4096];

/**
 * Entries of a table of q.centroid that one invocation computes, all of one group. No scheme with
 * such a table has fewer centroids.
 */
export const TABLE_LANE_ENTRIES = 4;

/** Most tokens that an encoding lane compares with each loaded centroid. */
export const ENCODE_TOKENS = 8;
