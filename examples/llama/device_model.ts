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
  device: GPUDevice,
  { config, weights }: Checkpoint,
  storage: MatrixStorage | "as-stored",
): DeviceModel {
  function project(...parts: Projection[]): DeviceProjection {
    const matrix = uploadMatrix(device, parts.map((part) => part.weight), storage);
    const biases = parts.flatMap((part) => part.bias ?? []);
    return biases.length > 0 ? { matrix, bias: uploadVector(device, biases) } : { matrix };
  }

  const embedding = uploadMatrix(device, [weights.embedding], storage);
  return {
    embedding,
    layers: weights.layers.map((layer): DeviceLayer => ({
      attentionNorm: uploadVector(device, [layer.attentionNorm]),
      query: project(layer.query),
      key: project(layer.key),
      value: project(layer.value),
      ...(layer.queryNorm ? { queryNorm: uploadVector(device, [layer.queryNorm]) } : {}),
      ...(layer.keyNorm ? { keyNorm: uploadVector(device, [layer.keyNorm]) } : {}),
      output: project(layer.output),
      feedForwardNorm: uploadVector(device, [layer.feedForwardNorm]),
      gateUp: project(layer.gate, layer.up),
      down: project(layer.down),
    })),
    finalNorm: uploadVector(device, [weights.finalNorm]),
    head: config.tiedEmbeddings ? embedding : uploadMatrix(device, [weights.head], storage),
  };
}

/** Frees the weights. */
export function destroyModel(model: DeviceModel): void {
  const projections = model.layers.flatMap((layer) => [
    layer.query,
    layer.key,
    layer.value,
    layer.output,
    layer.gateUp,
    layer.down,
  ]);
  const matrices = [model.embedding, model.head, ...projections.map(({ matrix }) => matrix)];
  const buffers = [
    model.finalNorm,
    ...matrices.flatMap((matrix) => matrix.pieces.map((piece) => piece.buffer)),
    ...projections.flatMap(({ bias }) => bias ?? []),
    ...model.layers.flatMap((layer) =>
      [
        layer.attentionNorm,
        layer.feedForwardNorm,
        layer.queryNorm ?? [],
        layer.keyNorm ?? [],
      ].flat()
    ),
  ];
  for (const buffer of new Set(buffers)) buffer.destroy();
}
