/**
 * The largest attention that the planner accepts, more than any model's. It bounds lists by layer,
 * KV head and channel, and the time that planning takes.
 */
export const LARGEST_SHAPE = { layers: 4096, queryHeads: 65536, headDim: 1024 } as const;
