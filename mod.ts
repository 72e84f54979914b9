/**
 * KV-cache compression for WebGPU.
 *
 * @module
 */
export * from "./src/errors.ts";
export * from "./src/scheme.ts";
export * from "./src/record_layout.ts";
export * from "./src/codebook.ts";
export * from "./src/cache_types.ts";
export * from "./src/safetensors.ts";
export * from "./src/reference/reference_cache.ts";
export * from "./src/reference/attention.ts";
export * from "./src/reference/rope.ts";
export { packRecords, unpackRecords } from "./src/reference/pack.ts";
