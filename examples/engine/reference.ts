import type { Checkpoint } from "./checkpoint.ts";
import type { LayerRope, ModelConfig } from "./config.ts";
import type { ExpertsWeights, FeedForwardWeights } from "./feed_forward_weights.ts";
import { type Projection, type Weight, weightValues } from "./weight.ts";

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
  const tokens = tokenIds.length;
  const layers: LayerVectors[] = [];
  const logits = referenceNetwork(
    checkpoint,
    embedTokens(checkpoint, tokenIds),
    (layer, vectors) => {
      change?.(layer, "keys", vectors.keys);
      change?.(layer, "values", vectors.values);
      layers.push(vectors);
      return attendDensely(checkpoint, layer, vectors);
    },
  );
  const losses = new Float64Array(Math.max(0, tokens - 1));
  const { vocabularySize } = checkpoint.config;
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

/** Rows of the embedding as the first layer gets them, `[tokens][hiddenSize]`. */
export function embedTokens(
  { config: { hiddenSize }, weights }: Pick<Checkpoint, "config" | "weights">,
  tokenIds: readonly number[],
): Float64Array<ArrayBuffer> {
  const embedding = weightValues(weights.embedding);
  const rows = new Float64Array(tokenIds.length * hiddenSize);
  tokenIds.forEach((id, t) => {
    rows.set(embedding.subarray(id * hiddenSize, (id + 1) * hiddenSize), t * hiddenSize);
  });
  return rows.map((x) => x * weights.embeddingScale);
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
  const { hiddenSize, headDim, normEpsilon, logitSoftcap } = config;
  const hidden = embedded.slice();
  const norm = (x: Float64Array, gain: Weight | undefined, width = hiddenSize) =>
    gain === undefined ? x : rmsNorm(x, gain, width, normEpsilon);
  weights.layers.forEach((layer, index) => {
    const normed = norm(hidden, layer.attentionNorm);
    const queries = norm(project(normed, layer.query), layer.queryNorm, headDim);
    const keys = norm(project(normed, layer.key), layer.keyNorm, headDim);
    const values = project(normed, layer.value);
    const attended = project(attend(index, { queries, keys, values }), layer.output);
    add(hidden, norm(attended, layer.attentionOutputNorm));

    const inner = norm(hidden, layer.feedForwardNorm);
    const { feedForward } = layer;
    const outputs = "experts" in feedForward
      ? someExperts(config, feedForward, inner)
      : oneBlock(config, feedForward, inner);
    add(hidden, norm(outputs, layer.feedForwardOutputNorm));
  });
  const logits = project(norm(hidden, weights.finalNorm), { weight: weights.head });
  return logitSoftcap === 0 ? logits : logits.map((x) => bounded(x, logitSoftcap));
}

/** A feed-forward block of rows of `hiddenSize`. */
function oneBlock(
  config: ModelConfig,
  { gate, up, down }: FeedForwardWeights,
  x: Float64Array,
): Float64Array {
  const gates = project(x, gate);
  const ups = project(x, up);
  return project(gates.map((one, i) => gated(config, one, ups[i]!)), down);
}

/** The sum of some experts' outputs, row by row. */
function someExperts(
  config: ModelConfig,
  { router, experts }: ExpertsWeights,
  x: Float64Array,
): Float64Array {
  const { hiddenSize } = config;
  const { count, perToken, normalized } = config.experts!;
  const scores = project(x, router);
  const y = new Float64Array(x.length);
  for (let row = 0; row * hiddenSize < x.length; row++) {
    const own = [...scores.subarray(row * count, (row + 1) * count)];
    const chosen = own.map((_, expert) => expert)
      .sort((a, b) => own[b]! - own[a]! || a - b)
      .slice(0, perToken);
    const total = logSumExp(normalized ? chosen.map((expert) => own[expert]!) : own);
    const start = row * hiddenSize;
    const input = x.slice(start, start + hiddenSize);
    for (const expert of chosen) {
      const share = Math.exp(own[expert]! - total);
      oneBlock(config, experts[expert]!, input).forEach((value, i) => {
        y[start + i]! += share * value;
      });
    }
  }
  return y;
}

