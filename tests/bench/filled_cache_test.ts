import assert from "node:assert/strict";
import { createFilledCache } from "../../bench/measure/filled_cache.ts";
import { randomCodebooks } from "../../src/tuning/random_codebooks.ts";
import { manifest } from "../../generated/manifest.ts";
import { spreadNumber } from "../../bench/measure/random_tensor.ts";
import { BASE_LIMITS, type Cache, createCache, planCache, type PlanOptions } from "../../mod.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { uploadBuffer } from "../helpers/cache_oracle.ts";

const TOKENS = 640;
const CHUNK = 128;
/** As `createFilledCache` repeats them. */
const PERIOD = 256;
const HEADS = 2;
const HEAD_DIM = 64;

const device = await requestTestDevice();

/** Keys or values of `count` tokens from `first` on, `[count][HEADS][HEAD_DIM]`. */
function vectors(first: number, count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    { length: count * HEADS * HEAD_DIM },
    (_, i) => spreadNumber((first % PERIOD) * HEADS * HEAD_DIM + i),
  );
}

/** The attention of one more token to all of a sequence. */
async function attend(cache: Cache, sequence: Parameters<Cache["length"]>[0]) {
  const step = cache.beginStep([{ sequence, tokens: 1 }]);
  const next = { buffer: uploadBuffer(device, vectors(0, 1)) };
  const queries = { buffer: uploadBuffer(device, vectors(1, 2)) };
  const output = uploadBuffer(device, new Float32Array(4 * HEAD_DIM).fill(NaN));
  const encoder = device.createCommandEncoder();
  cache.encodeAppend(encoder, step, 0, { keys: next, values: next });
  cache.encodeAttend(encoder, step, 0, { queries, output: { buffer: output } });
  device.queue.submit([encoder.finish()]);
  return new Float32Array(await readBuffer(device, output));
}

for (
  const [scheme, space, parts] of [
    ["f16", "as-scored", 1],
    ["f16", "as-scored", 2],
    ["c8b8", "pre-rope", 1],
  ] as const
) {
  Deno.test(`createFilledCache ${scheme}, ${space}, ${parts} parts: as if every token had been appended`, async () => {
    const options: PlanOptions = {
      shape: { layers: 1, queryHeads: 4, keyValueHeads: HEADS, headDim: HEAD_DIM },
      policy: { keys: scheme, values: scheme },
      keys: space === "pre-rope"
        ? { space, rope: { layout: "half", theta: 10000 } }
        : { space: "as-scored" },
      tiers: { sinks: 0, window: 0 },
      capacity: {
        sequences: 1,
        tokens: 4096,
        sequenceTokens: TOKENS + 64,
        stepTokens: CHUNK,
        appendTokens: CHUNK,
      },
      kernels: manifest,
    };
    // One KV head of f16 fits, and the buffers that are bound whole; two heads do not.
    const limits = { ...BASE_LIMITS, ...(parts === 1 ? {} : { maxStorageBufferBindingSize: 6e5 }) };
    const plan = planCache({ ...options, limits });
    assert.equal(plan.layers[0]!.parts.length, parts);
    const filled = await createFilledCache(device, plan, options, TOKENS);
    const appended = await createCache({ device, plan, codebooks: randomCodebooks(plan) });
    const sequence = appended.createSequence();
    for (let first = 0; first < TOKENS; first += CHUNK) {
      const step = appended.beginStep([{ sequence, tokens: CHUNK }]);
      const encoder = device.createCommandEncoder();
      const tensor = { buffer: uploadBuffer(device, vectors(first, CHUNK)) };
      appended.encodeAppend(encoder, step, 0, { keys: tensor, values: tensor });
      device.queue.submit([encoder.finish()]);
    }
    const found = await attend(filled.cache, filled.sequences[0]!);
    assert.ok(found.every(Number.isFinite));
    assert.deepEqual(found, await attend(appended, sequence));
    for (const cache of [filled.cache, appended]) cache.destroy();
  });
}
