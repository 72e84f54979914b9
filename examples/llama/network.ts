import type { KeySpace } from "@couplet/kv";
import type { Checkpoint } from "./checkpoint.ts";
import type { DeviceLayer, DeviceModel } from "./device_model.ts";
import type { Operation, Operations } from "./operations.ts";
import type { Buffers } from "./step_buffers.ts";

/** The operations of one decoder layer, up to its attention and after it. */
export interface LayerOperations {
  /** From the residual stream to queries, keys (both unrotated) and values. */
  readonly project: readonly Operation[];
  /** Rotates queries and keys, where the cache wants them so. */
  readonly rotate: readonly Operation[];
  /** From the attention's output through the feed-forward block, back to the residual stream. */
  readonly finish: readonly Operation[];
}

/** The model's operations, bound to buffers. */
export interface Network {
  readonly embed: Operation;
  readonly layers: readonly LayerOperations[];
  /** From the selected rows of the residual stream to their last norm. */
  readonly finalNorm: Operation;
  /** One slab of logits. */
  readonly head: Operation;
  /** Losses of one slab. */
  readonly entropy: Operation;
}

/** Binds a model's weights and the step's buffers to operations, in the order they run. */
export function bindNetwork(
  { config }: Checkpoint,
  model: DeviceModel,
  buffers: Buffers,
  operations: Operations,
  keySpace: KeySpace,
): Network {
  const { hidden, normed, query, key, value, attended, wide, product, turns } = buffers;
  const { queryHeads, keyValueHeads, headDim, normEpsilon: epsilon } = config;
  const rows = { width: config.hiddenSize, rowsPerToken: 1, epsilon };
  const { norm, matmul, swiglu, rotate } = operations;

  /** `y = x W^T + b`, then Qwen3's norm of each head. */
  function projectHeads(
    { matrix, bias }: DeviceLayer["query"],
    heads: number,
    gain: GPUBuffer | undefined,
    y: GPUBuffer,
  ): Operation[] {
    if (gain === undefined) return [matmul(normed, matrix, y, { bias })];
    return [
      matmul(normed, matrix, wide, { bias }),
      norm({ width: headDim, rowsPerToken: heads, epsilon }, wide, gain, y),
    ];
  }

  return {
    embed: operations.embed(model.embedding, buffers.tokenIds, hidden),
    layers: model.layers.map((layer): LayerOperations => ({
      project: [
        norm(rows, hidden, layer.attentionNorm, normed),
        ...projectHeads(layer.query, queryHeads, layer.queryNorm, query),
        ...projectHeads(layer.key, keyValueHeads, layer.keyNorm, key),
        matmul(normed, layer.value.matrix, value, { bias: layer.value.bias }),
      ],
      rotate: keySpace === "as-scored"
        ? [rotate(queryHeads, headDim, turns, query), rotate(keyValueHeads, headDim, turns, key)]
        : [],
      finish: [
        matmul(attended, layer.output.matrix, hidden, {
          bias: layer.output.bias,
          accumulate: true,
        }),
        norm(rows, hidden, layer.feedForwardNorm, normed),
        matmul(normed, layer.gateUp.matrix, wide, { bias: layer.gateUp.bias }),
        swiglu(config.intermediateSize, wide, product),
        matmul(product, layer.down.matrix, hidden, { bias: layer.down.bias, accumulate: true }),
      ],
    })),
    finalNorm: norm(rows, buffers.selected, model.finalNorm, normed),
    head: matmul(normed, model.head, buffers.logits),
    entropy: operations.crossEntropy(
      config.vocabularySize,
      buffers.logits,
      buffers.targets,
      buffers.entropy,
    ),
  };
}
