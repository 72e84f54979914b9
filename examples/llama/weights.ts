import { CoupletError, type SafetensorsTensor } from "@couplet/kv";
import type { LlamaConfig } from "./config.ts";

/** The element types weights may be stored in. */
export const WEIGHT_DTYPES = ["F32", "F16", "BF16"] as const;

/** A weight as the checkpoint holds it, its type and shape checked. */
export interface Weight {
  /** Name in the checkpoint. */
  readonly name: string;
  /** Element type of `data`. */
  readonly dtype: (typeof WEIGHT_DTYPES)[number];
  /** `[columns]` or `[rows][columns]`. */
  readonly shape: readonly number[];
  /** Little-endian elements. A view that need not be aligned. */
  readonly data: Uint8Array;
}

/** A projection `y = x W^T + b`. */
export interface Projection {
  /** `[outputs][inputs]`. */
  readonly weight: Weight;
  /** `[outputs]`. */
  readonly bias?: Weight;
}

/** One decoder layer's weights. */
export interface LayerWeights {
  readonly attentionNorm: Weight;
  readonly query: Projection;
  readonly key: Projection;
  readonly value: Projection;
  /** `[headDim]`, Qwen3 only. */
  readonly queryNorm?: Weight;
  /** `[headDim]`, Qwen3 only. */
  readonly keyNorm?: Weight;
  readonly output: Projection;
  readonly feedForwardNorm: Weight;
  readonly gate: Projection;
  readonly up: Projection;
  readonly down: Projection;
}

/** All weights of a model, under the engine's own names. */
export interface ModelWeights {
  /** `[vocabularySize][hiddenSize]`. */
  readonly embedding: Weight;
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
  config: LlamaConfig,
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

  function project(name: string, outputs: number, inputs: number, bias: boolean): Projection {
    const weight = take(`${name}.weight`, outputs, inputs);
    return bias ? { weight, bias: take(`${name}.bias`, outputs) } : { weight };
  }

  const { hiddenSize, intermediateSize, headDim } = config;
  const queryWidth = config.queryHeads * headDim;
  const keyWidth = config.keyValueHeads * headDim;
  const bias = config.attentionBias;
  const embedding = take("model.embed_tokens.weight", config.vocabularySize, hiddenSize);
  const layers = Array.from({ length: config.layers }, (_, i): LayerWeights => {
    const layer = `model.layers.${i}`;
    return {
      attentionNorm: take(`${layer}.input_layernorm.weight`, hiddenSize),
      query: project(`${layer}.self_attn.q_proj`, queryWidth, hiddenSize, bias),
      key: project(`${layer}.self_attn.k_proj`, keyWidth, hiddenSize, bias),
      value: project(`${layer}.self_attn.v_proj`, keyWidth, hiddenSize, bias),
      ...(config.queryKeyNorm
        ? {
          queryNorm: take(`${layer}.self_attn.q_norm.weight`, headDim),
          keyNorm: take(`${layer}.self_attn.k_norm.weight`, headDim),
        }
        : {}),
      output: project(
        `${layer}.self_attn.o_proj`,
        hiddenSize,
        queryWidth,
        config.attentionOutputBias,
      ),
      feedForwardNorm: take(`${layer}.post_attention_layernorm.weight`, hiddenSize),
      gate: project(
        `${layer}.mlp.gate_proj`,
        intermediateSize,
        hiddenSize,
        config.feedForwardBias,
      ),
      up: project(`${layer}.mlp.up_proj`, intermediateSize, hiddenSize, config.feedForwardBias),
      down: project(`${layer}.mlp.down_proj`, hiddenSize, intermediateSize, config.feedForwardBias),
    };
  });
  const finalNorm = take("model.norm.weight", hiddenSize);
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
  return { embedding, layers, finalNorm, head };
}

/**
 * A tensor as a weight.
 *
 * @throws {CoupletError} `file` where its type is none of {@linkcode WEIGHT_DTYPES}; `shape` where its
 * shape is another than that.
 */
export function checkWeight(
  name: string,
  tensor: SafetensorsTensor,
  shape: readonly number[],
): Weight {
  const dtype = WEIGHT_DTYPES.find((known) => known === tensor.dtype);
  if (dtype === undefined) {
    throw new CoupletError("file", {
      what: `Tensor "${name}" cannot be used`,
      why: `its type is ${tensor.dtype}`,
      remedy: `Store the weights as ${WEIGHT_DTYPES.join(", ")}`,
    });
  }
  if (tensor.shape.join() !== shape.join()) {
    throw new CoupletError("shape", {
      what: `Tensor "${name}" does not fit config.json`,
      why: `its shape is [${tensor.shape.join(", ")}] and config.json makes it [${
        shape.join(", ")
      }]`,
      remedy: "Check that config.json belongs to the checkpoint",
    });
  }
  return { name, dtype, shape, data: tensor.data };
}

/** A weight's values in float32, row-major. */
export function weightValues(weight: Weight): Float32Array<ArrayBuffer> {
  const count = weight.shape.reduce((product, length) => product * length, 1);
  const values = new Float32Array(count);
  if (weight.dtype === "F32") {
    new Uint8Array(values.buffer).set(weight.data);
    return values;
  }
  const bytes = weight.data.slice();
  if (weight.dtype === "F16") {
    values.set(new Float16Array(bytes.buffer));
  } else {
    // A bfloat16 is the upper half of a float32.
    const halves = new Uint16Array(bytes.buffer);
    const bits = new Uint32Array(values.buffer);
    for (let i = 0; i < count; i++) bits[i] = halves[i]! << 16;
  }
  return values;
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, 4).join(", ");
  return names.length > 4 ? `${shown} and ${names.length - 4} more` : shown;
}
