/**
 * A Llama checkpoint as the ONNX model that Hugging Face's exporter makes of it: `input_ids`,
 * `attention_mask`, `position_ids` and `past_key_values.N.key|value` in, `logits` and
 * `present.N.key|value` out, float32, one sequence.
 *
 * Attention is written out in standard operators, so that it runs on any WebGPU adapter: real
 * exports have `GroupQueryAttention`, with the same tensors around it.
 *
 * @module
 */
import type { Checkpoint, LayerWeights, ModelConfig, Weight } from "../../engine/mod.ts";
import { onlyBlock } from "../../engine/feed_forward_weights.ts";
import { onlyRope } from "../../engine/layer_ropes.ts";
import { requirePlainNetwork } from "../../engine/plain_network.ts";
import { weightValues } from "../../engine/weight.ts";
import { Graph } from "./graph.ts";

/** A score no softmax sees. */
const MASKED = -1e9;

/**
 * Writes a checkpoint of model type `llama` as an ONNX file.
 *
 * Keys in the cache are rotated: a cache takes them `{ space: "as-scored" }`.
 */
export function exportLlama({ config, weights }: Checkpoint): Uint8Array<ArrayBuffer> {
  if (config.modelType !== "llama" || config.attentionBias || config.feedForwardBias) {
    throw new TypeError(`This export writes models of type llama without biases`);
  }
  requirePlainNetwork(config, "Cannot export the model");
  const graph = new Graph();
  const ids = graph.input("input_ids", "int64", [1, "tokens"]);
  const mask = graph.input("attention_mask", "int64", [1, "total"]);
  const positions = graph.input("position_ids", "int64", [1, "tokens"]);

  const rotary = rotaryTables(graph, config, positions);
  const bias = causalBias(graph, config, positions, mask);
  const { vocabularySize, hiddenSize } = config;
  const embedding = graph.floats(
    "embedding",
    [vocabularySize, hiddenSize],
    weightValues(weights.embedding),
  );
  let hidden = graph.node("Gather", "embedded", [embedding, ids], { axis: 0 });
  weights.layers.forEach((layer, index) => {
    const normed = rmsNorm(graph, config, hidden, layer.attentionNorm, `${index}.attention_norm`);
    const mixed = attention(graph, config, normed, layer, index, rotary, bias);
    const residual = graph.node("Add", `${index}.attended`, [hidden, mixed]);
    const inner = rmsNorm(graph, config, residual, layer.feedForwardNorm, `${index}.feed_norm`);
    const fed = feedForward(graph, inner, layer, index);
    hidden = graph.node("Add", `${index}.hidden`, [residual, fed]);
  });
  const last = rmsNorm(graph, config, hidden, weights.finalNorm, "final_norm");
  project(graph, last, weights.head, "logits");
  graph.output("logits", "float32", [1, "tokens", vocabularySize]);
  return graph.encode("llama");
}

/** `x W^T`, with the weight transposed here, as MatMul wants it. */
function project(graph: Graph, x: string, weight: Weight, name: string): string {
  const [outputs, inputs] = weight.shape as [number, number];
  const values = weightValues(weight);
  const transposed = new Float32Array(values.length);
  for (let row = 0; row < outputs; row++) {
    for (let column = 0; column < inputs; column++) {
      transposed[column * outputs + row] = values[row * inputs + column]!;
    }
  }
  const matrix = graph.floats(`${name}.weight`, [inputs, outputs], transposed);
  return graph.node("MatMul", name, [x, matrix]);
}

function rmsNorm(
  graph: Graph,
  { normEpsilon }: ModelConfig,
  x: string,
  weight: Weight,
  name: string,
): string {
  const square = graph.node("Mul", `${name}.square`, [x, x]);
  const mean = graph.node("ReduceMean", `${name}.mean`, [square], { axes: [-1], keepdims: 1 });
  const epsilon = graph.floats(`${name}.epsilon`, [], Float32Array.of(normEpsilon));
  const size = graph.node("Sqrt", `${name}.size`, [
    graph.node("Add", `${name}.mean_epsilon`, [mean, epsilon]),
  ]);
  const scaled = graph.node("Div", `${name}.unit`, [x, size]);
  return graph.node("Mul", name, [
    scaled,
    graph.floats(`${name}.weight`, weight.shape, weightValues(weight)),
  ]);
}

