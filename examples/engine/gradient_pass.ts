import { CoupletError } from "@couplet/kv";
import type { Checkpoint } from "./checkpoint.ts";
import type { GradientBuffers } from "./gradient_buffers.ts";
import type { GradientNetwork } from "./gradient_network.ts";
import type { Rows } from "./kernel_set.ts";
import { NO_TARGET } from "./kernels/cross_entropy.ts";
import { onlyRope } from "./layer_ropes.ts";
import { ReadBack } from "./read_back.ts";
import { Recorder } from "./recorder.ts";
import { slabRows, SLOT_BYTES } from "./step_buffers.ts";
import { turns } from "./step_plan.ts";

/** What a gradient engine is made of. */
export interface GradientOptions {
  /** The device everything runs on; the engine neither requests nor destroys it. */
  readonly device: GPUDevice;
  /** The model. */
  readonly checkpoint: Pick<Checkpoint, "config" | "weights">;
  /** Most tokens of a window. */
  readonly windowTokens: number;
  /** Windows that run together; as many as make 2048 tokens and fit the device where absent. */
  readonly windows?: number;
}

/** What one layer's keys and values are, and how the loss changes with them. */
export interface LayerGradients {
  /** `[tokens of all windows][queryHeads][headDim]`, before the rotary embedding and after their norm. */
  readonly queries: Float32Array<ArrayBuffer>;
  /** `[tokens of all windows][keyValueHeads][headDim]`, before the rotary embedding and after their norm. */
  readonly keys: Float32Array<ArrayBuffer>;
  /** `[tokens of all windows][keyValueHeads][headDim]`. */
  readonly values: Float32Array<ArrayBuffer>;
  /** Gradient of the summed loss with respect to `keys`. */
  readonly keyGradients: Float32Array<ArrayBuffer>;
  /** Gradient of the summed loss with respect to `values`. */
  readonly valueGradients: Float32Array<ArrayBuffer>;
}

/** What {@linkcode GradientEngine.run} gives. */
export interface Gradients {
  /** Sum of the losses of every token that has a next one in its window, natural logarithm. */
  readonly loss: number;
  /** By layer. */
  readonly layers: readonly LayerGradients[];
}

/** How {@linkcode GradientEngine.run} runs. */
export interface GradientRunOptions {
  /** False to run forward alone: losses and gradients are then zero. */
  readonly gradients?: boolean;
  /** Told how far the run has come, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/** Where a run's results go. */
interface Results {
  loss: number;
  readonly layers: readonly LayerGradients[];
}

/** Runs groups of windows forward and back. */
export class GradientPass {
  readonly #options: GradientOptions;
  readonly #tokens: number;
  readonly #windows: number;
  readonly #buffers: GradientBuffers;
  readonly #network: GradientNetwork;

  constructor(
    options: GradientOptions,
    { tokens, windows }: { readonly tokens: number; readonly windows: number },
    buffers: GradientBuffers,
    network: GradientNetwork,
  ) {
    this.#options = options;
    this.#tokens = tokens;
    this.#windows = windows;
    this.#buffers = buffers;
    this.#network = network;
  }

  async run(
    windows: readonly (readonly number[])[],
    { gradients = true, onProgress }: GradientRunOptions = {},
  ): Promise<Gradients> {
    const { config } = this.#options.checkpoint;
    this.#check(windows);
    const total = windows.reduce((sum, { length }) => sum + length, 0);
    const floats = (heads: number) => new Float32Array(total * heads * config.headDim);
    const results: Results = {
      loss: 0,
      layers: Array.from({ length: config.layers }, () => ({
        queries: floats(config.queryHeads),
        keys: floats(config.keyValueHeads),
        values: floats(config.keyValueHeads),
        keyGradients: floats(config.keyValueHeads),
        valueGradients: floats(config.keyValueHeads),
      })),
    };
    let done = 0;
    for (let first = 0; first < windows.length; first += this.#windows) {
      const group = windows.slice(first, first + this.#windows);
      await this.#runGroup(group, gradients, results, done);
      done += group.reduce((sum, { length }) => sum + length, 0);
      onProgress?.(done / total);
    }
    return results;
  }

  /** Windows that run together, whose first token is the `done`-th of the results. */
  async #runGroup(
    windows: readonly (readonly number[])[],
    gradients: boolean,
    results: Results,
    done: number,
  ): Promise<void> {
    const { device, checkpoint } = this.#options;
    const { shared, layers } = this.#buffers;
    const network = this.#network;
    const { rows, slabs } = this.#writeStep(windows);
    const recorder = new Recorder(device, "gradients");
    const readBack = new ReadBack(device);
    const hiddenBytes = rows.count * checkpoint.config.hiddenSize * 4;

    function copy(from: GPUBuffer, to: GPUBuffer): void {
      recorder.encoder.copyBufferToBuffer(from, 0, to, 0, hiddenBytes);
    }
    const read = (buffer: GPUBuffer, heads: number, into: Float32Array<ArrayBuffer>): void => {
      const width = heads * checkpoint.config.headDim;
      readBack.copy(recorder.encoder, buffer, rows.count * width * 4, (bytes) => {
        const all = new Float32Array(bytes);
        let at = done * width;
        windows.forEach(({ length }, window) => {
          const from = window * this.#tokens * width;
          into.set(all.subarray(from, from + length * width), at);
          at += length * width;
        });
      });
    };

    const { queryHeads, keyValueHeads } = checkpoint.config;
    network.embed(recorder.pass, rows);
    for (const [index, layer] of network.layers.entries()) {
      const { input, middle, query, key, value } = layers[index]!;
      const result = results.layers[index]!;
      copy(shared.hidden, input);
      copy(shared.hidden, middle);
      for (const run of layer.project) run(recorder.pass, rows);
      read(query, queryHeads, result.queries);
      read(key, keyValueHeads, result.keys);
      read(value, keyValueHeads, result.values);
      // Nobody asks what the last layer's heads lead to.
      if (!gradients && index === layers.length - 1) break;
      for (const run of layer.attend) run(recorder.pass, rows);
      copy(middle, shared.hidden);
      for (const run of layer.feedForward) run(recorder.pass, rows);
    }
    if (gradients) this.#encodeBack(recorder, readBack, read, rows, slabs, results);
    device.queue.submit([recorder.finish()]);
    await readBack.finish();
  }

