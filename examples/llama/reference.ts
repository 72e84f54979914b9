import type { Checkpoint } from "./checkpoint.ts";
import type { LlamaConfig } from "./config.ts";
import { type Projection, type Weight, weightValues } from "./weights.ts";

/** What one sequence's forward pass computes, all in float64. */
export interface ReferenceForward {
  /** `[tokens][vocabularySize]`. */
  readonly logits: Float64Array;
  /** `[tokens - 1]`, natural logarithm: position i predicts token i + 1. */
  readonly losses: Float64Array;
  /** Per layer `[tokens][queryHeads][headDim]`, before the rotary embedding. */
  readonly queries: readonly Float64Array[];
  /** Per layer `[tokens][keyValueHeads][headDim]`, before the rotary embedding. */
  readonly keys: readonly Float64Array[];
  /** Per layer `[tokens][keyValueHeads][headDim]`. */
  readonly values: readonly Float64Array[];
}

/** One layer's queries, keys and values of some tokens, `[tokens][heads][headDim]` each. */
export interface LayerVectors {
  /** Before the rotary embedding. */
  readonly queries: Float64Array;
  /** Before the rotary embedding. */
  readonly keys: Float64Array;
  readonly values: Float64Array;
}

/**
 * The whole model on the CPU in float64, written to be read: the oracle of the engine's tests.
 * Attention is exact and dense.
 *
 * @param change May alter each layer's keys and values before they are attended to.
 */
export function referenceForward(
  checkpoint: Pick<Checkpoint, "config" | "weights">,
  tokenIds: readonly number[],
  change?: (layer: number, kind: "keys" | "values", vectors: Float64Array) => void,
): ReferenceForward {
  const { config } = checkpoint;
  const tokens = tokenIds.length;
  const layers: LayerVectors[] = [];
  const logits = referenceNetwork(
    checkpoint,
    embedTokens(checkpoint, tokenIds),
    (layer, vectors) => {
      const { queries, keys, values } = vectors;
      change?.(layer, "keys", keys);
      change?.(layer, "values", values);
      layers.push(vectors);
      return attendDensely(config, queries, keys, values);
    },
  );
  const losses = new Float64Array(Math.max(0, tokens - 1));
  const { vocabularySize } = config;
  for (let t = 0; t + 1 < tokens; t++) {
    const row = logits.subarray(t * vocabularySize, (t + 1) * vocabularySize);
    losses[t] = logSumExp(row) - row[tokenIds[t + 1]!]!;
  }
  return {
    logits,
    losses,
    queries: layers.map(({ queries }) => queries),
    keys: layers.map(({ keys }) => keys),
    values: layers.map(({ values }) => values),
  };
}

/** Rows of the embedding, `[tokens][hiddenSize]`. */
export function embedTokens(
  { config: { hiddenSize }, weights }: Pick<Checkpoint, "config" | "weights">,
  tokenIds: readonly number[],
): Float64Array<ArrayBuffer> {
  const embedding = weightValues(weights.embedding);
  const rows = new Float64Array(tokenIds.length * hiddenSize);
  tokenIds.forEach((id, t) => {
    rows.set(embedding.subarray(id * hiddenSize, (id + 1) * hiddenSize), t * hiddenSize);
  });
  return rows;
}

/**
 * The model on the CPU in float64 but for its attention.
 *
 * @param embedded `[tokens][hiddenSize]`: tokens' embeddings, or what stands in their place.
 * @param attend Attention of one layer, `[tokens][queryHeads][headDim]`; layers come in order.
 * @returns Logits, `[tokens][vocabularySize]`.
 */
export function referenceNetwork(
  { config, weights }: Pick<Checkpoint, "config" | "weights">,
  embedded: Float64Array,
  attend: (layer: number, vectors: LayerVectors) => Float64Array,
): Float64Array {
  const { hiddenSize, intermediateSize, headDim, normEpsilon } = config;
  const hidden = embedded.slice();
  const tokens = hidden.length / hiddenSize;
  weights.layers.forEach((layer, index) => {
    const normed = rmsNorm(hidden, layer.attentionNorm, hiddenSize, normEpsilon);
    let queries = project(normed, layer.query);
    let keys = project(normed, layer.key);
    const values = project(normed, layer.value);
    if (layer.queryNorm) queries = rmsNorm(queries, layer.queryNorm, headDim, normEpsilon);
    if (layer.keyNorm) keys = rmsNorm(keys, layer.keyNorm, headDim, normEpsilon);
    add(hidden, project(attend(index, { queries, keys, values }), layer.output));

    const inner = rmsNorm(hidden, layer.feedForwardNorm, hiddenSize, normEpsilon);
    const gate = project(inner, layer.gate);
    const up = project(inner, layer.up);
    const product = new Float64Array(tokens * intermediateSize);
    for (let i = 0; i < product.length; i++) {
      product[i] = gate[i]! / (1 + Math.exp(-gate[i]!)) * up[i]!;
    }
    add(hidden, project(product, layer.down));
  });
  const last = rmsNorm(hidden, weights.finalNorm, hiddenSize, normEpsilon);
  return project(last, { weight: weights.head });
}

