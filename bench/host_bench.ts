/** What one decode step costs on the host: beginning it and recording 32 layers, without any GPU time. */
import { createCache, planCache } from "../mod.ts";
import { manifest } from "../generated/manifest.ts";
import { requestTestDevice } from "../tools/adapter.ts";

const LAYERS = 32;
const device = await requestTestDevice();
const plan = planCache({
  shape: { layers: LAYERS, queryHeads: 8, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "f16", values: "f16" },
  keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
  tiers: { sinks: 4, window: 64 },
  capacity: { sequences: 1, tokens: 1024, sequenceTokens: 1024, stepTokens: 1, appendTokens: 1 },
  kernels: manifest,
});
const cache = await createCache({ device, plan });
const sequence = cache.createSequence();
const buffer = device.createBuffer({ size: 8 * 64 * 4, usage: GPUBufferUsage.STORAGE });
const output = device.createBuffer({ size: 8 * 64 * 4, usage: GPUBufferUsage.STORAGE });
const vectors = { keys: { buffer }, values: { buffer } };
const tensors = { queries: { buffer }, output: { buffer: output } };

Deno.bench(`record one decode step of ${LAYERS} layers`, (bench) => {
  if (cache.length(sequence) === 1024) cache.truncate(sequence, 512);
  const encoder = device.createCommandEncoder();
  bench.start();
  const step = cache.beginStep([{ sequence, tokens: 1 }]);
  const pass = encoder.beginComputePass();
  for (let layer = 0; layer < LAYERS; layer++) {
    cache.encodeAppend(pass, step, layer, vectors);
    cache.encodeAttend(pass, step, layer, tensors);
  }
  pass.end();
  bench.end();
  encoder.finish();
});
