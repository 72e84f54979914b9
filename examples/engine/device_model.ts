import type { Allocation } from "./allocation.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { MatrixStorage } from "./kernels/common.ts";
import { type Matrix, uploadMatrix, uploadVector } from "./matrix.ts";
import { allBlocks } from "./feed_forward_weights.ts";
import type { Projection, Weight } from "./weight.ts";

/** `y = x W^T + b` on the device. */
export interface DeviceProjection {
  readonly matrix: Matrix;
  readonly bias?: GPUBuffer;
}

/** One decoder layer on the device. */
export interface DeviceLayer {
  readonly attentionNorm: GPUBuffer;
  readonly query: DeviceProjection;
  readonly key: DeviceProjection;
  readonly value: DeviceProjection;
  readonly queryNorm?: GPUBuffer;
  readonly keyNorm?: GPUBuffer;
  readonly output: DeviceProjection;
  readonly attentionOutputNorm?: GPUBuffer;
  readonly feedForwardNorm: GPUBuffer;
  /** Scores the experts, where there are some. */
  readonly router?: DeviceProjection;
  /**
   * Gates, then ups, in one matrix: they read the same input. Those of all experts lie one after the
   * other, and so do their downs.
   */
  readonly gateUp: DeviceProjection;
  readonly down: DeviceProjection;
  readonly feedForwardOutputNorm?: GPUBuffer;
}

/** A model's weights on the device. */
export interface DeviceModel {
  readonly embedding: Matrix;
  /** What its rows are multiplied by. */
  readonly embeddingScale: number;
  readonly layers: readonly DeviceLayer[];
  readonly finalNorm: GPUBuffer;
  readonly head: Matrix;
}

/** Brings all weights to the device. */
export function uploadModel(
  allocation: Allocation,
  { config, weights }: Pick<Checkpoint, "config" | "weights">,
  storage: MatrixStorage | "as-stored",
): DeviceModel {
  function project(...parts: Projection[]): DeviceProjection {
    const matrix = uploadMatrix(allocation, parts.map((part) => part.weight), storage);
    const biases = parts.flatMap((part) => part.bias ?? []);
    return biases.length > 0 ? { matrix, bias: uploadVector(allocation, biases) } : { matrix };
  }

  const vector = (weight: Weight) => uploadVector(allocation, [weight]);
  const embedding = uploadMatrix(allocation, [weights.embedding], storage);
  return {
    embedding,
    embeddingScale: weights.embeddingScale,
    layers: weights.layers.map((layer): DeviceLayer => {
      const blocks = allBlocks(layer.feedForward);
      return {
        attentionNorm: vector(layer.attentionNorm),
        query: project(layer.query),
        key: project(layer.key),
        value: project(layer.value),
        ...(layer.queryNorm ? { queryNorm: vector(layer.queryNorm) } : {}),
        ...(layer.keyNorm ? { keyNorm: vector(layer.keyNorm) } : {}),
        output: project(layer.output),
        ...(layer.attentionOutputNorm
          ? { attentionOutputNorm: vector(layer.attentionOutputNorm) }
          : {}),
        feedForwardNorm: vector(layer.feedForwardNorm),
        ...("experts" in layer.feedForward ? { router: project(layer.feedForward.router) } : {}),
        gateUp: project(...blocks.flatMap(({ gate, up }) => [gate, up])),
        down: project(...blocks.map(({ down }) => down)),
        ...(layer.feedForwardOutputNorm
          ? { feedForwardOutputNorm: vector(layer.feedForwardOutputNorm) }
          : {}),
      };
    }),
    finalNorm: vector(weights.finalNorm),
    head: config.tiedEmbeddings ? embedding : uploadMatrix(allocation, [weights.head], storage),
  };
}
