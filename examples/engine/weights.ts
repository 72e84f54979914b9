import { CoupletError, type SafetensorsTensor } from "@couplet/kv";
import type { ModelConfig } from "./config.ts";
import {
  COLLECT_FEED_FORWARD,
  type ExpertsWeights,
  type FeedForwardWeights,
  type TensorFinder,
} from "./feed_forward_weights.ts";
import {
  checkBytes,
  checkWeight,
  float32Weight,
  type Projection,
  type Weight,
  weightValues,
} from "./weight.ts";

/** One decoder layer's weights. */
export interface LayerWeights {
  readonly attentionNorm: Weight;
  readonly query: Projection;
  readonly key: Projection;
  readonly value: Projection;
  /** `[headDim]`, of families that norm queries and keys. */
  readonly queryNorm?: Weight;
  /** `[headDim]`, likewise. */
  readonly keyNorm?: Weight;
  /** `[queryHeads]`: learned logits beside each head's scores. */
  readonly sinkLogits?: Weight;
  readonly output: Projection;
  /** Of the attention's output, in families that norm it. */
  readonly attentionOutputNorm?: Weight;
  readonly feedForwardNorm: Weight;
  readonly feedForward: FeedForwardWeights | ExpertsWeights;
  /** Of the feed-forward block's output, in families that norm it. */
  readonly feedForwardOutputNorm?: Weight;
}

/** All weights of a model, under the engine's own names. Norms are what they multiply by. */
export interface ModelWeights {
  /** `[vocabularySize][hiddenSize]`. */
  readonly embedding: Weight;
  /**
   * What embeddings are multiplied by: in Gemma the root of their width, which the published code
   * rounds to their element type.
   */
  readonly embeddingScale: number;
  readonly layers: readonly LayerWeights[];
  readonly finalNorm: Weight;
  /** `[vocabularySize][hiddenSize]`; the embedding itself where the two are tied. */
  readonly head: Weight;
}

/** Tensors that some checkpoints carry and nobody needs. */
const IGNORED = /(^|\.)rotary_emb\.inv_freq$/;

/**
 * Finds every weight of the model among a checkpoint's tensors.
 *
 * A tensor that is left over is an error too: a bias or norm that were silently not applied would
 * give plausible, wrong numbers.
 *
 * @throws {CoupletError} `file` where weights are missing, left over or of a type that cannot be read;
 * `shape` where a shape differs from what config.json says.
 */
export function collectWeights(
  config: ModelConfig,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
): ModelWeights {
  const used = new Set<string>();
  const missing: string[] = [];

  function take(name: string, ...shape: number[]): Weight {
    used.add(name);
    const tensor = tensors.get(name);
    if (tensor === undefined) {
      missing.push(name);
      return { name, dtype: "F32", shape, data: new Uint8Array() };
    }
    return checkWeight(name, tensor, shape);
  }

  function takeBytes(name: string, ...shape: number[]): Uint8Array {
    used.add(name);
    const tensor = tensors.get(name);
    if (tensor !== undefined) return checkBytes(name, tensor, shape);
    missing.push(name);
    return new Uint8Array();
  }

  function project(name: string, outputs: number, inputs: number, bias: boolean): Projection {
    const weight = take(`${name}.weight`, outputs, inputs);
    return bias ? { weight, bias: take(`${name}.bias`, outputs) } : { weight };
  }

  const finder: TensorFinder = { has: (name) => tensors.has(name), take, takeBytes, project };

  /** What a norm multiplies by. */
  function gain(name: string, width: number): Weight {
    const weight = take(`${name}.weight`, width);
    if (recipe.gainsFromOne !== true) return weight;
    return float32Weight(weight, weightValues(weight).map((value) => 1 + value));
  }

  const { recipe, hiddenSize, headDim } = config;
  const { norms } = recipe;
  const queryWidth = config.queryHeads * headDim;
  const keyWidth = config.keyValueHeads * headDim;
  const bias = config.attentionBias;
  const embedding = take("model.embed_tokens.weight", config.vocabularySize, hiddenSize);
  const layers = Array.from({ length: config.layers }, (_, i): LayerWeights => {
    const layer = `model.layers.${i}`;
    const attention = `${layer}.self_attn`;
    return {
      attentionNorm: gain(`${layer}.${norms.attention}`, hiddenSize),
      query: project(`${attention}.q_proj`, queryWidth, hiddenSize, bias),
      key: project(`${attention}.k_proj`, keyWidth, hiddenSize, bias),
      value: project(`${attention}.v_proj`, keyWidth, hiddenSize, bias),
      ...(recipe.queryKeyNorm
        ? {
          queryNorm: gain(`${attention}.q_norm`, headDim),
          keyNorm: gain(`${attention}.k_norm`, headDim),
        }
        : {}),
      ...(config.learnedSinks ? { sinkLogits: take(`${attention}.sinks`, config.queryHeads) } : {}),
      output: project(`${attention}.o_proj`, hiddenSize, queryWidth, config.attentionOutputBias),
      ...(norms.attentionOutput
        ? { attentionOutputNorm: gain(`${layer}.${norms.attentionOutput}`, hiddenSize) }
        : {}),
      feedForwardNorm: gain(`${layer}.${norms.feedForward}`, hiddenSize),
      feedForward: COLLECT_FEED_FORWARD[recipe.feedForward](finder, layer, config),
      ...(norms.feedForwardOutput
        ? { feedForwardOutputNorm: gain(`${layer}.${norms.feedForwardOutput}`, hiddenSize) }
        : {}),
    };
  });
  const finalNorm = gain("model.norm", hiddenSize);
  // A tied checkpoint may still carry a copy of the embedding under the head's name.
  if (config.tiedEmbeddings) used.add("lm_head.weight");
  const head = config.tiedEmbeddings
    ? embedding
    : take("lm_head.weight", config.vocabularySize, hiddenSize);

  if (missing.length > 0) {
    throw new CoupletError("file", {
      what: "The checkpoint is incomplete",
      why: `it lacks ${listed(missing)}`,
      remedy: "Check that all safetensors files are there and belong to config.json",
    });
  }
  const left = [...tensors.keys()].filter((name) => !used.has(name) && !IGNORED.test(name));
  if (left.length > 0) {
    throw new CoupletError("file", {
      what: "The checkpoint holds weights this engine would not use",
      why: `config.json gives no place to ${listed(left)}`,
      remedy: "Check that config.json belongs to the checkpoint",
    });
  }
  const embeddingScale = recipe.scaledEmbeddings ? rounded(hiddenSize ** 0.5, embedding) : 1;
  return { embedding, embeddingScale, layers, finalNorm, head };
}

/** A number as an element of a weight's type. */
function rounded(value: number, { dtype }: Weight): number {
  if (dtype === "F16") return new Float16Array([value])[0]!;
  if (dtype === "F32") return Math.fround(value);
  const bits = new Uint32Array(Float32Array.of(value).buffer);
  // To the nearest, and to even where two are near.
  bits[0]! += 0x7fff + (bits[0]! >>> 16 & 1);
  bits[0]! &= 0xffff0000;
  return new Float32Array(bits.buffer)[0]!;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 4).join(", ");
  return names.length > 4 ? `${shown} and ${names.length - 4} more` : shown;
}
