import { CoupletError } from "@couplet/kv";
import type { Allocation } from "./allocation.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { modelRopes } from "./layer_ropes.ts";

/** Bytes between two slots of the step's buffer: WebGPU's alignment of dynamic offsets. */
export const SLOT_BYTES = 256;

/** Bytes of a cosine and a sine. */
export const TURN_BYTES = 8;

/** Cosines and sines of the tables before one: each has room for as many tokens as a step. */
export function turnsBefore(table: number, maxTokens: number, headDim: number): number {
  return table * maxTokens * headDim / 2;
}

/** Most bytes of logits at a time; more are computed slab by slab. */
const SLAB_BYTES = 1 << 25;

/** The limits that bound a buffer. */
export type BufferLimits = Pick<
  GPUSupportedLimits,
  "maxStorageBufferBindingSize" | "maxBufferSize"
>;

/** The largest buffer a kernel can use whole. */
export function largestBinding(
  { maxStorageBufferBindingSize, maxBufferSize }: BufferLimits,
): number {
  return Math.min(maxStorageBufferBindingSize, maxBufferSize);
}

/** Buffers of one step, named by what they hold. */
export type BufferName =
  | "step"
  | "tokenIds"
  | "targets"
  | "turns"
  | "hidden"
  | "normed"
  | "query"
  | "key"
  | "value"
  | "attended"
  | "wide"
  | "product"
  | "routerScores"
  | "routes"
  | "expertOutputs"
  | "selected"
  | "logits"
  | "entropy";

/** The buffers of one step. */
export type Buffers = Readonly<Record<BufferName, GPUBuffer>>;

/** Bytes of every buffer. */
export function bufferSizes(
  { config }: Checkpoint,
  maxTokens: number,
  limits: BufferLimits,
): Record<BufferName, number> {
  const queryWidth = config.queryHeads * config.headDim;
  const keyWidth = config.keyValueHeads * config.headDim;
  const floats = (width: number) => maxTokens * width * 4;
  // Feed-forward blocks that a token goes through.
  const blocks = config.experts?.perToken ?? 1;
  const slab = slabRows(config.vocabularySize, maxTokens, limits);
  return {
    step: (2 + Math.ceil(maxTokens / slab)) * SLOT_BYTES,
    tokenIds: floats(1),
    targets: floats(1),
    turns: turnsBefore(modelRopes(config).ropes.length, maxTokens, config.headDim) * TURN_BYTES,
    hidden: floats(config.hiddenSize),
    normed: floats(config.hiddenSize),
    query: floats(queryWidth),
    key: floats(keyWidth),
    value: floats(keyWidth),
    attended: floats(queryWidth),
    // Gates and ups; queries before their norm pass through it too.
    wide: floats(Math.max(2 * blocks * config.intermediateSize, queryWidth)),
    product: floats(blocks * config.intermediateSize),
    routerScores: floats(config.experts?.count ?? 0),
    routes: floats(2 * (config.experts?.perToken ?? 0)),
    expertOutputs: floats((config.experts?.perToken ?? 0) * config.hiddenSize),
    selected: floats(config.hiddenSize),
    logits: slab * config.vocabularySize * 4,
    entropy: floats(2),
  };
}

/** Rows of logits computed at a time. */
export function slabRows(vocabularySize: number, maxTokens: number, limits: BufferLimits): number {
  const most = Math.min(SLAB_BYTES, largestBinding(limits));
  return Math.max(1, Math.min(maxTokens, Math.floor(most / (vocabularySize * 4))));
}

/** Allocates them. */
export function createBuffers(allocation: Allocation, sizes: Record<BufferName, number>): Buffers {
  const entries = Object.entries(sizes).map(([label, size]) => [
    label,
    allocation.create({
      label,
      size: Math.max(16, size),
      usage: (label === "step" ? GPUBufferUsage.UNIFORM : GPUBufferUsage.STORAGE) |
        GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC,
    }),
  ]);
  return Object.fromEntries(entries) as Buffers;
}

/**
 * Checks that every buffer can be bound whole.
 *
 * @throws {CoupletError} `limits` where one cannot.
 */
export function checkSizes(
  sizes: Readonly<Record<BufferName, number>>,
  limits: BufferLimits,
  maxTokens: number,
): void {
  const most = largestBinding(limits);
  for (const [name, bytes] of Object.entries(sizes)) {
    if (bytes <= most) continue;
    throw new CoupletError("limits", {
      what: "The engine's buffers do not fit the device",
      why: `"${name}" takes ${bytes} bytes at ${maxTokens} tokens a step, and a binding ${most}`,
      remedy: `Lower maxTokens, to ${Math.floor(maxTokens * most / bytes)} or less`,
    });
  }
}
