/**
 * A small engine for Hugging Face checkpoints on WebGPU, whose attention is the library's. It is an example of a host, and the one the library is evaluated with.
 *
 * @module
 */

export {
  type AttentionCache,
  layerKeys,
  modelCacheInit,
  type ModelCacheOptions,
  modelCacheOptions,
  type PlannedEngineOptions,
  plannedEngineOptions,
} from "./attention_cache.ts";
export { type Checkpoint, type ModelFiles, readCheckpoint } from "./checkpoint.ts";
export { checkContext } from "./check_context.ts";
export { type ModelConfig, parseConfig } from "./config.ts";
export { createEngine, type Engine } from "./engine.ts";
export type { EngineOptions } from "./engine_options.ts";
export type { EmbeddedTokens, ForwardEntry, KeptTokens, ReadOptions } from "./forward_entry.ts";
export type { ForwardResult } from "./forward_result.ts";
export { generate, type GeneratedToken, type GenerateOptions } from "./generate.ts";
export { loadConfig, loadModel } from "./load_model.ts";
export { type OpenedPrefix, openPrefix, type Prefix } from "./prefix.ts";
export { foldRotations, type RotateOptions, rotateValues } from "./rotate_values.ts";
export { type Completion, serve, type ServeOptions } from "./serve.ts";
export type { Tokenizer } from "./tokenizer.ts";
export { onlyRope } from "./layer_ropes.ts";
export { requirePlainNetwork } from "./plain_network.ts";
export { MODEL_TYPES, type ModelType } from "./recipes.ts";
export type { Projection, Weight } from "./weight.ts";
export type { LayerWeights, ModelWeights } from "./weights.ts";
