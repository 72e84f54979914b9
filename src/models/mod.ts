/**
 * Reads what a plan needs of a model from its Hugging Face `config.json`.
 *
 * ```ts
 * import { planCache } from "@couplet/kv";
 * import { kernels } from "@couplet/kv/kernels/c4b8_c8b8_d128";
 * import { planOptions } from "@couplet/kv/models";
 *
 * const config = {
 *   model_type: "llama",
 *   num_hidden_layers: 32,
 *   num_attention_heads: 32,
 *   num_key_value_heads: 8,
 *   hidden_size: 4096,
 *   rope_theta: 500000,
 * };
 * const { shape, keys, scale, softcap } = planOptions(config);
 * const plan = planCache({
 *   shape,
 *   keys,
 *   scale,
 *   softcap,
 *   policy: { keys: "c4b8", values: "c8b8" },
 *   tiers: { sinks: 4, window: 64 },
 *   capacity: {
 *     sequences: 1,
 *     tokens: 8192,
 *     sequenceTokens: 8192,
 *     stepTokens: 64,
 *     appendTokens: 64,
 *   },
 *   kernels,
 * });
 * console.log(plan.bytes.total);
 * ```
 *
 * [docs/models.md](../../docs/models.md) lists the families.
 *
 * @module
 */
export type {
  KeyOptions,
  KeySpace,
  ModelShape,
  RopeByLayer,
  RopeParameters,
} from "../model/model.ts";
export type { AttentionLayer, RopeFacts } from "./reading/facts.ts";
export { MODEL_TYPES } from "./families.ts";
export { type ModelPlanOptions, planOptions, type ReadingOptions } from "./plan_options.ts";
