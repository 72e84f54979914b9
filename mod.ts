/**
 * KV-cache compression for WebGPU.
 *
 * @module
 */
export * from "./src/errors.ts";
export * from "./src/scheme.ts";
export * from "./src/record_layout.ts";
export * from "./src/codebook.ts";
export * from "./src/safetensors.ts";
