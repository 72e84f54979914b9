import type { Cache, ModelShape, Sequence } from "@couplet/kv";
import { median } from "./metrics.ts";

/** What {@linkcode timeDecodeSteps} needs. */
export interface TimingOptions {
  readonly device: GPUDevice;
  readonly shape: ModelShape;
  /** The caches to compare; empty, and empty again afterwards. */
  readonly caches: readonly Cache[];
  /** Sequences each cache is filled with. */
  readonly sequences: number;
  /** Tokens of each sequence when it is timed. */
  readonly tokens: number;
  /** Most tokens of one sequence in one step. */
  readonly appendTokens: number;
  /** Timed steps per cache. */
  readonly rounds: number;
  readonly onProgress?: (fraction: number) => void;
}

/**
 * Milliseconds that one decode step takes in each cache: one more token for every sequence, appended and
 * attended to in all layers. The median of several, the caches taking turns, so that a machine that slows
 * down slows all of them. From the first command recorded to the device's having finished.
 */
export async function timeDecodeSteps(options: TimingOptions): Promise<readonly number[]> {
  const { device, shape, caches, sequences: count, tokens, appendTokens, rounds } = options;
  const rows = count * appendTokens * shape.headDim * 4;
  // What the numbers are does not matter for the time: encoding and attending have no shortcuts.
  const keyValues = randomBuffer(device, rows * shape.keyValueHeads);
  const queries = randomBuffer(device, rows * shape.queryHeads);
  const output = device.createBuffer({ size: queries.size, usage: GPUBufferUsage.STORAGE });
  const vectors = { keys: { buffer: keyValues }, values: { buffer: keyValues } };
  const attention = { queries: { buffer: queries }, output: { buffer: output } };

  /** Adds tokens to every sequence; attends to them, too, unless it is only to fill the cache. */
  function run(
    cache: Cache,
    sequences: readonly Sequence[],
    tokens: number,
    attend: boolean,
  ): Promise<undefined> {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    const step = cache.beginStep(sequences.map((sequence) => ({ sequence, tokens })));
    for (let layer = 0; layer < shape.layers; layer++) {
      cache.encodeAppend(pass, step, layer, vectors);
      if (attend) cache.encodeAttend(pass, step, layer, attention);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    return device.queue.onSubmittedWorkDone();
  }

  const held = caches.map((cache) => Array.from({ length: count }, () => cache.createSequence()));
  const times: number[][] = caches.map(() => []);
  try {
    for (const [i, cache] of caches.entries()) {
      for (let at = 0; at < tokens - 1; at += appendTokens) {
        await run(cache, held[i]!, Math.min(appendTokens, tokens - 1 - at), false);
      }
      options.onProgress?.((i + 1) / caches.length / 2);
    }
    for (let round = -1; round < rounds; round++) {
      for (const [i, cache] of caches.entries()) {
        const started = performance.now();
        await run(cache, held[i]!, 1, true);
        // The first round warms up.
        if (round >= 0) times[i]!.push(performance.now() - started);
        for (const sequence of held[i]!) cache.truncate(sequence, tokens - 1);
      }
      options.onProgress?.(0.5 + (round + 2) / (rounds + 1) / 2);
    }
  } finally {
    for (const [i, cache] of caches.entries()) {
      for (const sequence of held[i]!) cache.freeSequence(sequence);
    }
    for (const buffer of [keyValues, queries, output]) buffer.destroy();
  }
  return times.map(median);
}

function randomBuffer(device: GPUDevice, size: number): GPUBuffer {
  const buffer = device.createBuffer({
    size,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  const numbers = Float32Array.from({ length: size / 4 }, (_, i) => Math.sin(i * i));
  device.queue.writeBuffer(buffer, 0, numbers);
  return buffer;
}
