/** What one decode step costs on the host: beginning it and recording 32 layers, without any GPU time. */
import { createCache, planCache } from "../mod.ts";
import { manifest } from "../generated/manifest.ts";
import { randomTensor } from "./measure/random_tensor.ts";
import { type Spread, spread } from "./measure/statistics.ts";

const LAYERS = 32;
const CAPACITY = 1024;

/** Steps whose times are kept, after some that warm the runtime's compiler up. */
const STEPS = 2000;
const WARM_UP = 500;

/** Milliseconds of recording one decode step. */
export async function measureHost(device: GPUDevice): Promise<Spread> {
  const plan = planCache({
    shape: { layers: LAYERS, queryHeads: 8, keyValueHeads: 2, headDim: 64 },
    policy: { keys: "f16", values: "f16" },
    keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
    tiers: { sinks: 4, window: 64 },
    capacity: {
      sequences: 1,
      tokens: CAPACITY,
      sequenceTokens: CAPACITY,
      stepTokens: 1,
      appendTokens: 1,
    },
    kernels: manifest,
  });
  const cache = await createCache({ device, plan });
  const sequence = cache.createSequence();
  const [buffer, output] = [randomTensor(device, 8 * 64), randomTensor(device, 8 * 64)];
  const vectors = { keys: { buffer }, values: { buffer } };
  const tensors = { queries: { buffer }, output: { buffer: output } };
  const times: number[] = [];
  for (let i = 0; i < WARM_UP + STEPS; i++) {
    if (cache.length(sequence) === CAPACITY) cache.truncate(sequence, CAPACITY / 2);
    const encoder = device.createCommandEncoder();
    const started = performance.now();
    const step = cache.beginStep([{ sequence, tokens: 1 }]);
    const pass = encoder.beginComputePass();
    for (let layer = 0; layer < LAYERS; layer++) {
      cache.encodeAppend(pass, step, layer, vectors);
      cache.encodeAttend(pass, step, layer, tensors);
    }
    pass.end();
    if (i >= WARM_UP) times.push(performance.now() - started);
    encoder.finish();
  }
  cache.destroy();
  return spread(times);
}

/** The time in a line. */
export function formatHost({ median, low, high }: Spread): string {
  return `recording one decode step of ${LAYERS} layers: ${median.toFixed(2)} ms ` +
    `(${low.toFixed(2)} to ${high.toFixed(2)} from quartile to quartile)`;
}
