/**
 * ONNX Runtime Web as a host: keys and values that a session returns as GPU buffers are appended to
 * a cache, and read back as tensors for a session.
 *
 * ONNX Runtime computes attention inside the session, so a cache cannot do that for it. The cache
 * holds keys and values between runs: a prompt that many requests share, a conversation that waits.
 *
 * It has no dependency: the caller passes the classes of `onnxruntime-web` or `onnxruntime-common`.
 *
 * ```ts
 * import { type Cache, snapshotSequence } from "@couplet/kv";
 * import { appendOrtTensors, type OrtLayer } from "@couplet/kv/hosts/ort";
 *
 * // Stores a prompt's keys and values from a session in a file; readOrtTensors() reads them back.
 * async function storePrompt(device: GPUDevice, cache: Cache, layers: readonly OrtLayer[]) {
 *   const sequence = cache.createSequence();
 *   await appendOrtTensors(device, cache, sequence, layers);
 *   return await snapshotSequence(cache, sequence);
 * }
 * ```
 *
 * @module
 */
import { COPY_DST, COPY_SRC, STORAGE } from "../base/buffer_usage.ts";
import type { Cache } from "../cache/cache.ts";
import type { HostLayout, ResolvedOptions } from "../plan/options.ts";
import { cacheInternals } from "../cache/internals.ts";
import { checkOptions, DEVICE, having, listOf, oneOf, TEXT, whole } from "../base/check_options.ts";
import { NUMBER, record } from "../base/data_kinds.ts";
import { CoupletError } from "../base/errors.ts";
import { type Side, sideDim, SIDES } from "../model/side.ts";
import type { Sequence } from "../cache/sequences.ts";

/** The properties of an ONNX Runtime tensor that are read. */
export interface OrtTensor {
  /** Element type: `float32` and `float16` can be compressed. */
  readonly type: string;
  /** `[1, keyValueHeads, tokens, channels of the side]`. */
  readonly dims: readonly number[];
  /** Where the data lies: `gpu-buffer`, with `preferredOutputLocation` of the session. */
  readonly location: string;
  /** The data. */
  readonly gpuBuffer: GPUBuffer;
}

/** The static method of ONNX Runtime's class `Tensor` that wraps a buffer. */
export interface OrtTensorClass<Tensor> {
  /**
   * Creates a tensor whose data lie in a buffer. `dispose` is called when the tensor is disposed
   * of.
   */
  fromGpuBuffer(
    buffer: GPUBuffer,
    options: { dataType: "float32" | "float16"; dims: readonly number[]; dispose: () => void },
  ): Tensor;
}

/** One layer's keys and values. */
export type OrtLayer<Tensor = OrtTensor> = Readonly<Record<Side, Tensor>>;

/** The usage that ONNX Runtime requires of a buffer: storage, and source and target of copies. */
const TENSOR_USAGE = STORAGE | COPY_SRC | COPY_DST;

/**
 * The layout (`io`) of a plan for a cache that takes tensors of ONNX Runtime:
 * `[keyValueHeads][tokens][headDim]`.
 *
 * @param headDim Channels per head, of keys.
 * @param stepTokens The plan's `capacity.stepTokens`; longer tensors are copied in pieces of this
 * many tokens.
 * @param dtype The tensors' element type.
 * @param valueHeadDim Channels per head of values. Defaults to `headDim`.
 */
export function ortLayout(
  headDim: number,
  stepTokens: number,
  dtype: "f32" | "f16",
  valueHeadDim: number = headDim,
): HostLayout {
  checkOptions("usage", "Cannot lay tensors out", {
    headDim: whole(1),
    stepTokens: whole(1),
    dtype: oneOf("f32", "f16"),
    valueHeadDim: whole(1),
  }, { headDim, stepTokens, dtype, valueHeadDim });
  const strides = (channels: number) => ({ token: channels, head: stepTokens * channels });
  return { dtype, keys: strides(headDim), values: strides(valueHeadDim) };
}

/**
 * Appends to a sequence what tensors hold beyond its length, and submits it: all of a prompt's
 * tokens to an empty sequence, later only the new ones. The tensors may be disposed of afterwards.
 *
 * @param cache Planned with {@linkcode ortLayout}, and with keys `{ space: "as-scored" }` where the
 * model caches them after the rotary embedding, as exported models do.
 * @param layers The tensors of every layer.
 * @throws {CoupletError} `shape` where tensors differ from the plan or from each other; `usage`
 * where they hold nothing new, are not on the GPU, or the plan has another layout. Nothing has
 * changed then. `capacity` where the cache is full: what was already appended stays, and
 * `cache.length(sequence)` says how much. `device` where a buffer belongs to another device: free
 * the sequence then.
 */
