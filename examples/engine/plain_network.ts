/** Which networks tools can run that have a forward pass of their own. */
import { CoupletError } from "@couplet/kv";
import type { ModelConfig } from "./config.ts";
import { modelRopes } from "./layer_ropes.ts";

/**
 * Checks that a model is built as Llama is: one rotary embedding, full attention, norms of inputs alone,
 * and one feed-forward block a layer, gated by silu.
 *
 * @param what What cannot be done with another.
 * @throws {CoupletError} `usage` where it is not, with what differs.
 */
export function requirePlainNetwork(config: ModelConfig, what: string): void {
  const { recipe, attention, headDim } = config;
  const { ropes } = modelRopes(config);
  const differing = [
    [ropes.length > 1 || ropes[0]!.attentionFactor !== 1, "its rotary embedding"],
    [attention.some(({ slidingWindow }) => slidingWindow > 0), "sliding windows"],
    [attention.some(({ scale }) => scale !== headDim ** -0.5), "the scale of its scores"],
    [config.softcap > 0 || config.logitSoftcap > 0, "soft caps"],
    [config.learnedSinks, "learned sinks"],
    [recipe.norms.attentionOutput !== undefined, "norms of outputs"],
    [recipe.scaledEmbeddings === true, "scaled embeddings"],
    [recipe.activation !== "silu", "its activation"],
    [config.experts !== undefined, "experts"],
  ].flatMap(([differs, name]) => differs ? [name] : []);
  if (differing.length === 0) return;
  throw new CoupletError("usage", {
    what,
    why: `the model (${config.modelType}) differs from Llama in ${differing.join(", ")}`,
    remedy: "Use a model with Llama's network",
  });
}
