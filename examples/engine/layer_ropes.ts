/** The rotary embeddings of a model's layers. */
import { CoupletError } from "@couplet/kv";
import type { LayerRope, ModelConfig } from "./config.ts";

/** The embeddings of a model, each once, and which of them each layer has. */
export interface ModelRopes {
  readonly ropes: readonly LayerRope[];
  /** `[layers]`: index in `ropes`. */
  readonly ofLayer: readonly number[];
}

/** The embeddings of a model, each once. */
export function modelRopes({ attention }: ModelConfig): ModelRopes {
  const ropes = [...new Set(attention.map(({ rope }) => rope))];
  return { ropes, ofLayer: attention.map(({ rope }) => ropes.indexOf(rope)) };
}

/**
 * The embedding that all layers have.
 *
 * @throws {CoupletError} `usage` where layers differ, or keys and queries are multiplied besides.
 */
export function onlyRope(config: ModelConfig): LayerRope {
  const { ropes } = modelRopes(config);
  const { attentionFactor } = ropes[0]!;
  if (ropes.length === 1 && attentionFactor === 1) return ropes[0]!;
  throw new CoupletError("usage", {
    what: "Cannot rotate the model's keys and queries outside its cache",
    why: ropes.length > 1
      ? "its layers differ in their rotary embedding"
      : `its rotary embedding multiplies them by ${attentionFactor}`,
    remedy: "Use a model with one rotary embedding and no attention factor",
  });
}