/** What becomes of a gate and what it gates. */
function gated({ recipe, activationLimit }: ModelConfig, gate: number, up: number): number {
  switch (recipe.activation) {
    case "silu":
      return gate / (1 + Math.exp(-gate)) * up;
    case "gelu tanh":
      return gate / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (gate + 0.044715 * gate ** 3))) *
        up;
    case "clamped silu": {
      const low = Math.min(gate, activationLimit);
      const within = Math.min(activationLimit, Math.max(-activationLimit, up));
      return low / (1 + Math.exp(-1.702 * low)) * (within + 1);
    }
  }
}

/** `bound * tanh(x / bound)`. */
function bounded(x: number, bound: number): number {
  return bound * Math.tanh(x / bound);
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

/** Dense causal attention of one layer; rotates queries and keys by their positions. */
export function attendDensely(
  { config, weights }: Pick<Checkpoint, "config" | "weights">,
  layer: number,
  { queries, keys, values }: LayerVectors,
): Float64Array {
  const { queryHeads, keyValueHeads, headDim, softcap } = config;
  const { rope, slidingWindow, scale } = config.attention[layer]!;
  const { sinkLogits } = weights.layers[layer]!;
  const sinks = sinkLogits && weightValues(sinkLogits);
  const tokens = queries.length / (queryHeads * headDim);
  const rotatedQueries = rotate(queries, queryHeads, headDim, rope);
  const rotatedKeys = rotate(keys, keyValueHeads, headDim, rope);
  const output = new Float64Array(tokens * queryHeads * headDim);
  for (let t = 0; t < tokens; t++) {
    const first = slidingWindow === 0 ? 0 : Math.max(0, t + 1 - slidingWindow);
    for (let h = 0; h < queryHeads; h++) {
      const kvHead = Math.floor(h * keyValueHeads / queryHeads);
      const q = (t * queryHeads + h) * headDim;
      const scores = new Float64Array(t + 1 - first);
      for (let j = first; j <= t; j++) {
        const k = (j * keyValueHeads + kvHead) * headDim;
        let dot = 0;
        for (let d = 0; d < headDim; d++) dot += rotatedQueries[q + d]! * rotatedKeys[k + d]!;
        scores[j - first] = softcap === 0 ? dot * scale : bounded(dot * scale, softcap);
      }
      const total = logSumExp(sinks === undefined ? scores : [...scores, sinks[h]!]);
      for (let j = first; j <= t; j++) {
        const share = Math.exp(scores[j - first]! - total);
        const v = (j * keyValueHeads + kvHead) * headDim;
        for (let d = 0; d < headDim; d++) output[q + d]! += share * values[v + d]!;
      }
    }
  }
  return output;
}

/** The rotary embedding in Hugging Face's layout: channel i turns with channel i + headDim / 2. */
function rotate(
  x: Float64Array,
  heads: number,
  headDim: number,
  { frequencies, attentionFactor }: LayerRope,
): Float64Array {
  const half = headDim / 2;
  const y = new Float64Array(x.length);
  for (let row = 0; row * headDim < x.length; row++) {
    const position = Math.floor(row / heads);
    for (let i = 0; i < half; i++) {
      const angle = position * frequencies[i]!;
      const cos = attentionFactor * Math.cos(angle);
      const sin = attentionFactor * Math.sin(angle);
      const [a, b] = [x[row * headDim + i]!, x[row * headDim + half + i]!];
      y[row * headDim + i] = a * cos - b * sin;
      y[row * headDim + half + i] = b * cos + a * sin;
    }
  }
  return y;
}

function add(target: Float64Array, summand: Float64Array): void {
  for (let i = 0; i < target.length; i++) target[i]! += summand[i]!;
}
