/**
 * A small engine for Hugging Face checkpoints of the Llama family on WebGPU, whose attention is the
 * library's. It is an example of a host, and the one the library is evaluated with.
 *
 * @module
 */

export {
  type AttentionCache,
  type ModelCacheOptions,
  modelCacheOptions,
  type PlannedEngineOptions,
  plannedEngineOptions,
} from "./attention_cache.ts";
export { type Checkpoint, type ModelFiles, readCheckpoint } from "./checkpoint.ts";
export { type LlamaConfig, MODEL_TYPES, type ModelType, parseConfig } from "./config.ts";
export { createEngine, type Engine } from "./engine.ts";
export type { EngineOptions } from "./engine_options.ts";
export type { EmbeddedTokens, ForwardEntry, KeptTokens, ReadOptions } from "./forward_entry.ts";
export type { ForwardResult } from "./forward_result.ts";
export { generate, type GeneratedToken, type GenerateOptions } from "./generate.ts";
export { loadModel } from "./load_model.ts";
export { type OpenedPrefix, openPrefix, type Prefix } from "./prefix.ts";
export { foldRotations, type RotateOptions, rotateValues } from "./rotate_values.ts";
export { type Completion, serve, type ServeOptions } from "./serve.ts";
export type { Tokenizer } from "./tokenizer.ts";
export type { LayerWeights, ModelWeights, Projection, Weight } from "./weights.ts";
