import { type Cache, layerShape, type ModelShape, type Sequence } from "@couplet/kv";
import { median } from "./metrics.ts";

/** Decode steps in one submission: many, because waiting for the device takes milliseconds of its own. */
const STEPS = 8;

/** Submissions timed per cache, and after how many there may be no more. */
const ROUNDS = 5;
const FEWEST_ROUNDS = 3;

/** Seconds after which slow adapters are spared more rounds. */
const ENOUGH_SECONDS = 15;

/** A cache with sequences in it. */
export interface FilledCache {
  readonly cache: Cache;
  /** All of one length, with no room for more. */
  readonly sequences: readonly Sequence[];
}

/** What {@linkcode timeDecodeSteps} needs. */
export interface TimingOptions {
  readonly device: GPUDevice;
  readonly shape: ModelShape;
  /** The caches to compare, with the same number of sequences of the same length. */
  readonly caches: readonly FilledCache[];
}

/**
 * Milliseconds that one decode step takes in each cache: each sequence's last token is taken back, then
 * appended again and attended to, in all layers, several times in one submission. The median of several
 * submissions, the caches taking turns, so that a machine that slows down slows all of them. From the first
 * command recorded to the device's having finished.
 */
export async function timeDecodeSteps(
  { device, shape, caches }: TimingOptions,
): Promise<readonly number[]> {
  const tokens = caches[0]?.sequences.length ?? 0;
  const { queryHeads, keyValueHeads, headDim } = layerShape(shape, 0);
  const channels = tokens * headDim * 4;
  // What the numbers are does not matter for the time: encoding and attending have no shortcuts.
  const keyValues = randomBuffer(device, channels * keyValueHeads);
  const queries = randomBuffer(device, channels * queryHeads);
  const output = device.createBuffer({ size: queries.size, usage: GPUBufferUsage.STORAGE });

  function decode({ cache, sequences }: FilledCache): Promise<unknown> {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < STEPS; i++) {
      for (const sequence of sequences) cache.truncate(sequence, cache.length(sequence) - 1);
      const step = cache.beginStep(sequences.map((sequence) => ({ sequence, tokens: 1 })));
      for (let layer = 0; layer < shape.layers; layer++) {
        cache.encodeAppend(pass, step, layer, {
          keys: { buffer: keyValues },
          values: { buffer: keyValues },
        });
        cache.encodeAttend(pass, step, layer, {
          queries: { buffer: queries },
          output: { buffer: output },
        });
      }
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
    return device.queue.onSubmittedWorkDone();
  }

  const times: number[][] = caches.map(() => []);
  const begun = performance.now();
  // The first round warms up.
  for (let round = -1; round < ROUNDS; round++) {
    const seconds = (performance.now() - begun) / 1000;
    if (round >= FEWEST_ROUNDS && seconds > ENOUGH_SECONDS) break;
    for (const [i, filled] of caches.entries()) {
      const started = performance.now();
      await decode(filled);
      if (round >= 0) times[i]!.push((performance.now() - started) / STEPS);
    }
  }
  for (const buffer of [keyValues, queries, output]) buffer.destroy();
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