  /** From the last layer's output to the losses, and back to every layer's keys and values. */
  #encodeBack(
    recorder: Recorder,
    readBack: ReadBack,
    read: (buffer: GPUBuffer, heads: number, into: Float32Array<ArrayBuffer>) => void,
    rows: Rows,
    slabs: readonly { within: Rows; alone: Rows }[],
    results: Results,
  ): void {
    const { hiddenSize, keyValueHeads } = this.#options.checkpoint.config;
    const { shared, layers } = this.#buffers;
    const network = this.#network;
    network.finalNorm(recorder.pass, rows);
    const rowBytes = hiddenSize * 4;
    let slabFirst = 0;
    for (const { within, alone } of slabs) {
      for (const run of network.head) run(recorder.pass, within);
      network.headGradient(recorder.pass, alone);
      recorder.encoder.copyBufferToBuffer(
        shared.slabGradient,
        0,
        shared.normedGradient,
        slabFirst * rowBytes,
        alone.count * rowBytes,
      );
      slabFirst += alone.count;
    }
    readBack.copy(recorder.encoder, shared.entropy, rows.count * 8, (bytes) => {
      // Pairs of loss and log-sum-exp; rows without a target have the loss 0.
      new Float32Array(bytes).forEach((value, i) => results.loss += i % 2 === 0 ? value : 0);
    });
    network.finalNormGradient(recorder.pass, rows);

    for (let index = layers.length - 1; index >= 0; index--) {
      const layer = network.layers[index]!;
      const { keyGradients, valueGradients } = results.layers[index]!;
      for (const run of layer.attentionGradient) run(recorder.pass, rows);
      read(shared.keyGradient, keyValueHeads, keyGradients);
      read(shared.valueGradient, keyValueHeads, valueGradients);
      // Nobody asks for the gradient of the embedding.
      if (index === 0) break;
      for (const run of layer.inputGradient) run(recorder.pass, rows);
    }
  }

  /** Writes what the kernels read. Windows are padded to whole tiles, which nothing before them sees. */
  #writeStep(
    windows: readonly (readonly number[])[],
  ): { rows: Rows; slabs: { within: Rows; alone: Rows }[] } {
    const { device, checkpoint: { config } } = this.#options;
    const { shared } = this.#buffers;
    const tokens = this.#tokens;
    const count = windows.length * tokens;
    const slots = new Uint32Array(shared.step.size / 4);
    let offset = 0;
    function slot(count: number, firstRow: number): Rows {
      const rows = { count, offset };
      slots.set([count, firstRow], offset / 4);
      offset += SLOT_BYTES;
      return rows;
    }
    const rows = slot(count, 0);
    const slab = slabRows(config.vocabularySize, this.#windows * tokens, device.limits);
    const slabs: { within: Rows; alone: Rows }[] = [];
    for (let first = 0; first < count; first += slab) {
      const length = Math.min(slab, count - first);
      slabs.push({ within: slot(length, first), alone: slot(length, 0) });
    }

    const tokenIds = new Uint32Array(count);
    const targets = new Uint32Array(count).fill(NO_TARGET);
    windows.forEach((window, index) => {
      tokenIds.set(window, index * tokens);
      targets.set(window.slice(1), index * tokens);
    });
    const table = turns({
      tokens: count,
      segments: windows.map((_, entry) => ({
        entry,
        start: 0,
        count: tokens,
        position: 0,
        row: entry * tokens,
      })),
    }, onlyRope(config));
    device.queue.writeBuffer(shared.step, 0, slots);
    device.queue.writeBuffer(shared.tokenIds, 0, tokenIds);
    device.queue.writeBuffer(shared.targets, 0, targets);
    device.queue.writeBuffer(shared.turns, 0, table);
    // The other way round: the sines change sign.
    device.queue.writeBuffer(
      shared.turnsBack,
      0,
      table.map((value, i) => i % 2 === 0 ? value : -value),
    );
    return { rows, slabs };
  }

  #check(windows: readonly (readonly number[])[]): void {
    const { checkpoint: { config }, windowTokens } = this.#options;
    for (const [index, window] of windows.entries()) {
      const unknown = window.find((id) =>
        !Number.isInteger(id) || id < 0 || id >= config.vocabularySize
      );
      if (window.length > 0 && window.length <= windowTokens && unknown === undefined) continue;
      throw new CoupletError("usage", {
        what: "Cannot take gradients",
        why: unknown === undefined
          ? `window ${index} has ${window.length} tokens, and one may have 1 to ${windowTokens}`
          : `token ${unknown} is not in the vocabulary of ${config.vocabularySize}`,
        remedy: "Cut the text into windows, with the checkpoint's own tokenizer",
      });
    }
  }
}