export async function appendOrtTensors(
  device: GPUDevice,
  cache: Cache,
  sequence: Sequence,
  layers: readonly OrtLayer[],
): Promise<void> {
  cacheInternals(cache);
  // The buffer of a tensor that is not on the device cannot be read.
  const tensor = record<Pick<OrtTensor, "type" | "dims" | "location">>("a tensor", {
    type: TEXT,
    dims: listOf(NUMBER),
    location: TEXT,
  });
  checkOptions("usage", "Cannot append the tensors", {
    device: DEVICE,
    sequence: having("what createSequence() gives", "id"),
    layers: listOf(record("{ keys, values }", { keys: tensor, values: tensor })),
  }, { device, sequence, layers });
  const { options } = cache.plan;
  const piece = pieceTokens(options);
  const total = checkTensors(options, layers);
  let first = cache.length(sequence);
  if (total <= first) {
    throw new CoupletError("usage", {
      what: "Cannot append the tensors",
      why: `they hold ${total} tokens, and the sequence holds ${first}`,
      remedy: "Pass the tensors of all tokens so far, or truncate the sequence",
    });
  }
  const staging = createStaging(device, options);
  // A buffer does not say which device it belongs to, but copying it fails.
  device.pushErrorScope("validation");
  let invalid: Promise<GPUError | null>;
  try {
    while (first < total) {
      const tokens = Math.min(piece, options.capacity.appendTokens, total - first);
      const step = cache.beginStep([{ sequence, tokens }]);
      const encoder = device.createCommandEncoder();
      layers.forEach((tensors, layer) => {
        for (const side of SIDES) {
          for (const run of headRuns(options, layer, side, { first, tokens, total })) {
            const { gpuBuffer } = tensors[side];
            encoder.copyBufferToBuffer(gpuBuffer, run.tensor, staging[side], run.staged, run.bytes);
          }
        }
        cache.encodeAppend(encoder, step, layer, {
          keys: { buffer: staging.keys },
          values: { buffer: staging.values },
        });
      });
      device.queue.submit([encoder.finish()]);
      first += tokens;
    }
  } finally {
    for (const side of SIDES) staging[side].destroy();
    invalid = device.popErrorScope();
  }
  const error = await invalid;
  if (error === null) return;
  throw new CoupletError("device", {
    what: "Cannot copy the tensors",
    why: error.message,
    remedy: 'Create the session with executionProviders: [{ name: "webgpu", device }]',
  });
}

/**
 * Reads the vectors of a sequence into new tensors `[1, keyValueHeads, tokens, channels]` of every
 * layer, for the next run of a session: exact tokens as they were, the others decoded. It submits
 * the commands.
 *
 * The tensors own their buffers, and destroy them when they are disposed of.
 *
 * @param cache Planned with {@linkcode ortLayout}.
 * @param Tensor The class of ONNX Runtime.
 * @throws {CoupletError} `usage` where the sequence is empty, layers have freed tokens behind a
 * sliding window, or the plan has another layout; `limits` where a tensor exceeds the device's
 * largest buffer.
 */
export function readOrtTensors<Tensor>(
  device: GPUDevice,
  cache: Cache,
  sequence: Sequence,
  Tensor: OrtTensorClass<Tensor>,
): OrtLayer<Tensor>[] {
  cacheInternals(cache);
  checkOptions("usage", "Cannot read the sequence as tensors", {
    device: DEVICE,
    sequence: having("what createSequence() gives", "id"),
    Tensor: having("the class Tensor of ONNX Runtime", "fromGpuBuffer"),
  }, { device, sequence, Tensor });
  const { options } = cache.plan;
  const piece = pieceTokens(options);
  const total = cache.length(sequence);
  if (total === 0) {
    throw new CoupletError("usage", {
      what: "Cannot read the sequence as tensors",
      why: "it holds no tokens",
      remedy: "Start the session without a past",
    });
  }
  checkSize(device, options, total);
  const staging = createStaging(device, options);
  const created: GPUBuffer[] = [];
  try {
    return options.layers.map((own, layer) => {
      const { keyValueHeads } = own;
      const tensor = (side: Side): Tensor => {
        const size = keyValueHeads * total * vectorBytes(options, side);
        const buffer = device.createBuffer({
          label: `couplet layer ${layer} ${side}`,
          size,
          usage: TENSOR_USAGE,
        });
        created.push(buffer);
        for (let first = 0; first < total; first += piece) {
          const count = Math.min(piece, total - first);
          const encoder = device.createCommandEncoder();
          const range = { side, first, count, output: { buffer: staging[side] } };
          cache.encodeRead(encoder, sequence, layer, range);
          for (const run of headRuns(options, layer, side, { first, tokens: count, total })) {
            encoder.copyBufferToBuffer(staging[side], run.staged, buffer, run.tensor, run.bytes);
          }
          // Submitted piece by piece, so that buffers of parameters are freed early.
          device.queue.submit([encoder.finish()]);
        }
        return Tensor.fromGpuBuffer(buffer, {
          dataType: options.dtype === "f16" ? "float16" : "float32",
          dims: [1, keyValueHeads, total, sideDim(own, side)],
          dispose: () => buffer.destroy(),
        });
      };
      return { keys: tensor("keys"), values: tensor("values") };
    });
  } catch (error) {
    for (const buffer of created) buffer.destroy();
    throw error;
  } finally {
    for (const side of SIDES) staging[side].destroy();
  }
}

