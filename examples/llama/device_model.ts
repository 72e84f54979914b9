import type { Allocation } from "./allocation.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { MatrixStorage } from "./kernels/common.ts";
import { type Matrix, uploadMatrix, uploadVector } from "./matrix.ts";
import type { Projection } from "./weights.ts";

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
  readonly feedForwardNorm: GPUBuffer;
  /** Gates, then ups, in one matrix: they read the same input. */
  readonly gateUp: DeviceProjection;
  readonly down: DeviceProjection;
}

/** A model's weights on the device. */
export interface DeviceModel {
  readonly embedding: Matrix;
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

  const embedding = uploadMatrix(allocation, [weights.embedding], storage);
  return {
    embedding,
    layers: weights.layers.map((layer): DeviceLayer => ({
      attentionNorm: uploadVector(allocation, [layer.attentionNorm]),
      query: project(layer.query),
      key: project(layer.key),
      value: project(layer.value),
      ...(layer.queryNorm ? { queryNorm: uploadVector(allocation, [layer.queryNorm]) } : {}),
      ...(layer.keyNorm ? { keyNorm: uploadVector(allocation, [layer.keyNorm]) } : {}),
      output: project(layer.output),
      feedForwardNorm: uploadVector(allocation, [layer.feedForwardNorm]),
      gateUp: project(layer.gate, layer.up),
      down: project(layer.down),
    })),
    finalNorm: uploadVector(allocation, [weights.finalNorm]),
    head: config.tiedEmbeddings ? embedding : uploadMatrix(allocation, [weights.head], storage),
  };
}
