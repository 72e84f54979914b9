import type { Allocation } from "./allocation.ts";
import { grid, type MatrixStorage } from "./kernels/common.ts";
import { CROSS_ENTROPY_SOURCE } from "./kernels/cross_entropy.ts";
import { EMBEDDING_WORKGROUP, embeddingSource } from "./kernels/embedding.ts";
import { matmulSource, NARROW_ROWS, type TileName, TILES } from "./kernels/matmul.ts";
import { RMS_NORM_SOURCE } from "./kernels/rms_norm.ts";
import { ROTATE_SOURCE, ROTATE_WORKGROUP } from "./kernels/rotate.ts";
import { SWIGLU_SOURCE, SWIGLU_WORKGROUP } from "./kernels/swiglu.ts";
import { compileKernels, type KernelSource, type Operation, type Rows } from "./kernel_set.ts";
import type { Matrix } from "./matrix.ts";

export type { Operation, Rows } from "./kernel_set.ts";

/** Every kernel by name. */
export function kernelSources(): ReadonlyMap<string, KernelSource> {
  const [read, write, uniform] = ["read-only-storage", "storage", "uniform"] as const;
  const storages: MatrixStorage[] = ["f16", "f32"];
  return new Map<string, KernelSource>([
    ...storages.map((storage) =>
      [`embedding ${storage}`, {
        code: embeddingSource(storage),
        bindings: [read, read, write, uniform],
      }] as const
    ),
    ...storages.flatMap((storage) =>
      Object.entries(TILES).map(([name, tile]) =>
        [`matmul ${name} ${storage}`, {
          code: matmulSource(tile, storage),
          bindings: [read, read, read, write, uniform],
        }] as const
      )
    ),
    ["rms norm", { code: RMS_NORM_SOURCE, bindings: [read, read, write, uniform] }],
    ["swiglu", { code: SWIGLU_SOURCE, bindings: [read, write, uniform] }],
    ["rotate", { code: ROTATE_SOURCE, bindings: [read, write, uniform] }],
    ["cross entropy", { code: CROSS_ENTROPY_SOURCE, bindings: [read, read, write, uniform] }],
  ]);
}

/** Binds the engine's kernels to buffers. All pipelines exist when {@linkcode createOperations} returns. */
export interface Operations {
  /** Rows of the embedding, to `hidden [rows][inputs]`. */
  embed(matrix: Matrix, tokenIds: GPUBuffer, hidden: GPUBuffer): Operation;
  /** RMSNorm of `rowsPerToken` rows of `width` channels per token. */
  norm(shape: NormShape, x: GPUBuffer, gain: GPUBuffer, y: GPUBuffer): Operation;
  /** `y = x W^T + bias`, or `y += ...`. */
  matmul(x: GPUBuffer, matrix: Matrix, y: GPUBuffer, options?: MatmulOptions): Operation;
  /** `silu(gate) * up`, from rows of `2 * width` to rows of `width` channels. */
  swiglu(width: number, gateUp: GPUBuffer, product: GPUBuffer): Operation;
  /** Rotary embedding in place, with the angles of `turns [rows][headDim / 2]`. */
  rotate(heads: number, headDim: number, turns: GPUBuffer, x: GPUBuffer): Operation;
  /** Loss and log-sum-exp of rows of logits. */
  crossEntropy(
    vocabulary: number,
    logits: GPUBuffer,
    targets: GPUBuffer,
    result: GPUBuffer,
  ): Operation;
}

/** Rows and epsilon of an RMSNorm. */
export interface NormShape {
  readonly width: number;
  readonly rowsPerToken: number;
  readonly epsilon: number;
}

/** What a product is added to. */
export interface MatmulOptions {
  /** `[outputs]`. */
  readonly bias?: GPUBuffer | undefined;
  /** Whether to add to what `y` holds. */
  readonly accumulate?: boolean;
}

/**
 * Compiles the kernels that matrices of these storages need.
 *
 * @param stepBuffer Slots of 256 bytes, each the two words of kernels/common.ts.
 * @throws {CoupletError} `device` where the device refuses a kernel.
 */
export async function createOperations(
  allocation: Allocation,
  storages: ReadonlySet<MatrixStorage>,
  stepBuffer: GPUBuffer,
): Promise<Operations> {
  const wanted = [...kernelSources()].filter(([name]) => {
    const storage = (["f16", "f32"] as const).find((suffix) => name.endsWith(suffix));
    return storage === undefined || storages.has(storage);
  });
  const { operation, uniform } = await compileKernels(allocation, new Map(wanted), stepBuffer);
  const noBias = allocation.create({ size: 16, usage: GPUBufferUsage.STORAGE });

  return {
    embed(matrix, tokenIds, hidden) {
      return all(matrix.pieces.map((piece) =>
        operation(
          `embedding ${matrix.storage}`,
          [
            piece.buffer,
            tokenIds,
            hidden,
            uniform(Uint32Array.of(matrix.blocks, piece.outputs, piece.firstOutput)),
          ],
          (rows) => grid(Math.ceil(rows * matrix.blocks / EMBEDDING_WORKGROUP)),
        )
      ));
    },
    norm({ width, rowsPerToken, epsilon }, x, gain, y) {
      const words = Uint32Array.of(width, rowsPerToken, 0);
      new Float32Array(words.buffer)[2] = epsilon;
      return operation(
        "rms norm",
        [x, gain, y, uniform(words)],
        (rows) => grid(rows * rowsPerToken),
      );
    },
    matmul(x, matrix, y, { bias, accumulate = false } = {}) {
      return all(matrix.pieces.map((piece) => {
        const words = Uint32Array.of(
          matrix.blocks,
          piece.outputs,
          piece.firstOutput,
          matrix.outputs,
          bias === undefined ? 0 : 1,
          accumulate ? 1 : 0,
        );
        const buffers = [x, piece.buffer, bias ?? noBias, y, uniform(words)];
        const [wide, narrow] = (["wide", "narrow"] as const).map((name: TileName) => {
          const { rows, columns, lanesX, lanesY } = TILES[name];
          return operation(`matmul ${name} ${matrix.storage}`, buffers, (count) => [
            Math.ceil(piece.outputs / (columns * lanesX)),
            Math.ceil(count / (rows * lanesY)),
          ]);
        });
        return (pass: GPUComputePassEncoder, rows: Rows) =>
          (rows.count <= NARROW_ROWS ? narrow! : wide!)(pass, rows);
      }));
    },
    swiglu(width, gateUp, product) {
      return operation(
        "swiglu",
        [gateUp, product, uniform(Uint32Array.of(width / 4))],
        (rows) => grid(Math.ceil(rows * width / 4 / SWIGLU_WORKGROUP)),
      );
    },
    rotate(heads, headDim, turns, x) {
      return operation(
        "rotate",
        [turns, x, uniform(Uint32Array.of(heads, headDim / 2))],
        (rows) => grid(Math.ceil(rows * heads * headDim / 2 / ROTATE_WORKGROUP)),
      );
    },
    crossEntropy(vocabulary, logits, targets, result) {
      return operation(
        "cross entropy",
        [logits, targets, result, uniform(Uint32Array.of(vocabulary))],
        grid,
      );
    },
  };
}

/** Runs operations one after the other. */
function all(operations: readonly Operation[]): Operation {
  return (pass, rows) => {
    for (const run of operations) run(pass, rows);
  };
}
