import { CoupletError } from "@couplet/kv";
import { Allocation, outOfMemory } from "./allocation.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { uploadModel } from "./device_model.ts";
import { ForwardPass } from "./forward_pass.ts";
import type { ForwardEntry, ReadOptions } from "./forward_entry.ts";
import type { ForwardResult } from "./forward_result.ts";
import { MAX_WORKGROUPS } from "./kernels/common.ts";
import { checkStorage, storageOf } from "./matrix.ts";
import { bindNetwork, type Network } from "./network.ts";
import { createOperations } from "./operations.ts";
import { type Buffers, bufferSizes, checkSizes, createBuffers } from "./step_buffers.ts";
import { allBlocks } from "./feed_forward_weights.ts";
import type { Weight } from "./weight.ts";
import type { ModelWeights } from "./weights.ts";
import type { EngineOptions } from "./engine_options.ts";

/** A model on a device, with a KV cache. */
export interface Engine<Sequence> {
  /** The device it runs on. */
  readonly device: GPUDevice;
  /** The model. */
  readonly checkpoint: Checkpoint;
  /** A new, empty sequence. */
  createSequence(): Sequence;
  /** Gives a sequence's memory back. */
  freeSequence(sequence: Sequence): void;
  /**
   * Runs new tokens of any number of sequences, in as many steps as the cache's limits ask for. Each
   * step is one submission.
   *
   * @throws {CoupletError} `usage` for entries that are empty, repeated or hold unknown tokens; what
   * the cache throws where it is full; tokens of steps before that one stay in it.
   */
  forward(entries: readonly ForwardEntry<Sequence>[], read?: ReadOptions): Promise<ForwardResult>;
  /** Frees the weights and buffers. The device and the cache stay. */
  destroy(): void;
}

/**
 * Brings a model to a device and compiles its kernels.
 *
 * @throws {CoupletError} `limits` where a buffer for `maxTokens` tokens exceeds the device's limits or
 * memory; `usage` where the options contradict each other; `shape` where float16 was asked for and
 * cannot hold a weight; `device` where a kernel is refused.
 */
export async function createEngine<Sequence, Step>(
  options: EngineOptions<Sequence, Step>,
): Promise<Engine<Sequence>> {
  const { device, checkpoint, cache, maxTokens, storage = "as-stored" } = options;
  const appendTokens = options.appendTokens ?? maxTokens;
  checkTokens(maxTokens, appendTokens);
  checkSizes(bufferSizes(checkpoint, maxTokens, device.limits), device.limits, maxTokens);
  for (const weight of matrices(checkpoint.weights).flat()) checkStorage(weight, storage);

  const allocation = new Allocation(device);
  try {
    const { buffers, network } = await build(options, allocation);
    const pass = new ForwardPass(options, buffers, network);
    return {
      device,
      checkpoint,
      createSequence: () => cache.createSequence(),
      freeSequence: (sequence) => cache.freeSequence(sequence),
      forward: (entries, read = {}) => pass.run(entries, read, appendTokens),
      destroy: () => allocation.destroy(),
    };
  } catch (error) {
    allocation.destroy();
    throw error;
  }
}

/** Allocates, uploads and compiles. */
async function build<Sequence, Step>(
  { device, checkpoint, maxTokens, keySpace = "pre-rope", storage = "as-stored" }: EngineOptions<
    Sequence,
    Step
  >,
  allocation: Allocation,
): Promise<{ buffers: Buffers; network: Network }> {
  const storages = matrices(checkpoint.weights).map((weights) => storageOf(weights, storage));
  const { buffers, model, exhausted } = allocate();
  const error = await exhausted;
  if (error !== null) throw outOfMemory(error.message);
  const { experts, logitSoftcap } = checkpoint.config;
  const needs = {
    storages: new Set(storages),
    experts: experts !== undefined,
    softcap: logitSoftcap > 0,
  };
  const operations = await createOperations(allocation, needs, buffers.step);
  const network = bindNetwork(checkpoint, model, buffers, operations, { keySpace, maxTokens });
  return { buffers, network };

  /** Opens and closes the error scope without waiting: scopes of others may not come between. */
  function allocate() {
    device.pushErrorScope("out-of-memory");
    try {
      const buffers = createBuffers(allocation, bufferSizes(checkpoint, maxTokens, device.limits));
      const model = uploadModel(allocation, checkpoint, storage);
      return { buffers, model, exhausted: device.popErrorScope() };
    } catch (error) {
      device.popErrorScope();
      throw error;
    }
  }
}

/** The weights that are matrices, those together that share one on the device. */
function matrices({ embedding, head, layers }: ModelWeights): Weight[][] {
  return [
    [embedding],
    [head],
    ...layers.flatMap(({ query, key, value, output, feedForward }) => {
      const blocks = allBlocks(feedForward);
      return [
        [query.weight],
        [key.weight],
        [value.weight],
        [output.weight],
        ...("experts" in feedForward ? [[feedForward.router.weight]] : []),
        blocks.flatMap(({ gate, up }) => [gate.weight, up.weight]),
        blocks.map(({ down }) => down.weight),
      ];
    }),
  ];
}

function checkTokens(maxTokens: number, appendTokens: number): void {
  for (const [name, count] of Object.entries({ maxTokens, appendTokens })) {
    if (!Number.isInteger(count) || count < 1 || count > MAX_WORKGROUPS) {
      throw new CoupletError("usage", {
        what: "The engine cannot be planned",
        why: `${name} is ${count}, not an integer from 1 to ${MAX_WORKGROUPS}`,
        remedy: "Pass the cache's stepTokens and appendTokens",
      });
    }
  }
}
