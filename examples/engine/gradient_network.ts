import type { Allocation } from "./allocation.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { DeviceLayer, DeviceModel } from "./device_model.ts";
import { onlyBlock } from "./feed_forward_weights.ts";
import type { GradientBuffers } from "./gradient_buffers.ts";
import type { GradientOperations } from "./gradient_operations.ts";
import type { Operation } from "./kernel_set.ts";
import { type Matrix, uploadMatrix } from "./matrix.ts";
import type { Operations } from "./operations.ts";
import { transposed } from "./transposed.ts";

/** A decoder layer's matrices for the way back. */
interface TransposedLayer {
  readonly query: Matrix;
  readonly key: Matrix;
  readonly value: Matrix;
  readonly output: Matrix;
  readonly gateUp: Matrix;
  readonly down: Matrix;
}

/** A model's matrices for the way back. */
export interface TransposedModel {
  readonly layers: readonly TransposedLayer[];
  /** Its inputs are the vocabulary, padded. */
  readonly head: Matrix;
}

/** Brings the transposed weights to the device. */
export function uploadTransposed(
  allocation: Allocation,
  { weights }: Pick<Checkpoint, "weights">,
): TransposedModel {
  function upload(...parts: Parameters<typeof transposed>[0]): Matrix {
    return uploadMatrix(allocation, [transposed(parts)], "as-stored");
  }
  return {
    layers: weights.layers.map(({ feedForward, ...layer }): TransposedLayer => {
      const { gate, up, down } = onlyBlock(feedForward);
      return {
        query: upload(layer.query.weight),
        key: upload(layer.key.weight),
        value: upload(layer.value.weight),
        output: upload(layer.output.weight),
        gateUp: upload(gate.weight, up.weight),
        down: upload(down.weight),
      };
    }),
    head: upload(weights.head),
  };
}

/** One decoder layer's operations. What is read back or copied in between is the caller's. */
export interface GradientLayer {
  /** From the layer's input to its unrotated queries and keys, and its values. */
  readonly project: readonly Operation[];
  /** Rotates, attends, and adds to `middle`, which holds the layer's input. */
  readonly attend: readonly Operation[];
  /** Adds the feed-forward block to `hidden`, which holds `middle`. */
  readonly feedForward: readonly Operation[];
  /** From the gradient of the layer's output to those of its unrotated queries and keys, and its values. */
  readonly attentionGradient: readonly Operation[];
  /** From there to the gradient of the layer's input. */
  readonly inputGradient: readonly Operation[];
}

/** A model's operations forward and back. */
export interface GradientNetwork {
  readonly embed: Operation;
  readonly layers: readonly GradientLayer[];
  readonly finalNorm: Operation;
  /** One slab of logits and losses; rows of the slab within all rows. */
  readonly head: readonly Operation[];
  /** The slab's gradients of the final norm's output, to `slabGradient`; rows of the slab alone. */
  readonly headGradient: Operation;
  /** From the gradient of the final norm's output to that of the last layer's output. */
  readonly finalNormGradient: Operation;
}