interface Rotary {
  readonly cosine: string;
  readonly sine: string;
}

/** Cosines and sines `[1, 1, tokens, headDim]` of the tokens' positions. */
function rotaryTables(graph: Graph, config: ModelConfig, positions: string): Rotary {
  const { maxPositions, headDim } = config;
  const { frequencies } = onlyRope(config);
  const table = (name: string, of: (angle: number) => number): string => {
    const values = Float32Array.from({ length: maxPositions * headDim }, (_, i) => {
      const frequency = frequencies[(i % headDim) % (headDim / 2)]!;
      return of(Math.floor(i / headDim) * frequency);
    });
    const all = graph.floats(`${name}.table`, [maxPositions, headDim], values);
    const rows = graph.node("Gather", `${name}.rows`, [all, positions], { axis: 0 });
    return graph.node("Unsqueeze", name, [rows, graph.indices(1)]);
  };
  return { cosine: table("cosine", Math.cos), sine: table("sine", Math.sin) };
}

/** 0 where a token sees another, `[1, 1, tokens, total]`. */
function causalBias(
  graph: Graph,
  { maxPositions }: ModelConfig,
  positions: string,
  mask: string,
): string {
  const total = graph.node("Slice", "total", [
    graph.node("Shape", "mask_shape", [mask]),
    graph.indices(1),
    graph.indices(2),
  ]);
  const all = graph.indices(...Array.from({ length: maxPositions }, (_, i) => i));
  const seen = graph.node("Slice", "key_positions", [all, graph.indices(0), total]);
  const own = graph.node("Unsqueeze", "query_positions", [positions, graph.indices(2)]);
  const causal = graph.node("GreaterOrEqual", "causal", [own, seen]);
  const present = graph.node("Cast", "present_mask", [
    graph.node("Unsqueeze", "mask_rows", [mask, graph.indices(1)]),
  ], { to: 9 });
  const visible = graph.node("And", "visible", [causal, present]);
  const bias = graph.node("Where", "bias_rows", [
    visible,
    graph.floats("zero", [], Float32Array.of(0)),
    graph.floats("masked", [], Float32Array.of(MASKED)),
  ]);
  return graph.node("Unsqueeze", "bias", [bias, graph.indices(1)]);
}

