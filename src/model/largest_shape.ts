/**
 * The largest attention that the planner accepts, far more than any model's. It bounds lists by
 * layer, KV head and channel.
 */
export const LARGEST_SHAPE = { layers: 4096, queryHeads: 65536, headDim: 65536 } as const;
