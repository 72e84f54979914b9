import { CoupletError } from "@couplet/kv";
import type { Allocation } from "./allocation.ts";
import { blockChannels, type MatrixStorage } from "./kernels/common.ts";
import { largestBinding } from "./step_buffers.ts";
import { type Weight, weightValues } from "./weight.ts";

/** Outputs of a matrix that fit one binding. */
export interface MatrixPiece {
  /** Blocks as kernels/common.ts describes them. */
  readonly buffer: GPUBuffer;
  /** The first output. */
  readonly firstOutput: number;
  /** How many outputs. */
  readonly outputs: number;
}

/** A weight matrix on the device. */
export interface Matrix {
  /** How its elements are stored. */
  readonly storage: MatrixStorage;
  /** Channels it reads. */
  readonly inputs: number;
  /** Channels it writes. */
  readonly outputs: number;
  /** 16-byte blocks along the inputs. */
  readonly blocks: number;
  /** The pieces, in order of their outputs. */
  readonly pieces: readonly MatrixPiece[];
}

/** Bytes of a block. */
const BLOCK_BYTES = 16;

/** The largest finite float16. */
const LARGEST_HALF = 65504;

/** How a matrix of these weights is stored: F16 checkpoints stay as they are, others become float32. */
export function storageOf(
  weights: readonly Weight[],
  wanted: MatrixStorage | "as-stored",
): MatrixStorage {
  if (wanted !== "as-stored") return wanted;
  return weights.every((weight) => weight.dtype === "F16") ? "f16" : "f32";
}

/**
 * Checks that a weight can be stored as wanted.
 *
 * @throws {CoupletError} `shape` where it is float16 and a value of the weight lies beyond it.
 */
export function checkStorage(weight: Weight, wanted: MatrixStorage | "as-stored"): void {
  if (wanted !== "f16" || weight.dtype === "F16") return;
  const lost = weightValues(weight).find((value) => Math.abs(value) > LARGEST_HALF);
  if (lost === undefined) return;
  throw new CoupletError("shape", {
    what: `Tensor "${weight.name}" cannot be stored as float16`,
    why: `it holds ${lost}, and float16 ends at ${LARGEST_HALF}`,
    remedy: "Keep the weights as stored",
  });
}

/** Brings weights `[outputs][inputs]` to the device as one matrix, their outputs one after the other. */
export function uploadMatrix(
  allocation: Allocation,
  weights: readonly Weight[],
  wanted: MatrixStorage | "as-stored",
): Matrix {
  const inputs = weights[0]!.shape[1]!;
  const outputs = weights.reduce((sum, weight) => sum + weight.shape[0]!, 0);
  const storage = storageOf(weights, wanted);
  const blocks = inputs / blockChannels(storage);
  const limit = largestBinding(allocation.device.limits);
  const pieceOutputs = Math.min(outputs, Math.floor(limit / (blocks * BLOCK_BYTES)));

  const pieces: MatrixPiece[] = [];
  for (let first = 0; first < outputs; first += pieceOutputs) {
    const count = Math.min(pieceOutputs, outputs - first);
    const buffer = allocation.create({
      label: weights[0]!.name,
      size: count * blocks * BLOCK_BYTES,
      usage: GPUBufferUsage.STORAGE,
      mappedAtCreation: true,
    });
    pieces.push({ buffer, firstOutput: first, outputs: count });
  }
  const mapped = pieces.map((piece) => new Uint32Array(piece.buffer.getMappedRange()));

  let output = 0;
  for (const weight of weights) {
    const rows = storedWords(weight, storage);
    for (let row = 0; row < weight.shape[0]!; row++, output++) {
      const index = Math.floor(output / pieceOutputs);
      const { firstOutput, outputs: columns } = pieces[index]!;
      const target = mapped[index]!;
      let at = (output - firstOutput) * 4;
      let from = row * blocks * 4;
      for (let block = 0; block < blocks; block++, at += columns * 4, from += 4) {
        target[at] = rows[from]!;
        target[at + 1] = rows[from + 1]!;
        target[at + 2] = rows[from + 2]!;
        target[at + 3] = rows[from + 3]!;
      }
    }
  }
  for (const piece of pieces) piece.buffer.unmap();
  return { storage, inputs, outputs, blocks, pieces };
}

/** A weight's elements as the words of `storage`, row-major. */
function storedWords(weight: Weight, storage: MatrixStorage): Uint32Array {
  if (storage === "f16" && weight.dtype === "F16") {
    return new Uint32Array(weight.data.slice().buffer);
  }
  const values = weightValues(weight);
  if (storage === "f32") return new Uint32Array(values.buffer);
  return new Uint32Array(new Float16Array(values).buffer);
}

/** Brings a vector, or several one after the other, to the device in float32. */
export function uploadVector(allocation: Allocation, weights: readonly Weight[]): GPUBuffer {
  const parts = weights.map(weightValues);
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const buffer = allocation.create({
    label: weights[0]!.name,
    size: length * 4,
    usage: GPUBufferUsage.STORAGE,
    mappedAtCreation: true,
  });
  const mapped = new Float32Array(buffer.getMappedRange());
  let at = 0;
  for (const part of parts) {
    mapped.set(part, at);
    at += part.length;
  }
  buffer.unmap();
  return buffer;
}