function attention(
  graph: Graph,
  config: ModelConfig,
  x: string,
  layer: LayerWeights,
  index: number,
  rotary: Rotary,
  bias: string,
): string {
  const { queryHeads, keyValueHeads, headDim, hiddenSize } = config;
  const group = queryHeads / keyValueHeads;
  const heads = (name: string, weight: Weight, count: number): string => {
    const all = project(graph, x, weight, `${index}.${name}.projected`);
    const split = graph.node("Reshape", `${index}.${name}.split`, [
      all,
      graph.indices(1, -1, count, headDim),
    ]);
    return graph.node("Transpose", `${index}.${name}.heads`, [split], { perm: [0, 2, 1, 3] });
  };
  const rotate = (vectors: string): string => {
    const half = (from: number, to: number) =>
      graph.node("Slice", `${vectors}.from_${from}`, [
        vectors,
        graph.indices(from),
        graph.indices(to),
        graph.indices(3),
      ]);
    const low = half(0, headDim / 2);
    const high = graph.node("Neg", `${vectors}.negated`, [half(headDim / 2, headDim)]);
    const turned = graph.node("Concat", `${vectors}.turned`, [high, low], { axis: 3 });
    return graph.node("Add", `${vectors}.rotated`, [
      graph.node("Mul", `${vectors}.by_cosine`, [vectors, rotary.cosine]),
      graph.node("Mul", `${vectors}.by_sine`, [turned, rotary.sine]),
    ]);
  };
  const cached = (side: "key" | "value", vectors: string): string => {
    const past = graph.input(`past_key_values.${index}.${side}`, "float32", [
      1,
      keyValueHeads,
      "past",
      headDim,
    ]);
    const present = graph.node("Concat", `present.${index}.${side}`, [past, vectors], { axis: 2 });
    graph.output(present, "float32", [1, keyValueHeads, "total", headDim]);
    return present;
  };
  const queries = rotate(heads("query", layer.query.weight, queryHeads));
  const keys = cached("key", rotate(heads("key", layer.key.weight, keyValueHeads)));
  const values = cached("value", heads("value", layer.value.weight, keyValueHeads));

  // The query heads that share a KV head are rows of one matrix product.
  const grouped = (name: string, of: string, shape: readonly number[]) =>
    graph.node("Reshape", `${index}.${name}`, [of, graph.indices(...shape)]);
  const rows = grouped("query_rows", queries, [1, keyValueHeads, -1, headDim]);
  const keyColumns = graph.node("Transpose", `${index}.key_columns`, [keys], {
    perm: [0, 1, 3, 2],
  });
  const products = graph.node("MatMul", `${index}.products`, [rows, keyColumns]);
  const scale = graph.floats(`${index}.scale`, [], Float32Array.of(headDim ** -0.5));
  const scaled = graph.node("Mul", `${index}.scaled`, [products, scale]);
  // [1, KV heads, group * tokens, total] as [KV heads, group, tokens, total], for the bias of each token.
  const tokens = graph.node("Slice", `${index}.tokens`, [
    graph.node("Shape", `${index}.query_shape`, [queries]),
    graph.indices(2),
    graph.indices(3),
  ]);
  const byToken = graph.node("Concat", `${index}.score_shape`, [
    graph.indices(keyValueHeads, group),
    tokens,
    graph.indices(-1),
  ], { axis: 0 });
  const scores = graph.node("Add", `${index}.scores`, [
    graph.node("Reshape", `${index}.scaled_by_token`, [scaled, byToken]),
    bias,
  ]);
  const shares = graph.node("Softmax", `${index}.shares`, [scores], { axis: 3 });
  const total = graph.node("Slice", `${index}.total`, [
    graph.node("Shape", `${index}.key_shape`, [keys]),
    graph.indices(2),
    graph.indices(3),
  ]);
  const byRow = graph.node("Concat", `${index}.share_shape`, [
    graph.indices(1, keyValueHeads, -1),
    total,
  ], { axis: 0 });
  const mixed = graph.node("MatMul", `${index}.mixed`, [
    graph.node("Reshape", `${index}.share_rows`, [shares, byRow]),
    values,
  ]);
  const byHead = graph.node("Concat", `${index}.mixed_shape`, [
    graph.indices(1, queryHeads),
    tokens,
    graph.indices(headDim),
  ], { axis: 0 });
  const perHead = graph.node("Reshape", `${index}.mixed_heads`, [mixed, byHead]);
  const perToken = graph.node("Transpose", `${index}.mixed_tokens`, [perHead], {
    perm: [0, 2, 1, 3],
  });
  const joined = graph.node("Reshape", `${index}.joined`, [
    perToken,
    graph.indices(1, -1, hiddenSize),
  ]);
  return project(graph, joined, layer.output.weight, `${index}.attention_output`);
}

function feedForward(graph: Graph, x: string, layer: LayerWeights, index: number): string {
  const block = onlyBlock(layer.feedForward);
  const gate = project(graph, x, block.gate.weight, `${index}.gate`);
  const swish = graph.node("Mul", `${index}.swish`, [
    gate,
    graph.node("Sigmoid", `${index}.sigmoid`, [gate]),
  ]);
  const up = project(graph, x, block.up.weight, `${index}.up`);
  const inner = graph.node("Mul", `${index}.inner`, [swish, up]);
  return project(graph, inner, block.down.weight, `${index}.down`);
}
