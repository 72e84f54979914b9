import type { Allocation } from "./allocation.ts";
import { grid, type MatrixStorage } from "./kernels/common.ts";
import { CROSS_ENTROPY_SOURCE } from "./kernels/cross_entropy.ts";
import { EMBEDDING_WORKGROUP, embeddingSource } from "./kernels/embedding.ts";
import {
  expertMatmulSource,
  EXPERTS_WORKGROUP,
  MIX_EXPERTS_SOURCE,
  ROUTE_SOURCE,
} from "./kernels/experts.ts";
import { type Activation, ACTIVATIONS, GATE_SOURCE, GATE_WORKGROUP } from "./kernels/gate.ts";
import { matmulSource, NARROW_ROWS, type TileName, TILES } from "./kernels/matmul.ts";
import { RMS_NORM_SOURCE } from "./kernels/rms_norm.ts";
import { ROTATE_SOURCE, ROTATE_WORKGROUP } from "./kernels/rotate.ts";
import { SOFTCAP_SOURCE, SOFTCAP_WORKGROUP } from "./kernels/softcap.ts";
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
    ...storages.map((storage) =>
      [`expert matmul ${storage}`, {
        code: expertMatmulSource(storage),
        bindings: [read, read, read, read, write, uniform],
      }] as const
    ),
    ["route", { code: ROUTE_SOURCE, bindings: [read, write, uniform] }],
    ["mix experts", { code: MIX_EXPERTS_SOURCE, bindings: [read, read, write, uniform] }],
    ["rms norm", { code: RMS_NORM_SOURCE, bindings: [read, read, write, uniform] }],
    ["gate", { code: GATE_SOURCE, bindings: [read, write, uniform] }],
    ["softcap", { code: SOFTCAP_SOURCE, bindings: [write, uniform] }],
    ["rotate", { code: ROTATE_SOURCE, bindings: [read, write, uniform] }],
    ["cross entropy", { code: CROSS_ENTROPY_SOURCE, bindings: [read, read, write, uniform] }],
  ]);
}

