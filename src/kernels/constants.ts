/** Tokens in one page of a record pool, for every scheme; a multiple of every record's tokens. */
export const PAGE_TOKENS = 64;

/**
 * Distances that the rotary table has one by one; what lies behind a sliding window is given up in
 * multiples of it, and coded tiles begin at one.
 */
export const NEAR_TOKENS = 2 * PAGE_TOKENS;

/**
 * Pages of a coded tile: an invocation scores a token of each, so that a query it loads serves as
 * many keys.
 */
export const MAX_SPAN = 8;

/**
 * Fewest pages of a coded tile: fewer leave no room in workgroup memory for the sums of a whole
 * workgroup.
 */
export const MIN_SPAN = 4;

/** Tokens of a tile of exact tokens that an invocation scores; there are few of them as a rule. */
export const EXACT_SPAN = 2;

/**
 * Query rows one attention workgroup serves: the components of a vector, and the GQA group of many
 * models.
 */
export const BLOCK_ROWS = 4;

/** Invocations of every cache kernel's workgroup. */
export const WORKGROUP_SIZE = 64;

/** Most sequences that may take part in one step. */
export const STEP_ENTRIES = 64;

/** Bytes of workgroup memory every WebGPU device offers. */
export const BASE_WORKGROUP_BYTES = 16384;

/**
 * Workgroups that the planner cuts one layer's attention into where nothing was measured and there
 * are tiles enough.
 */
export const TARGET_WORKGROUPS = 256;

/**
 * The numbers of workgroups that tuning weighs: no device tells how many it runs at a time. The
 * fewest keep two cores busy, the most a large GPU, where every processor runs several.
 */
export const TUNED_WORKGROUPS: readonly number[] = [16, 64, TARGET_WORKGROUPS, 1024, 4096];

/**
 * Entries of a table of q.centroid that one invocation computes, all of one group: tables have no
 * scheme of fewer centroids.
 */
export const TABLE_LANE_ENTRIES = 4;

/** Most tokens that an encoding lane compares with a centroid it has loaded. */
export const ENCODE_TOKENS = 8;
