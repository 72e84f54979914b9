/** Where the weights of feed-forward blocks are in checkpoints. */
import type { ModelConfig } from "./config.ts";
import { MXFP4_BYTES, MXFP4_GROUP } from "./mxfp4.ts";
import type { FeedForwardLayout } from "./recipes.ts";
import { float32Weight, type Projection, takeRows, type Weight, weightValues } from "./weight.ts";

/** A feed-forward block, or one expert of a layer. */
export interface FeedForwardWeights {
  readonly gate: Projection;
  readonly up: Projection;
  readonly down: Projection;
}

/** The feed-forward blocks of a layer of which a token goes through some. */
export interface ExpertsWeights {
  /** Scores the experts, `[experts][hiddenSize]`. */
  readonly router: Projection;
  readonly experts: readonly FeedForwardWeights[];
}

/**
 * The one block of a layer.
 *
 * @throws {TypeError} where there are experts.
 */
export function onlyBlock(found: FeedForwardWeights | ExpertsWeights): FeedForwardWeights {
  if ("experts" in found) throw new TypeError("The layer has experts");
  return found;
}

/** Every block of a layer. */
export function allBlocks(
  found: FeedForwardWeights | ExpertsWeights,
): readonly FeedForwardWeights[] {
  return "experts" in found ? found.experts : [found];
}

/** Finds tensors of a checkpoint by their names. */
export interface TensorFinder {
  /** Whether there is such a tensor. */
  has(name: string): boolean;
  /** A tensor of one of the types of weights. */
  take(name: string, ...shape: number[]): Weight;
  /** A tensor of bytes. */
  takeBytes(name: string, ...shape: number[]): Uint8Array;
  /** A matrix `[outputs][inputs]`, and its bias if it has one. */
  project(name: string, outputs: number, inputs: number, bias: boolean): Projection;
}

type Collect = (
  find: TensorFinder,
  layer: string,
  config: ModelConfig,
) => FeedForwardWeights | ExpertsWeights;

/** By layout. */
export const COLLECT_FEED_FORWARD: Readonly<Record<FeedForwardLayout, Collect>> = {
  "dense": (find, layer, config) => block(find, `${layer}.mlp`, config),
  "separate experts": (find, layer, config) => {
    const { count } = config.experts!;
    return {
      router: find.project(`${layer}.mlp.gate`, count, config.hiddenSize, false),
      experts: Array.from(
        { length: count },
        (_, expert) => block(find, `${layer}.mlp.experts.${expert}`, config),
      ),
    };
  },
  "packed experts": (find, layer, config) => {
    const { experts, hiddenSize, intermediateSize } = config;
    const { count } = experts!;
    const name = `${layer}.mlp.experts`;
    const gateUp = packed(find, `${name}.gate_up_proj`, count, 2 * intermediateSize, hiddenSize);
    const down = packed(find, `${name}.down_proj`, count, hiddenSize, intermediateSize);
    // Rows of gates and ups alternate.
    const half = (expert: number, odd: 0 | 1) =>
      rowsOf(gateUp, 2 * intermediateSize * expert + odd, 2, intermediateSize);
    return {
      router: find.project(`${layer}.mlp.router`, count, hiddenSize, true),
      experts: Array.from({ length: count }, (_, expert) => ({
        gate: half(expert, 0),
        up: half(expert, 1),
        down: rowsOf(down, hiddenSize * expert, 1, hiddenSize),
      })),
    };
  },
};

function block(
  find: TensorFinder,
  name: string,
  { hiddenSize, intermediateSize, feedForwardBias }: ModelConfig,
): FeedForwardWeights {
  return {
    gate: find.project(`${name}.gate_proj`, intermediateSize, hiddenSize, feedForwardBias),
    up: find.project(`${name}.up_proj`, intermediateSize, hiddenSize, feedForwardBias),
    down: find.project(`${name}.down_proj`, hiddenSize, intermediateSize, feedForwardBias),
  };
}

/**
 * The matrices of all experts, their outputs one after the other: in MXFP4 `[experts][outputs][inputs]`,
 * and otherwise transposed, `[experts][inputs][outputs]`.
 */
function packed(
  find: TensorFinder,
  name: string,
  experts: number,
  outputs: number,
  inputs: number,
): Required<Projection> {
  const bias = find.take(`${name}_bias`, experts, outputs);
  const all = { weight: { name, shape: [experts * outputs, inputs] } };
  const flatBias = { ...bias, shape: [experts * outputs] };
  if (find.has(name)) {
    const weight = find.take(name, experts, inputs, outputs);
    const values = transposeEach(weightValues(weight), experts, inputs, outputs);
    return {
      weight: float32Weight({ ...weight, ...all.weight }, values),
      bias: flatBias,
    };
  }
  const groups = inputs / MXFP4_GROUP;
  return {
    weight: {
      ...all.weight,
      dtype: "MXFP4",
      data: find.takeBytes(`${name}_blocks`, experts, outputs, groups, MXFP4_BYTES),
      scales: find.takeBytes(`${name}_scales`, experts, outputs, groups),
    },
    bias: flatBias,
  };
}

/** Each of `count` matrices of so many rows and columns, transposed. */
function transposeEach(
  values: Float32Array<ArrayBuffer>,
  count: number,
  rows: number,
  columns: number,
): Float32Array<ArrayBuffer> {
  const transposed = new Float32Array(values.length);
  let from = 0;
  for (let matrix = 0; matrix < count; matrix++) {
    const start = from;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, from++) {
        transposed[start + column * rows + row] = values[from]!;
      }
    }
  }
  return transposed;
}

function rowsOf(
  { weight, bias }: Required<Projection>,
  first: number,
  step: number,
  count: number,
): Projection {
  return {
    weight: takeRows(weight, first, step, count),
    bias: takeRows(bias, first, step, count),
  };
}