/** Binds a model's weights and the buffers to operations. */
export function bindGradientNetwork(
  { config }: Pick<Checkpoint, "config">,
  model: DeviceModel,
  back: TransposedModel,
  { shared, layers }: GradientBuffers,
  forward: Operations,
  backward: GradientOperations,
): GradientNetwork {
  const { normed, product, attended, shares, products, turns, turnsBack } = shared;
  const { queryGradient, keyGradient, valueGradient, headGradient } = shared;
  const { hidden, hiddenGradient, normedGradient } = shared;
  const { queryHeads, keyValueHeads, headDim, normEpsilon: epsilon } = config;
  const rows = { width: config.hiddenSize, rowsPerToken: 1, epsilon };
  const block = { width: config.intermediateSize, activation: "silu" } as const;
  const { norm, matmul, gate, rotate } = forward;

  /** `y = x W^T + b`, then a norm of each head where the family has one. */
  function projectHeads(
    { matrix, bias }: DeviceLayer["query"],
    heads: number,
    gain: GPUBuffer | undefined,
    projected: GPUBuffer,
    y: GPUBuffer,
  ): Operation[] {
    if (gain === undefined) return [matmul(normed, matrix, y, { bias })];
    return [
      matmul(normed, matrix, projected, { bias }),
      norm({ width: headDim, rowsPerToken: heads, epsilon }, projected, gain, y),
    ];
  }

  /** Adds what the gradient of queries or keys gives that of their input. */
  function projectBack(
    matrix: Matrix,
    heads: number,
    gain: GPUBuffer | undefined,
    projected: GPUBuffer,
    gradient: GPUBuffer,
    accumulate: boolean,
  ): Operation[] {
    if (gain === undefined) return [matmul(gradient, matrix, normedGradient, { accumulate })];
    const shape = { width: headDim, rowsPerToken: heads, epsilon };
    return [
      backward.normGradient(shape, projected, gain, gradient, headGradient),
      matmul(headGradient, matrix, normedGradient, { accumulate }),
    ];
  }

  return {
    embed: forward.embed(model.embedding, model.embeddingScale, shared.tokenIds, hidden),
    layers: model.layers.map((layer, index): GradientLayer => {
      const kept = layers[index]!;
      const { query, key, value, middle, gateUp, queryProjected, keyProjected } = kept;
      const turned = back.layers[index]!;
      return {
        project: [
          norm(rows, kept.input, layer.attentionNorm, normed),
          ...projectHeads(layer.query, queryHeads, layer.queryNorm, queryProjected, query),
          ...projectHeads(layer.key, keyValueHeads, layer.keyNorm, keyProjected, key),
          matmul(normed, layer.value.matrix, value, { bias: layer.value.bias }),
        ],
        attend: [
          rotate(queryHeads, headDim, turns, query),
          rotate(keyValueHeads, headDim, turns, key),
          backward.pairProducts(query, key, shares),
          backward.softmax(shares),
          backward.mix(shares, value, attended),
          matmul(attended, layer.output.matrix, middle, {
            bias: layer.output.bias,
            accumulate: true,
          }),
        ],
        feedForward: [
          norm(rows, middle, layer.feedForwardNorm, normed),
          matmul(normed, layer.gateUp.matrix, gateUp, { bias: layer.gateUp.bias }),
          gate(block, gateUp, product),
          matmul(product, layer.down.matrix, hidden, { bias: layer.down.bias, accumulate: true }),
        ],
        attentionGradient: [
          matmul(hiddenGradient, turned.down, product),
          backward.swigluGradient(config.intermediateSize, product, gateUp),
          matmul(gateUp, turned.gateUp, normedGradient),
          backward.normGradient(
            rows,
            middle,
            layer.feedForwardNorm,
            normedGradient,
            hiddenGradient,
            { accumulate: true },
          ),
          matmul(hiddenGradient, turned.output, attended),
          backward.pairProducts(query, key, shares),
          backward.softmax(shares),
          backward.gather(shares, attended, valueGradient),
          backward.pairProducts(attended, value, products),
          backward.softmaxGradient(shares, products),
          backward.mix(products, key, queryGradient),
          backward.gather(products, query, keyGradient),
          rotate(queryHeads, headDim, turnsBack, queryGradient),
          rotate(keyValueHeads, headDim, turnsBack, keyGradient),
        ],
        inputGradient: [
          ...projectBack(
            turned.query,
            queryHeads,
            layer.queryNorm,
            queryProjected,
            queryGradient,
            false,
          ),
          ...projectBack(
            turned.key,
            keyValueHeads,
            layer.keyNorm,
            keyProjected,
            keyGradient,
            true,
          ),
          matmul(valueGradient, turned.value, normedGradient, { accumulate: true }),
          backward.normGradient(
            rows,
            kept.input,
            layer.attentionNorm,
            normedGradient,
            hiddenGradient,
            { accumulate: true },
          ),
        ],
      };
    }),
    finalNorm: norm(rows, hidden, model.finalNorm, normed),
    head: [
      matmul(normed, model.head, shared.logits),
      forward.crossEntropy(
        config.vocabularySize,
        shared.logits,
        shared.targets,
        shared.entropy,
      ),
      backward.crossEntropyGradient(
        { vocabulary: config.vocabularySize, rowLength: back.head.inputs },
        {
          logits: shared.logits,
          targets: shared.targets,
          entropy: shared.entropy,
          gradients: shared.logitGradients,
        },
      ),
    ],
    headGradient: matmul(shared.logitGradients, back.head, shared.slabGradient),
    finalNormGradient: backward.normGradient(
      rows,
      hidden,
      model.finalNorm,
      normedGradient,
      hiddenGradient,
    ),
  };
}
