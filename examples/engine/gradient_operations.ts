import type { Allocation } from "./allocation.ts";
import { compileKernels, type KernelSource, type Operation } from "./kernel_set.ts";
import { grid } from "./kernels/common.ts";
import { NO_TARGET } from "./kernels/cross_entropy.ts";
import {
  crossEntropyGradientSource,
  GRADIENT_WORKGROUP,
  RMS_NORM_GRADIENT_SOURCE,
  SWIGLU_GRADIENT_SOURCE,
} from "./kernels/gradients.ts";
import {
  CAUSAL_SOFTMAX_GRADIENT_SOURCE,
  CAUSAL_SOFTMAX_SOURCE,
  GATHER_SOURCE,
  MIX_SOURCE,
  PAIR_PRODUCTS_SOURCE,
  PRODUCT_COLUMNS,
  PRODUCT_ROWS,
} from "./kernels/window_attention.ts";
import type { NormShape } from "./operations.ts";

/** The kernels that gradients need beyond the engine's, by name. */
export function gradientKernelSources(): ReadonlyMap<string, KernelSource> {
  const [read, write, uniform] = ["read-only-storage", "storage", "uniform"] as const;
  return new Map<string, KernelSource>([
    ["pair products", { code: PAIR_PRODUCTS_SOURCE, bindings: [read, read, write, uniform] }],
    ["mix", { code: MIX_SOURCE, bindings: [read, read, write, uniform] }],
    ["gather", { code: GATHER_SOURCE, bindings: [read, read, write, uniform] }],
    ["causal softmax", { code: CAUSAL_SOFTMAX_SOURCE, bindings: [write, uniform] }],
    ["causal softmax gradient", {
      code: CAUSAL_SOFTMAX_GRADIENT_SOURCE,
      bindings: [read, write, uniform],
    }],
    ["rms norm gradient", {
      code: RMS_NORM_GRADIENT_SOURCE,
      bindings: [read, read, read, write, uniform],
    }],
    ["swiglu gradient", { code: SWIGLU_GRADIENT_SOURCE, bindings: [read, write, uniform] }],
    ["cross entropy gradient", {
      code: crossEntropyGradientSource(NO_TARGET),
      bindings: [read, read, read, write, uniform],
    }],
  ]);
}

/** Heads and tokens of dense attention over windows. */
export interface WindowShape {
  /** Tokens of a window: a multiple of the kernels' tile. */
  readonly tokens: number;
  readonly queryHeads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
}

/** Binds the kernels to buffers. What they compute is in kernels/window_attention.ts and kernels/gradients.ts. */
export interface GradientOperations {
  /** `products = a b^T`, from rows of query heads and of KV heads. */
  pairProducts(a: GPUBuffer, b: GPUBuffer, products: GPUBuffer): Operation;
  /** `y = products x`, from rows of KV heads to rows of query heads. */
  mix(products: GPUBuffer, x: GPUBuffer, y: GPUBuffer): Operation;
  /** `y = products^T x`, from rows of query heads to rows of KV heads. */
  gather(products: GPUBuffer, x: GPUBuffer, y: GPUBuffer): Operation;
  /** Scores to shares, in place. */
  softmax(products: GPUBuffer): Operation;
  /** Gradients of shares to gradients of scores, in place. */
  softmaxGradient(shares: GPUBuffer, products: GPUBuffer): Operation;
  /** Gradient of an RMSNorm's input, or `xGradient += ...`. */
  normGradient(
    shape: NormShape,
    x: GPUBuffer,
    gain: GPUBuffer,
    yGradient: GPUBuffer,
    xGradient: GPUBuffer,
    options?: { readonly accumulate?: boolean },
  ): Operation;
  /** Gradients of gates and ups, in their place. */
  swigluGradient(width: number, productGradient: GPUBuffer, gateUp: GPUBuffer): Operation;
  /** Gradient of the logits; its rows are padded to `rowLength`. */
  crossEntropyGradient(
    shape: { readonly vocabulary: number; readonly rowLength: number },
    buffers: {
      readonly logits: GPUBuffer;
      readonly targets: GPUBuffer;
      readonly entropy: GPUBuffer;
      readonly gradients: GPUBuffer;
    },
  ): Operation;
}

/**
 * Compiles the kernels.
 *
 * @throws {CoupletError} `device` where the device refuses one.
 */
export async function createGradientOperations(
  allocation: Allocation,
  stepBuffer: GPUBuffer,
  { tokens, queryHeads, keyValueHeads, headDim }: WindowShape,
): Promise<GradientOperations> {
  const { operation, uniform } = await compileKernels(
    allocation,
    gradientKernelSources(),
    stepBuffer,
  );
  const window = uniform(Uint32Array.of(tokens, queryHeads, keyValueHeads, headDim / 4));
  const scale = new Float32Array([1 / Math.sqrt(headDim)]);
  const softmax = uniform(
    Uint32Array.of(tokens, queryHeads, new Uint32Array(scale.buffer)[0]!),
  );
  const rowTiles = tokens / PRODUCT_ROWS;
  const channelTiles = Math.ceil(headDim / PRODUCT_COLUMNS);

  return {
    pairProducts: (a, b, products) =>
      operation(
        "pair products",
        [a, b, products, window],
        (rows) => [tokens / PRODUCT_COLUMNS, rowTiles, rows / tokens * queryHeads],
      ),
    mix: (products, x, y) =>
      operation(
        "mix",
        [products, x, y, window],
        (rows) => [channelTiles, rowTiles, rows / tokens * queryHeads],
      ),
    gather: (products, x, y) =>
      operation(
        "gather",
        [products, x, y, window],
        (rows) => [channelTiles, rowTiles, rows / tokens * keyValueHeads],
      ),
    softmax: (products) =>
      operation("causal softmax", [products, softmax], (rows) => grid(rows * queryHeads)),
    softmaxGradient: (shares, products) =>
      operation(
        "causal softmax gradient",
        [shares, products, softmax],
        (rows) => grid(rows * queryHeads),
      ),
    normGradient({ width, rowsPerToken, epsilon }, x, gain, yGradient, xGradient, options = {}) {
      const words = Uint32Array.of(width, rowsPerToken, 0, options.accumulate ? 1 : 0);
      new Float32Array(words.buffer)[2] = epsilon;
      return operation(
        "rms norm gradient",
        [x, gain, yGradient, xGradient, uniform(words)],
        (rows) => grid(rows * rowsPerToken),
      );
    },
    swigluGradient: (width, productGradient, gateUp) =>
      operation(
        "swiglu gradient",
        [productGradient, gateUp, uniform(Uint32Array.of(width / 4))],
        (rows) => grid(Math.ceil(rows * width / 4 / GRADIENT_WORKGROUP)),
      ),
    crossEntropyGradient(
      { vocabulary, rowLength },
      { logits, targets, entropy, gradients },
    ) {
      return operation(
        "cross entropy gradient",
        [logits, targets, entropy, gradients, uniform(Uint32Array.of(vocabulary, rowLength))],
        (rows) => grid(Math.ceil(rows * rowLength / 4 / GRADIENT_WORKGROUP)),
      );
    },
  };
}
