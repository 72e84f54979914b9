/**
 * What storing and encoding a prompt of 4096 tokens costs beside the example host's whole prefill of it: the fixture
 * model, chunks of 256 tokens, codes alone. Random codebooks, because encoding has no shortcuts.
 */
import { createEngine, loadModel, modelCacheOptions } from "../examples/engine/mod.ts";
import { FIXTURE_MODEL } from "../examples/command_line.ts";
import type { SchemePair } from "../examples/demo/scheme_pairs.ts";
import { createCache, planCache, type PlanOptions } from "../mod.ts";
import { randomCodebooks } from "../src/tuning/random_codebooks.ts";
import { benchKernels } from "./measure/kernels.ts";
import { randomTensor } from "./measure/random_tensor.ts";

const TOKENS = 4096;
const CHUNK = 256;

/** Seconds of a prefill, and of nothing but its appends. */
export interface PrefillTimes {
  readonly prefill: number;
  readonly append: number;
}

/** Measures one prompt, once: a prefill takes tens of seconds on a software adapter. */
export async function measurePrefill(
  device: GPUDevice,
  { keys, values }: SchemePair,
): Promise<PrefillTimes> {
  const checkpoint = await loadModel(FIXTURE_MODEL);
  const { layers, headDim, keyValueHeads } = checkpoint.config;
  const options: PlanOptions = {
    ...modelCacheOptions(checkpoint.config),
    policy: { keys, values },
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: TOKENS,
      sequenceTokens: TOKENS,
      stepTokens: CHUNK,
      appendTokens: CHUNK,
    },
    limits: device.limits,
    features: device.features,
    kernels: benchKernels([keys, values], headDim),
  };
  const plan = planCache(options);
  const cache = await createCache({ device, plan, codebooks: randomCodebooks(plan) });
  const engine = await createEngine({ device, checkpoint, cache, maxTokens: CHUNK });
  const tokenIds = Array.from({ length: TOKENS }, (_, i) => 2 + (i * 97) % 2000);
  const vectors = { buffer: randomTensor(device, CHUNK * keyValueHeads * headDim) };
  const timed = async (work: () => Promise<void>): Promise<number> => {
    const started = performance.now();
    await work();
    await device.queue.onSubmittedWorkDone();
    return (performance.now() - started) / 1000;
  };
  const sequence = cache.createSequence();
  const append = async (): Promise<void> => {
    cache.truncate(sequence, 0);
    for (let first = 0; first < TOKENS; first += CHUNK) {
      const encoder = device.createCommandEncoder();
      const step = cache.beginStep([{ sequence, tokens: CHUNK }]);
      for (let layer = 0; layer < layers; layer++) {
        cache.encodeAppend(encoder, step, layer, { keys: vectors, values: vectors });
      }
      device.queue.submit([encoder.finish()]);
    }
    await device.queue.onSubmittedWorkDone();
  };
  const prefill = await timed(async () => {
    await engine.forward([{ sequence, tokenIds }]);
  });
  await append();
  const times = { prefill, append: await timed(append) };
  cache.destroy();
  return times;
}

/** The times in a line. */
export function formatPrefill(scheme: string, { prefill, append }: PrefillTimes): string {
  return `${scheme}: ${TOKENS} tokens in chunks of ${CHUNK}: prefill ${prefill.toFixed(1)} s, ` +
    `its appends ${append.toFixed(2)} s, ${(100 * append / prefill).toFixed(1)} %`;
}
