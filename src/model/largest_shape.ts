/**
 * How large a model's attention may be for the planner: far more than any model's, so that lists by
 * layer, KV head and channel stay short.
 */
export const LARGEST_SHAPE = { layers: 4096, queryHeads: 65536, headDim: 65536 } as const;