/** `log(sum(exp(row)))`. */
export function logSumExp(row: ArrayLike<number>): number {
  let max = -Infinity;
  for (let i = 0; i < row.length; i++) max = Math.max(max, row[i]!);
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp(row[i]! - max);
  return max + Math.log(sum);
}

/** `x W^T + b` for every row of `x`. */
export function project(x: Float64Array, { weight, bias }: Projection): Float64Array {
  const [outputs, inputs] = [weight.shape[0]!, weight.shape[1]!];
  const matrix = weightValues(weight);
  const offsets = bias === undefined ? undefined : weightValues(bias);
  const rows = x.length / inputs;
  const y = new Float64Array(rows * outputs);
  // Four rows at a time, whose sums do not wait for each other: twice as fast. The last row may come again.
  for (let first = 0; first < rows; first += 4) {
    const [r0, r1, r2, r3] = [0, 1, 2, 3].map((i) => Math.min(first + i, rows - 1)) as Four;
    const [x0, x1, x2, x3] = [r0 * inputs, r1 * inputs, r2 * inputs, r3 * inputs];
    for (let o = 0; o < outputs; o++) {
      const start = o * inputs;
      let [y0, y1, y2, y3] = new Array<number>(4).fill(
        offsets === undefined ? 0 : offsets[o]!,
      ) as Four;
      for (let i = 0; i < inputs; i++) {
        const factor = matrix[start + i]!;
        y0 += x[x0 + i]! * factor;
        y1 += x[x1 + i]! * factor;
        y2 += x[x2 + i]! * factor;
        y3 += x[x3 + i]! * factor;
      }
      y[r0 * outputs + o] = y0;
      y[r1 * outputs + o] = y1;
      y[r2 * outputs + o] = y2;
      y[r3 * outputs + o] = y3;
    }
  }
  return y;
}

type Four = [number, number, number, number];

/** RMSNorm of every `width` channels. */
function rmsNorm(x: Float64Array, weight: Weight, width: number, epsilon: number): Float64Array {
  const gain = weightValues(weight);
  const y = new Float64Array(x.length);
  for (let start = 0; start < x.length; start += width) {
    let squares = 0;
    for (let i = 0; i < width; i++) squares += x[start + i]! ** 2;
    const factor = 1 / Math.sqrt(squares / width + epsilon);
    for (let i = 0; i < width; i++) y[start + i] = x[start + i]! * factor * gain[i]!;
  }
  return y;
}

/** Dense causal attention; rotates queries and keys by their positions. */
export function attendDensely(
  config: LlamaConfig,
  query: Float64Array,
  key: Float64Array,
  value: Float64Array,
): Float64Array {
  const { queryHeads, keyValueHeads, headDim } = config;
  const tokens = query.length / (queryHeads * headDim);
  const rotatedQuery = rotate(query, queryHeads, config);
  const rotatedKey = rotate(key, keyValueHeads, config);
  const output = new Float64Array(tokens * queryHeads * headDim);
  for (let t = 0; t < tokens; t++) {
    for (let h = 0; h < queryHeads; h++) {
      const kvHead = Math.floor(h * keyValueHeads / queryHeads);
      const q = (t * queryHeads + h) * headDim;
      const scores = new Float64Array(t + 1);
      for (let j = 0; j <= t; j++) {
        const k = (j * keyValueHeads + kvHead) * headDim;
        let dot = 0;
        for (let d = 0; d < headDim; d++) dot += rotatedQuery[q + d]! * rotatedKey[k + d]!;
        scores[j] = dot / Math.sqrt(headDim);
      }
      const total = logSumExp(scores);
      for (let j = 0; j <= t; j++) {
        const share = Math.exp(scores[j]! - total);
        const v = (j * keyValueHeads + kvHead) * headDim;
        for (let d = 0; d < headDim; d++) output[q + d]! += share * value[v + d]!;
      }
    }
  }
  return output;
}

/** The rotary embedding in Hugging Face's layout: channel i turns with channel i + headDim / 2. */
function rotate(x: Float64Array, heads: number, config: LlamaConfig): Float64Array {
  const { headDim, inverseFrequencies } = config;
  const half = headDim / 2;
  const y = new Float64Array(x.length);
  for (let row = 0; row * headDim < x.length; row++) {
    const position = Math.floor(row / heads);
    for (let i = 0; i < half; i++) {
      const angle = position * inverseFrequencies[i]!;
      const [a, b] = [x[row * headDim + i]!, x[row * headDim + half + i]!];
      y[row * headDim + i] = a * Math.cos(angle) - b * Math.sin(angle);
      y[row * headDim + half + i] = b * Math.cos(angle) + a * Math.sin(angle);
    }
  }
  return y;
}

function add(target: Float64Array, summand: Float64Array): void {
  for (let i = 0; i < target.length; i++) target[i]! += summand[i]!;
}
