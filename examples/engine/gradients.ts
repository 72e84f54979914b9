import { CoupletError } from "@couplet/kv";
import { Allocation, outOfMemory } from "./allocation.ts";
import { type DeviceModel, uploadModel } from "./device_model.ts";
import {
  bufferSizes,
  checkSizes,
  createBuffers,
  type GradientBuffers,
  largest,
} from "./gradient_buffers.ts";
import { bindGradientNetwork, type TransposedModel, uploadTransposed } from "./gradient_network.ts";
import { createGradientOperations } from "./gradient_operations.ts";
import {
  type GradientOptions,
  GradientPass,
  type GradientRunOptions,
  type Gradients,
} from "./gradient_pass.ts";
import { WINDOW_TILE } from "./kernels/window_attention.ts";
import { requirePlainNetwork } from "./plain_network.ts";
import { createOperations } from "./operations.ts";
import { largestBinding } from "./step_buffers.ts";

export type {
  GradientOptions,
  GradientRunOptions,
  Gradients,
  LayerGradients,
} from "./gradient_pass.ts";

/** A model on a device, forward and back, with dense attention and no cache. */
export interface GradientEngine {
  /**
   * Runs windows of text, each for itself.
   *
   * @throws {CoupletError} `usage` for a window that is empty, too long or holds unknown tokens.
   */
  run(windows: readonly (readonly number[])[], options?: GradientRunOptions): Promise<Gradients>;
  /** Frees the weights and buffers. The device stays. */
  destroy(): void;
}

/** Tokens that run together where nothing else is said. */
const TOKENS_TOGETHER = 2048;

/**
 * Brings a model to a device for gradients of the loss: the diagonal Fisher information of its keys and
 * values is their square.
 *
 * It keeps two copies of the matrices, one of them transposed, and every layer's activations.
 *
 * @throws {CoupletError} `usage` where the model's network differs from Llama's, or `windowTokens` exceeds
 * its positions; `limits` where a
 * buffer exceeds the device's limits or memory; `device` where a kernel is refused.
 */
export async function createGradientEngine(options: GradientOptions): Promise<GradientEngine> {
  const { device, checkpoint, windowTokens } = options;
  const { config } = checkpoint;
  requirePlainNetwork(config, "Cannot take gradients");
  if (
    !(Number.isInteger(windowTokens) && windowTokens > 0 && windowTokens <= config.maxPositions)
  ) {
    throw new CoupletError("usage", {
      what: "Cannot take gradients",
      why: `windows of ${windowTokens} tokens do not fit a model for ${config.maxPositions}`,
      remedy: `Use windows of 1 to ${config.maxPositions} tokens`,
    });
  }
  const tokens = Math.ceil(windowTokens / WINDOW_TILE) * WINDOW_TILE;
  let windows = options.windows ?? Math.max(1, Math.floor(TOKENS_TOGETHER / tokens));
  let sizes = bufferSizes(checkpoint, tokens, windows, device.limits);
  while (
    options.windows === undefined && windows > 1 && largest(sizes) > largestBinding(device.limits)
  ) {
    windows--;
    sizes = bufferSizes(checkpoint, tokens, windows, device.limits);
  }
  checkSizes(sizes, device.limits, windows);

  const allocation = new Allocation(device);
  try {
    const { buffers, model, back, exhausted } = allocate();
    const error = await exhausted;
    if (error !== null) throw outOfMemory(error.message);
    const matrices = [model.embedding, model.head, ...model.layers.map(({ down }) => down.matrix)]
      .concat(
        model.layers.flatMap((layer) => [
          layer.query.matrix,
          layer.key.matrix,
          layer.value.matrix,
          layer.output.matrix,
          layer.gateUp.matrix,
        ]),
        back.head,
        back.layers.flatMap((layer) => Object.values(layer)),
      );
    const storages = new Set(matrices.map(({ storage }) => storage));
    const { step } = buffers.shared;
    const network = bindGradientNetwork(
      checkpoint,
      model,
      back,
      buffers,
      await createOperations(allocation, { storages }, step),
      await createGradientOperations(allocation, step, { ...config, tokens }),
    );
    const pass = new GradientPass(options, { tokens, windows }, buffers, network);
    return {
      run: (texts, run) => pass.run(texts, run),
      destroy: () => allocation.destroy(),
    };
  } catch (error) {
    allocation.destroy();
    throw error;
  }

  /** Opens and closes the error scope without waiting: scopes of others may not come between. */
  function allocate(): {
    buffers: GradientBuffers;
    model: DeviceModel;
    back: TransposedModel;
    exhausted: Promise<GPUError | null>;
  } {
    device.pushErrorScope("out-of-memory");
    try {
      const buffers = createBuffers(allocation, sizes);
      const model = uploadModel(allocation, checkpoint, "as-stored");
      const back = uploadTransposed(allocation, checkpoint);
      return { buffers, model, back, exhausted: device.popErrorScope() };
    } catch (error) {
      device.popErrorScope();
      throw error;
    }
  }
}
