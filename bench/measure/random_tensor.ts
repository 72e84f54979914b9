/** A host's tensors for measuring. */
import { CHANNEL_RANGE } from "../../src/tuning/random_codebooks.ts";

const GOLDEN = (Math.sqrt(5) - 1) / 2;

/** The number at an index of every random tensor: multiples of an irrational number, modulo 1, are spread evenly. */
export function spreadNumber(index: number): number {
  return (2 * ((index * GOLDEN) % 1) - 1) * CHANNEL_RANGE;
}

/** A storage buffer of `count` numbers in f32, spread evenly around 0 and the same every time. */
export function randomTensor(device: GPUDevice, count: number): GPUBuffer {
  const buffer = device.createBuffer({
    size: count * 4,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
  });
  const numbers = Float32Array.from({ length: count }, (_, i) => spreadNumber(i));
  device.queue.writeBuffer(buffer, 0, numbers);
  return buffer;
}