/** Bytes of a vector, of one length in all layers: that of the plan's strides. */
function vectorBytes({ layers, dtype }: ResolvedOptions, side: Side): number {
  return sideDim(layers[0]!, side) * (dtype === "f16" ? 2 : 4);
}

/** Buffers of one piece of the keys and the values of any layer. */
function createStaging(device: GPUDevice, options: ResolvedOptions): Record<Side, GPUBuffer> {
  const heads = Math.max(...options.layers.map(({ keyValueHeads }) => keyValueHeads));
  const tokens = heads * pieceTokens(options);
  const buffer = (side: Side) =>
    device.createBuffer({
      label: `couplet staged ${side}`,
      size: tokens * vectorBytes(options, side),
      usage: TENSOR_USAGE,
    });
  return { keys: buffer("keys"), values: buffer("values") };
}

/** Byte offsets of each head's tokens of a piece, in a tensor and in a staging buffer. */
function headRuns(
  options: ResolvedOptions,
  layer: number,
  side: Side,
  { first, tokens, total }: {
    readonly first: number;
    readonly tokens: number;
    readonly total: number;
  },
) {
  const bytes = vectorBytes(options, side);
  const piece = pieceTokens(options);
  return Array.from({ length: options.layers[layer]!.keyValueHeads }, (_, head) => ({
    tensor: (head * total + first) * bytes,
    staged: head * piece * bytes,
    bytes: tokens * bytes,
  }));
}

/** Tokens of a staging buffer, from the plan's strides. */
function pieceTokens({ layers, capacity }: ResolvedOptions): number {
  for (const layer of layers) {
    for (const side of SIDES) {
      const { token, head } = layer.strides[side];
      const channels = sideDim(layer, side);
      if (token === channels && head === capacity.stepTokens * channels) continue;
      throw new CoupletError("usage", {
        what: "Cannot exchange tensors with ONNX Runtime",
        why: `the plan's ${side} are ${token} elements apart by token and ${head} by head`,
        remedy:
          "Plan the cache with io: ortLayout(headDim, capacity.stepTokens, dtype, valueHeadDim)",
      });
    }
  }
  return capacity.stepTokens;
}

/** Checks the tensors of all layers. Returns their number of tokens. */
function checkTensors(options: ResolvedOptions, layers: readonly OrtLayer[]): number {
  const refuse = (code: "shape" | "usage", why: string, remedy: string): never => {
    throw new CoupletError(code, { what: "Cannot append the tensors", why, remedy });
  };
  if (layers.length !== options.layers.length) {
    refuse(
      "shape",
      `there are tensors of ${layers.length} layers, and the plan has ${options.layers.length}`,
      "Pass the keys and values of every layer",
    );
  }
  const tokens = layers[0]!.keys.dims[2];
  const type = options.dtype === "f16" ? "float16" : "float32";
  layers.forEach((tensors, layer) => {
    const resolved = options.layers[layer]!;
    for (const side of SIDES) {
      const wanted = [1, resolved.keyValueHeads, tokens, sideDim(resolved, side)];
      const { dims, location, type: own } = tensors[side];
      const what = `the ${side} of layer ${layer}`;
      if (dims.length !== 4 || dims.some((size, i) => size !== wanted[i])) {
        refuse(
          "shape",
          `${what} are [${dims.join(", ")}] where [${wanted.join(", ")}] are due`,
          "Pass tensors [1, keyValueHeads, tokens, channels] of one sequence, all of the same tokens",
        );
      }
      if (own !== type) {
        refuse(
          "shape",
          `${what} are ${own}, and the plan has ${type}`,
          "Plan with the tensors' dtype",
        );
      }
      if (location !== "gpu-buffer") {
        refuse(
          "usage",
          `${what} lie in "${location}"`,
          'Create the session with preferredOutputLocation "gpu-buffer"',
        );
      }
    }
  });
  const total = tokens!;
  if (total > options.capacity.sequenceTokens) {
    throw new CoupletError("capacity", {
      what: "Cannot append the tensors",
      why: `they hold ${total} tokens, and ${options.capacity.sequenceTokens} are planned`,
      remedy: "Plan more (capacity.sequenceTokens)",
    });
  }
  return total;
}

function checkSize({ limits }: GPUDevice, options: ResolvedOptions, total: number): void {
  const heads = Math.max(...options.layers.map(({ keyValueHeads }) => keyValueHeads));
  const bytes = heads * total * Math.max(...SIDES.map((side) => vectorBytes(options, side)));
  const most = Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize);
  if (bytes <= most) return;
  throw new CoupletError("limits", {
    what: "Cannot read the sequence as tensors",
    why: `one takes ${bytes} bytes and the device binds at most ${most}`,
    remedy: "Request the device with larger maxBufferSize and maxStorageBufferBindingSize",
  });
}
