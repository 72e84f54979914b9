/** Tokens in one page of a record pool, for every scheme; a multiple of every record's tokens. */
export const PAGE_TOKENS = 64;

/** Tokens an attention workgroup scores at once: two for each invocation, so that a query loaded serves two keys. */
export const TILE_TOKENS = 2 * PAGE_TOKENS;

/** Most query rows one attention workgroup serves: enough for the GQA groups of current models, and for reuse in prefill. */
export const BLOCK_ROWS = 8;

/** Invocations of every cache kernel's workgroup. */
export const WORKGROUP_SIZE = 64;

/** Most sequences that may take part in one step. */
export const STEP_ENTRIES = 64;

/** Bytes of workgroup memory every WebGPU device offers. */
export const BASE_WORKGROUP_BYTES = 16384;

/** Workgroups the planner cuts one layer's attention into where there are enough tokens: some for every core of a large GPU. */
export const TARGET_WORKGROUPS = 256;

/** Entries of a table of q.centroid that one invocation computes: with one byte a channel, they fill whole words. */
export const TABLE_LANE_ENTRIES = 4;

/** Most tokens that an encoding lane compares with a centroid it has loaded. */
export const ENCODE_TOKENS = 8;
