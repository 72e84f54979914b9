import { CoupletError } from "@couplet/kv";
import type { Allocation } from "./allocation.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { ModelConfig } from "./config.ts";
import { largestBinding, slabRows, SLOT_BYTES } from "./step_buffers.ts";

/** What a layer's way forward leaves for its way back. */
export type LayerBufferName =
  | "input"
  | "queryProjected"
  | "keyProjected"
  | "query"
  | "key"
  | "value"
  | "middle"
  | "gateUp";

/** Buffers that all layers share. */
export type SharedBufferName =
  | "step"
  | "tokenIds"
  | "targets"
  | "turns"
  | "turnsBack"
  | "normed"
  | "product"
  | "attended"
  | "shares"
  | "products"
  | "queryGradient"
  | "keyGradient"
  | "valueGradient"
  | "headGradient"
  | "hidden"
  | "hiddenGradient"
  | "normedGradient"
  | "slabGradient"
  | "logits"
  | "logitGradients"
  | "entropy";

/** All buffers of the way forward and back. */
export interface GradientBuffers {
  readonly shared: Readonly<Record<SharedBufferName, GPUBuffer>>;
  readonly layers: readonly Readonly<Record<LayerBufferName, GPUBuffer>>[];
}

/** The floats of a layer's buffers, per token. */
function layerWidths(config: ModelConfig): Record<LayerBufferName, number> {
  const query = config.queryHeads * config.headDim;
  const key = config.keyValueHeads * config.headDim;
  return {
    input: config.hiddenSize,
    // Only norms of heads need what they were given.
    queryProjected: config.recipe.queryKeyNorm ? query : 0,
    keyProjected: config.recipe.queryKeyNorm ? key : 0,
    query,
    key,
    value: key,
    middle: config.hiddenSize,
    gateUp: 2 * config.intermediateSize,
  };
}

/** Bytes of every buffer. */
export interface BufferSizes {
  readonly shared: Record<SharedBufferName, number>;
  readonly layers: readonly Record<LayerBufferName, number>[];
}

/** Sizes for `windows` windows of `tokens` tokens that run together. */
export function bufferSizes(
  { config }: Pick<Checkpoint, "config">,
  tokens: number,
  windows: number,
  limits: GPUSupportedLimits,
): BufferSizes {
  const rows = tokens * windows;
  const query = config.queryHeads * config.headDim;
  const key = config.keyValueHeads * config.headDim;
  const slab = slabRows(config.vocabularySize, rows, limits);
  const floats = (width: number) => rows * width * 4;
  const widths = layerWidths(config);
  return {
    shared: {
      step: (1 + 2 * Math.ceil(rows / slab)) * SLOT_BYTES,
      tokenIds: floats(1),
      targets: floats(1),
      turns: floats(config.headDim),
      turnsBack: floats(config.headDim),
      normed: floats(config.hiddenSize),
      product: floats(config.intermediateSize),
      attended: floats(query),
      shares: floats(tokens * config.queryHeads),
      products: floats(tokens * config.queryHeads),
      queryGradient: floats(query),
      keyGradient: floats(key),
      valueGradient: floats(key),
      headGradient: config.recipe.queryKeyNorm ? floats(query) : 0,
      hidden: floats(config.hiddenSize),
      hiddenGradient: floats(config.hiddenSize),
      normedGradient: floats(config.hiddenSize),
      slabGradient: slab * config.hiddenSize * 4,
      logits: slab * config.vocabularySize * 4,
      logitGradients: slab * Math.ceil(config.vocabularySize / 8) * 32,
      entropy: floats(2),
    },
    layers: Array.from(
      { length: config.layers },
      () =>
        Object.fromEntries(
          Object.entries(widths).map(([name, width]) => [name, floats(width)]),
        ) as Record<LayerBufferName, number>,
    ),
  };
}

/** The largest of them. */
export function largest({ shared, layers }: BufferSizes): number {
  return Math.max(...Object.values(shared), ...Object.values(layers[0]!));
}

/**
 * Checks that every buffer can be bound whole.
 *
 * @throws {CoupletError} `limits` where one cannot.
 */
export function checkSizes(
  { shared, layers }: BufferSizes,
  limits: GPUSupportedLimits,
  windows: number,
): void {
  const most = largestBinding(limits);
  for (const [name, bytes] of [shared, layers[0]!].flatMap((sizes) => Object.entries(sizes))) {
    if (bytes <= most) continue;
    throw new CoupletError("limits", {
      what: "The buffers for gradients do not fit the device",
      why: `"${name}" takes ${bytes} bytes for ${windows} windows, and a binding ${most}`,
      remedy: windows > 1 ? "Run fewer windows together" : "Use shorter windows",
    });
  }
}

/** Allocates them. */
export function createBuffers(
  allocation: Allocation,
  { shared, layers }: BufferSizes,
): GradientBuffers {
  function create<Name extends string>(sizes: Record<Name, number>): Record<Name, GPUBuffer> {
    return Object.fromEntries(
      Object.entries<number>(sizes).map(([label, size]) => [
        label,
        allocation.create({
          label,
          size: Math.max(16, size),
          usage: (label === "step" ? GPUBufferUsage.UNIFORM : GPUBufferUsage.STORAGE) |
            GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
        }),
      ]),
    ) as Record<Name, GPUBuffer>;
  }
  return { shared: create(shared), layers: layers.map(create) };
}
