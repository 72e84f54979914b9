/**
 * What storing and encoding a prompt of 4096 tokens costs beside the example host's whole prefill of it: the fixture
 * model, chunks of 256 tokens, codes alone. Random codebooks, because encoding has no shortcuts.
 */
import { type CodebookSet, createCache, parseScheme, planCache, type Sequence } from "../mod.ts";
import { manifest } from "../generated/manifest.ts";
import { createEngine, loadModel, modelCacheOptions } from "../examples/llama/mod.ts";
import { seededRandom } from "../src/calibrate/random.ts";
import { gridCodebooks } from "../tests/cache_oracle.ts";
import { requestTestDevice } from "../tools/adapter.ts";

const TOKENS = 4096;
const CHUNK = 256;

const checkpoint = await loadModel("tests/fixtures/tiny-llama");
const { layers, headDim, keyValueHeads } = checkpoint.config;
const device = await requestTestDevice();
const tokenIds = Array.from({ length: TOKENS }, (_, i) => 2 + (i * 97) % 2000);

/** Waits until the device has done everything submitted. */
async function finish(): Promise<void> {
  await device.queue.onSubmittedWorkDone();
}

for (const scheme of ["c4b8", "c8b8"]) {
  const options = {
    ...modelCacheOptions(checkpoint.config),
    policy: { keys: scheme, values: scheme },
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: TOKENS,
      sequenceTokens: TOKENS,
      stepTokens: CHUNK,
      appendTokens: CHUNK,
    },
  };
  const codebooks: CodebookSet = gridCodebooks(options, seededRandom(scheme));
  const cache = await createCache({
    device,
    plan: planCache({ ...options, kernels: manifest }),
    codebooks,
  });
  const engine = await createEngine({ device, checkpoint, cache, maxTokens: CHUNK });
  const { bits } = parseScheme(scheme);
  const size = CHUNK * keyValueHeads * headDim * 4;
  const vectors = { buffer: device.createBuffer({ size, usage: GPUBufferUsage.STORAGE }) };

  const work: Readonly<Record<string, (sequence: Sequence) => Promise<void>>> = {
    prefill: async (sequence) => {
      await engine.forward([{ sequence, tokenIds }]);
      await finish();
    },
    /** Only the appends of a prefill. */
    append: async (sequence) => {
      for (let first = 0; first < TOKENS; first += CHUNK) {
        const encoder = device.createCommandEncoder();
        const step = cache.beginStep([{ sequence, tokens: CHUNK }]);
        for (let layer = 0; layer < layers; layer++) {
          cache.encodeAppend(encoder, step, layer, { keys: vectors, values: vectors });
        }
        device.queue.submit([encoder.finish()]);
      }
      await finish();
    },
  };
  for (const [name, run] of Object.entries(work)) {
    Deno.bench({
      name: `${name} ${TOKENS} tokens, ${scheme} (${bits} bits)`,
      group: scheme,
      baseline: name === "prefill",
      // A prefill takes tens of seconds on a software adapter, and is the same every time.
      n: 1,
      warmup: 0,
      async fn(bench) {
        const sequence = cache.createSequence();
        bench.start();
        await run(sequence);
        bench.end();
        cache.freeSequence(sequence);
      },
    });
  }
}
