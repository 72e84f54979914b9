import type { KeySpace } from "@couplet/kv";
import type { Checkpoint } from "./checkpoint.ts";
import type { ExpertsConfig } from "./config.ts";
import type { DeviceLayer, DeviceModel, DeviceProjection } from "./device_model.ts";
import { modelRopes } from "./layer_ropes.ts";
import type { Operation, Operations } from "./operations.ts";
import { type Buffers, turnsBefore } from "./step_buffers.ts";

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
  readonly head: readonly Operation[];
  /** Losses of one slab. */
  readonly entropy: Operation;
}

/** Binds a model's weights and the step's buffers to operations, in the order they run. */
export function bindNetwork(
  { config }: Checkpoint,
  model: DeviceModel,
  buffers: Buffers,
  operations: Operations,
  { keySpace, maxTokens }: { readonly keySpace: KeySpace; readonly maxTokens: number },
): Network {
  const { hidden, normed, query, key, value, attended, wide, logits } = buffers;
  const { queryHeads, keyValueHeads, headDim, vocabularySize, normEpsilon: epsilon } = config;
  const rows = { width: config.hiddenSize, rowsPerToken: 1, epsilon };
  const { norm, matmul, rotate } = operations;
  const { ofLayer } = modelRopes(config);

  /** `y = x W^T + b`, then a norm of each head where the family has one. */
  function projectHeads(
    { matrix, bias }: DeviceProjection,
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

  /** Adds `x W^T + b` to the residual stream, after a norm where the family has one. */
  function addProjected(
    x: GPUBuffer,
    { matrix, bias }: DeviceProjection,
    gain: GPUBuffer | undefined,
  ): Operation[] {
    if (gain === undefined) return [matmul(x, matrix, hidden, { bias, accumulate: true })];
    return [
      matmul(x, matrix, normed, { bias }),
      norm(rows, normed, gain, hidden, { accumulate: true }),
    ];
  }

  return {
    embed: operations.embed(model.embedding, model.embeddingScale, buffers.tokenIds, hidden),
    layers: model.layers.map((layer, index): LayerOperations => {
      const firstTurn = turnsBefore(ofLayer[index]!, maxTokens, headDim);
      return {
        project: [
          norm(rows, hidden, layer.attentionNorm, normed),
          ...projectHeads(layer.query, queryHeads, layer.queryNorm, query),
          ...projectHeads(layer.key, keyValueHeads, layer.keyNorm, key),
          matmul(normed, layer.value.matrix, value, { bias: layer.value.bias }),
        ],
        rotate: keySpace === "as-scored"
          ? [
            rotate(queryHeads, headDim, buffers.turns, query, firstTurn),
            rotate(keyValueHeads, headDim, buffers.turns, key, firstTurn),
          ]
          : [],
        finish: [
          ...addProjected(attended, layer.output, layer.attentionOutputNorm),
          norm(rows, hidden, layer.feedForwardNorm, normed),
          ...(layer.router === undefined
            ? oneBlock(layer)
            : someExperts(layer, layer.router, config.experts!)),
        ],
      };
    }),
    finalNorm: norm(rows, buffers.selected, model.finalNorm, normed),
    head: [
      matmul(normed, model.head, logits),
      ...(config.logitSoftcap === 0
        ? []
        : [operations.softcap(vocabularySize, config.logitSoftcap, logits)]),
    ],
    entropy: operations.crossEntropy(vocabularySize, logits, buffers.targets, buffers.entropy),
  };

  /** From the normed residual stream through the feed-forward block of all tokens. */
  function oneBlock({ gateUp, down, feedForwardOutputNorm }: DeviceLayer): Operation[] {
    return [
      matmul(normed, gateUp.matrix, wide, { bias: gateUp.bias }),
      gateProducts(1),
      ...addProjected(buffers.product, down, feedForwardOutputNorm),
    ];
  }

  /** The same through some experts a token. */
  function someExperts(
    { gateUp, down }: DeviceLayer,
    router: DeviceProjection,
    { count, perToken, normalized }: ExpertsConfig,
  ): Operation[] {
    const { routerScores, routes, product, expertOutputs } = buffers;
    const experts = { count, choices: perToken, normalized };
    const { route, expertMatmul, mixExperts } = operations;
    return [
      matmul(normed, router.matrix, routerScores, { bias: router.bias }),
      route(experts, routerScores, routes),
      expertMatmul({ ...experts, eachOwnRow: false }, normed, gateUp.matrix, routes, wide, gateUp),
      gateProducts(perToken),
      expertMatmul(
        { ...experts, eachOwnRow: true },
        product,
        down.matrix,
        routes,
        expertOutputs,
        down,
      ),
      mixExperts({ ...experts, width: config.hiddenSize }, expertOutputs, routes, hidden),
    ];
  }

  function gateProducts(rowsPerToken: number): Operation {
    const { recipe: { activation }, intermediateSize: width, activationLimit: limit } = config;
    return operations.gate({ width, activation, limit, rowsPerToken }, wide, buffers.product);
  }
}
