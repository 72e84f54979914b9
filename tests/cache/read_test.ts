/** What encodeRead() writes where; that the vectors are right, tests/helpers/cache_oracle.ts checks with every kernel. */
import assert from "node:assert/strict";
import {
  BASE_LIMITS,
  type CacheOptions,
  createCache,
  type HostLayout,
  planCache,
  type PlanLimits,
  type ReadRange,
  type Sequence,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { seededRandom } from "../../src/base/random.ts";
import { fromFloat16Array, toFloat16Array } from "../../src/base/float16.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { uploadBuffer } from "../helpers/cache_oracle.ts";
import { gridCodebooks, gridVectors } from "../helpers/grid_numbers.ts";
import { refuses } from "../helpers/refusals.ts";

const device = await requestTestDevice();

const TOKENS = 100;
const HEADS = 2;
const HEAD_DIM = 64;

const base: CacheOptions = {
  shape: { layers: 1, queryHeads: 2, keyValueHeads: HEADS, headDim: HEAD_DIM },
  policy: { keys: "c4b8", values: "u8b8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 4, window: 16 },
  capacity: {
    sequences: 2,
    tokens: 30_000,
    sequenceTokens: 250,
    stepTokens: TOKENS,
    appendTokens: TOKENS,
  },
};

/** A cache with one sequence of TOKENS tokens, the same for every layout of the host's tensors. */
async function filledCache(options: CacheOptions, limits: PlanLimits = BASE_LIMITS) {
  const random = seededRandom(7);
  const codebooks = gridCodebooks(options, random);
  const plan = planCache({ ...options, limits, kernels: manifest });
  const cache = await createCache({ device, plan, codebooks });
  const { keys: keyStride, values: valueStride } = plan.options.layers[0]!.strides;
  const place = (vectors: Float32Array<ArrayBuffer>, { token, head }: typeof keyStride) => {
    const own = new Float32Array((TOKENS - 1) * token + (HEADS - 1) * head + HEAD_DIM);
    for (let i = 0; i < vectors.length; i++) {
      const row = Math.floor(i / HEAD_DIM);
      own[Math.floor(row / HEADS) * token + (row % HEADS) * head + i % HEAD_DIM] = vectors[i]!;
    }
    return plan.options.dtype === "f32"
      ? uploadBuffer(device, own)
      : uploadBuffer(device, new Float32Array(toFloat16Array(own).buffer));
  };
  const given = {
    keys: gridVectors(random, TOKENS * HEADS * HEAD_DIM),
    values: gridVectors(random, TOKENS * HEADS * HEAD_DIM),
  };
  const [keys, values] = [place(given.keys, keyStride), place(given.values, valueStride)];
  const sequence = cache.createSequence();
  const step = cache.beginStep([{ sequence, tokens: TOKENS }]);
  const encoder = device.createCommandEncoder();
  cache.encodeAppend(encoder, step, 0, { keys: { buffer: keys }, values: { buffer: values } });
  device.queue.submit([encoder.finish()]);
  const read = async (range: Omit<ReadRange, "output">, of: Sequence = sequence) => {
    const { [range.side]: { token, head } } = plan.options.layers[0]!.strides;
    const elements = (range.count - 1) * token + (HEADS - 1) * head + HEAD_DIM;
    const half = plan.options.dtype === "f16";
    const buffer = uploadBuffer(device, new Float32Array(half ? elements / 2 : elements));
    const encoder = device.createCommandEncoder();
    cache.encodeRead(encoder, of, 0, { ...range, output: { buffer } });
    device.queue.submit([encoder.finish()]);
    const bytes = await readBuffer(device, buffer);
    const tensor = half ? fromFloat16Array(new Uint16Array(bytes)) : new Float32Array(bytes);
    return Float32Array.from({ length: range.count * HEADS * HEAD_DIM }, (_, i) => {
      const row = Math.floor(i / HEAD_DIM);
      return tensor[Math.floor(row / HEADS) * token + (row % HEADS) * head + i % HEAD_DIM]!;
    });
  };
  return { cache, sequence, given, read };
}

const plain = await filledCache(base);
const rowsOf = (vectors: Float32Array, first: number, count: number) =>
  vectors.subarray(first * HEADS * HEAD_DIM, (first + count) * HEADS * HEAD_DIM);

const headMajor = { token: HEAD_DIM, head: TOKENS * HEAD_DIM };

const LAYOUTS: Readonly<Record<string, { readonly io: HostLayout; readonly parts?: number }>> = {
  "f32 [heads][tokens]": { io: { keys: headMajor } },
  "f16 [heads][tokens]": { io: { dtype: "f16", keys: headMajor } },
  "f16 [tokens][heads]": { io: { dtype: "f16" } },
  "keys and values of different strides, with room between vectors": {
    io: { keys: { token: 200, head: 100 }, values: { token: 80, head: 8000 } },
  },
  "[heads][tokens] of a layer in two parts": { io: { keys: headMajor }, parts: 2 },
};

for (const [name, { io, parts = 1 }] of Object.entries(LAYOUTS)) {
  Deno.test(`Cache.encodeRead() writes ${name} as append reads it`, async () => {
    // Records of one KV head fit a binding of so many bytes, and those of two do not.
    const limits = parts === 1 ? {} : { maxStorageBufferBindingSize: 820_000 };
    const { cache, read } = await filledCache({ ...base, io }, { ...BASE_LIMITS, ...limits });
    assert.equal(cache.plan.layers[0]!.parts.length, parts);
    for (const side of ["keys", "values"] as const) {
      const wanted = await plain.read({ side, first: 0, count: TOKENS });
      const rounded = fromFloat16Array(toFloat16Array(wanted));
      const found = await read({ side, first: 0, count: TOKENS });
      assert.deepEqual(found, io.dtype === "f16" ? rounded : wanted, side);
    }
    cache.destroy();
  });
}

Deno.test("Cache.encodeRead() gives any range what a read of everything gives there", async () => {
  for (const side of ["keys", "values"] as const) {
    const all = await plain.read({ side, first: 0, count: TOKENS });
    for (const [first, count] of [[0, 1], [2, 5], [3, 90], [60, 40], [67, 2], [99, 1]] as const) {
      assert.deepEqual(await plain.read({ side, first, count }), rowsOf(all, first, count));
    }
    // Exact where attention is, and only there: behind the sinks, a block of 64 tokens is coded.
    const given = plain.given[side];
    assert.deepEqual(rowsOf(all, 0, 4), rowsOf(given, 0, 4), "sinks");
    assert.deepEqual(rowsOf(all, 68, 32), rowsOf(given, 68, 32), "recent tokens");
    assert.notDeepEqual(rowsOf(all, 4, 1), rowsOf(given, 4, 1), "the first coded token");
    assert.notDeepEqual(rowsOf(all, 67, 1), rowsOf(given, 67, 1), "the last coded token");
  }
});

Deno.test("Cache.encodeRead() of a sequence that went on, was forked and rolled back gives its own tokens", async () => {
  const { cache, sequence, given, read } = await filledCache(base);
  const encoder = device.createCommandEncoder();
  const fork = cache.encodeFork(encoder, sequence);
  device.queue.submit([encoder.finish()]);
  cache.truncate(fork, 50);
  const kept = await read({ side: "values", first: 0, count: 50 }, fork);
  assert.deepEqual(rowsOf(kept, 34, 16), rowsOf(given.values, 34, 16));
  assert.deepEqual(
    await read({ side: "values", first: 0, count: TOKENS }),
    await plain.read({ side: "values", first: 0, count: TOKENS }),
  );
  cache.destroy();
});

Deno.test("Cache.encodeRead() refuses what the sequence does not hold and what would overlap", async () => {
  const { cache, sequence } = await filledCache({ ...base, io: { keys: headMajor } });
  const buffer = device.createBuffer({ size: 2 ** 17, usage: GPUBufferUsage.STORAGE });
  const encoder = device.createCommandEncoder();
  const read = (first: number, count: number, output: GPUBufferBinding = { buffer }) =>
    cache.encodeRead(encoder, sequence, 0, { side: "keys", first, count, output });
  refuses("usage", () => read(0, TOKENS + 1));
  refuses("usage", () => read(-1, 2));
  refuses("usage", () => read(1.5, 1));
  refuses("usage", () => read(0, 0));
  refuses("usage", () => read(0, NaN));
  refuses("shape", () => read(0, TOKENS, { buffer, size: 1024 }));
  refuses("usage", () => read(0, 1, { buffer, offset: 4 }));
  refuses("usage", () => read(0, 1, { buffer: cache.buffers(0).parts[0]!.exact }));
  const step = cache.beginStep([{ sequence, tokens: 10 }]);
  refuses("usage", () => read(0, 1));
  cache.encodeAppend(encoder, step, 0, { keys: { buffer }, values: { buffer } });
  read(0, 1);
  refuses("shape", () => read(0, TOKENS + 1));
  cache.destroy();
});

Deno.test("Cache.encodeRead() refuses tokens a sliding window has passed, and gives the rest", async () => {
  const shape = { ...base.shape, slidingWindow: 40 };
  const capacity = { ...base.capacity, sequenceTokens: 500, appendTokens: 20 };
  const policy = { keys: "f16", values: "f16" } as const;
  const plan = planCache({ ...base, shape, capacity, policy, kernels: manifest });
  const cache = await createCache({ device, plan });
  const sequence = cache.createSequence();
  const buffer = device.createBuffer({ size: 2 ** 18, usage: GPUBufferUsage.STORAGE });
  const encoder = device.createCommandEncoder();
  for (let i = 0; i < 20; i++) {
    const step = cache.beginStep([{ sequence, tokens: 20 }]);
    cache.encodeAppend(encoder, step, 0, { keys: { buffer }, values: { buffer } });
  }
  const first = 4 + cache.pages(sequence, 0).first * 64;
  assert.ok(first > 4, "pages were given up");
  const read = (first: number, count: number) =>
    cache.encodeRead(encoder, sequence, 0, { side: "keys", first, count, output: { buffer } });
  refuses("usage", () => read(0, 400));
  refuses("usage", () => read(first - 1, 2));
  refuses("usage", () => read(3, 2));
  read(0, 4);
  read(first, 400 - first);
  cache.destroy();
});
