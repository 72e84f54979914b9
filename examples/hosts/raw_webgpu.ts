/**
 * A cache in a host with a device and buffers of its own: one layer, a prompt of 300 tokens in three steps, one more
 * token, and each output beside that of the float64 reference.
 *
 * @module
 */
import { createCache, createReferenceCache, planCache, type PlanOptions } from "../../mod.ts";
import { kernels } from "../../generated/u4b8/u4b8_d64.ts";

const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;

/** 2.38 bits a channel by a universal scheme, which needs no calibration. */
const OPTIONS: PlanOptions = {
  shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "u4b8", values: "u4b8" },
  keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
  tiers: { sinks: 4, window: 32 },
  capacity: { sequences: 1, tokens: 512, sequenceTokens: 512, stepTokens: 100, appendTokens: 100 },
  kernels,
};

/**
 * Fills a cache, attends, and compares. Where two codes are as good as equally near, a device may choose another than the
 * reference, which shows; with these numbers none of the adapters tested does.
 *
 * @returns The largest difference from the reference, over the root mean square of its outputs.
 */
export async function attend(device: GPUDevice): Promise<number> {
  const plan = planCache({ ...OPTIONS, limits: device.limits });
  const cache = await createCache({ device, plan });
  const reference = createReferenceCache(OPTIONS);
  const sequence = cache.createSequence();
  const referenceSequence = reference.createSequence();

  let largest = 0;
  for (const tokens of [100, 100, 100, 1]) {
    // What a model's projections write: [tokens][heads][headDim], in buffers of the host.
    const [keys, values, queries] = [random(tokens, 2), random(tokens, 2), random(tokens, 4)];
    const [keyBuffer, valueBuffer, queryBuffer] = [keys, values, queries].map((data) => {
      const buffer = device.createBuffer({ size: data.byteLength, usage: STORAGE | COPY_DST });
      device.queue.writeBuffer(buffer, 0, data);
      return buffer;
    }) as [GPUBuffer, GPUBuffer, GPUBuffer];
    const output = device.createBuffer({ size: queries.byteLength, usage: STORAGE | COPY_SRC });

    // The cache records into the host's encoder, and the host submits.
    const step = cache.beginStep([{ sequence, tokens }]);
    const encoder = device.createCommandEncoder();
    cache.encodeAppend(encoder, step, 0, {
      keys: { buffer: keyBuffer },
      values: { buffer: valueBuffer },
    });
    cache.encodeAttend(encoder, step, 0, {
      queries: { buffer: queryBuffer },
      output: { buffer: output },
    });
    device.queue.submit([encoder.finish()]);

    const referenceStep = reference.beginStep([{ sequence: referenceSequence, tokens }]);
    reference.append(referenceStep, 0, { keys, values });
    const wanted = reference.attend(referenceStep, 0, { queries });
    largest = Math.max(largest, difference(await download(device, output), wanted));
    for (const buffer of [keyBuffer, valueBuffer, queryBuffer, output]) buffer.destroy();
  }
  cache.destroy();
  return largest;
}

let state = 1;

/** Stands in for a model: numbers from -1 to 1, the same in every run. */
function random(tokens: number, heads: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: tokens * heads * 64 }, () => {
    state = (state * 48271) % 2147483647;
    return (2 * state) / 2147483647 - 1;
  });
}

async function download(device: GPUDevice, buffer: GPUBuffer): Promise<Float32Array> {
  const staging = device.createBuffer({ size: buffer.size, usage: MAP_READ | COPY_DST });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, buffer.size);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(GPUMapMode.READ);
  const data = new Float32Array(staging.getMappedRange().slice(0));
  staging.destroy();
  return data;
}

function difference(found: Float32Array, wanted: Float32Array): number {
  const square = wanted.reduce((sum, value) => sum + value * value, 0);
  const largest = found.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i]!)), 0);
  return largest / Math.sqrt(square / wanted.length);
}