/** Binds the engine's kernels to buffers. All pipelines exist when {@linkcode createOperations} returns. */
export interface Operations {
  /** Rows of the embedding times `scale`, to `hidden [rows][inputs]`. */
  embed(matrix: Matrix, scale: number, tokenIds: GPUBuffer, hidden: GPUBuffer): Operation;
  /** RMSNorm of `rowsPerToken` rows of `width` channels per token; `y = ...` or `y += ...`. */
  norm(
    shape: NormShape,
    x: GPUBuffer,
    gain: GPUBuffer,
    y: GPUBuffer,
    options?: Pick<MatmulOptions, "accumulate">,
  ): Operation;
  /** `y = x W^T + bias`, or `y += ...`. */
  matmul(x: GPUBuffer, matrix: Matrix, y: GPUBuffer, options?: MatmulOptions): Operation;
  /** `activation(gate) * up`, from rows of `2 * width` to rows of `width` channels. */
  gate(block: GateShape, gateUp: GPUBuffer, product: GPUBuffer): Operation;
  /** Chooses each row's experts by `scores [rows][count]`, to `routes [rows][choices]`. */
  route(experts: ExpertsShape, scores: GPUBuffer, routes: GPUBuffer): Operation;
  /**
   * `y = x W^T + bias` with the matrix of each route's expert, of which `matrix` holds one after the
   * other. All routes of a token read one row of `x`, or each its own.
   */
  expertMatmul(
    experts: ExpertsShape & { readonly eachOwnRow: boolean },
    x: GPUBuffer,
    matrix: Matrix,
    routes: GPUBuffer,
    y: GPUBuffer,
    options?: Pick<MatmulOptions, "bias">,
  ): Operation;
  /** Adds experts' outputs `[rows][choices][width]` to `hidden`, by their shares. */
  mixExperts(
    experts: ExpertsShape & { readonly width: number },
    outputs: GPUBuffer,
    routes: GPUBuffer,
    hidden: GPUBuffer,
  ): Operation;
  /**
   * Rotary embedding in place, with the angles of `turns [rows][headDim / 2]`, which start at pair
   * `firstTurn`.
   */
  rotate(
    heads: number,
    headDim: number,
    turns: GPUBuffer,
    x: GPUBuffer,
    firstTurn?: number,
  ): Operation;
  /** `bound * tanh(x / bound)` of rows of `width`, in place. */
  softcap(width: number, bound: number, x: GPUBuffer): Operation;
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

/** How gates and ups become products. */
export interface GateShape {
  readonly width: number;
  readonly activation: Activation;
  /** What bounds the inputs of a clamped one. */
  readonly limit?: number;
  /** Rows per token; 1 where absent. */
  readonly rowsPerToken?: number;
}

/** Experts of a layer, and how many of them a token goes through. */
export interface ExpertsShape {
  readonly count: number;
  readonly choices: number;
  /** Whether the shares of those chosen add up to 1. */
  readonly normalized: boolean;
}

/** What a product is added to. */
export interface MatmulOptions {
  /** `[outputs]`. */
  readonly bias?: GPUBuffer | undefined;
  /** Whether to add to what `y` holds. */
  readonly accumulate?: boolean;
}

/** What a network needs kernels for. */
export interface KernelNeeds {
  /** How its matrices are stored. */
  readonly storages: ReadonlySet<MatrixStorage>;
  /** Whether it has experts. */
  readonly experts?: boolean;
  /** Whether its logits are bounded. */
  readonly softcap?: boolean;
}

/** Whether a network needs a kernel. */
function isNeeded(name: string, { storages, experts = false, softcap = false }: KernelNeeds) {
  const storage = (["f16", "f32"] as const).find((suffix) => name.endsWith(suffix));
  return (storage === undefined || storages.has(storage)) &&
    (experts || !/^(expert|route|mix)/.test(name)) && (softcap || name !== "softcap");
}

/**
 * Compiles the kernels that a network needs.
 *
 * @param stepBuffer Slots of 256 bytes, each the two words of kernels/common.ts.
 * @throws {CoupletError} `device` where the device refuses a kernel.
 */
export async function createOperations(
  allocation: Allocation,
  needs: KernelNeeds,
  stepBuffer: GPUBuffer,
): Promise<Operations> {
  const wanted = new Map([...kernelSources()].filter(([name]) => isNeeded(name, needs)));
  const { operation, uniform } = await compileKernels(allocation, wanted, stepBuffer);
  const noBias = allocation.create({ size: 16, usage: GPUBufferUsage.STORAGE });

  return {
    embed(matrix, scale, tokenIds, hidden) {
      return all(matrix.pieces.map((piece) =>
        operation(
          `embedding ${matrix.storage}`,
          [
            piece.buffer,
            tokenIds,
            hidden,
            uniform(
              Uint32Array.of(matrix.blocks, piece.outputs, piece.firstOutput, floatBits(scale)),
            ),
          ],
          (rows) => grid(Math.ceil(rows * matrix.blocks / EMBEDDING_WORKGROUP)),
        )
      ));
    },
    norm({ width, rowsPerToken, epsilon }, x, gain, y, { accumulate = false } = {}) {
      const words = Uint32Array.of(width, rowsPerToken, floatBits(epsilon), accumulate ? 1 : 0);
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
    gate({ width, activation, limit = 0, rowsPerToken = 1 }, gateUp, product) {
      const blocks = width / 4;
      const words = [blocks, rowsPerToken, ACTIVATIONS[activation], floatBits(limit)];
      return operation(
        "gate",
        [gateUp, product, uniform(Uint32Array.from(words))],
        (rows) => grid(Math.ceil(rows * rowsPerToken * blocks / GATE_WORKGROUP)),
      );
    },
    route({ count, choices, normalized }, scores, routes) {
      return operation(
        "route",
        [scores, routes, uniform(Uint32Array.of(count, choices, normalized ? 1 : 0))],
        (rows) => grid(Math.ceil(rows / EXPERTS_WORKGROUP)),
      );
    },
    expertMatmul({ count, choices, eachOwnRow }, x, matrix, routes, y, { bias } = {}) {
      const width = matrix.outputs / count;
      return all(matrix.pieces.map((piece) => {
        const words = Uint32Array.of(
          matrix.blocks,
          piece.outputs,
          piece.firstOutput,
          width,
          choices,
          eachOwnRow ? 1 : choices,
          bias === undefined ? 0 : 1,
        );
        return operation(
          `expert matmul ${matrix.storage}`,
          [x, piece.buffer, bias ?? noBias, routes, y, uniform(words)],
          (rows) => grid(rows * choices * Math.ceil(width / EXPERTS_WORKGROUP)),
        );
      }));
    },
    mixExperts({ choices, width }, outputs, routes, hidden) {
      return operation(
        "mix experts",
        [outputs, routes, hidden, uniform(Uint32Array.of(width / 4, choices))],
        (rows) => grid(Math.ceil(rows * width / 4 / EXPERTS_WORKGROUP)),
      );
    },
    softcap(width, bound, x) {
      return operation(
        "softcap",
        [x, uniform(Uint32Array.of(width, floatBits(bound)))],
        (rows) => grid(Math.ceil(rows * width / SOFTCAP_WORKGROUP)),
      );
    },
    rotate(heads, headDim, turns, x, firstTurn = 0) {
      return operation(
        "rotate",
        [turns, x, uniform(Uint32Array.of(heads, headDim / 2, firstTurn))],
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

/** A number's bits as a float32. */
function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}

/** Runs operations one after the other. */
function all(operations: readonly Operation[]): Operation {
  return (pass, rows) => {
    for (const run of operations) run(pass, rows);
  };
}
