/** The adapters for hosts, with tensors that stand in for theirs; tests/ci/hosts.ts has the hosts themselves. */
import assert from "node:assert/strict";
import {
  appendOrtTensors,
  type OrtLayer,
  ortLayout,
  type OrtTensor,
  type OrtTensorClass,
  readOrtTensors,
} from "@couplet/kv/hosts/ort";
import { appendPastKeyValues, readPastKeyValues } from "@couplet/kv/hosts/transformers";
import { attend } from "../../examples/hosts/raw_webgpu.ts";
import { servePage } from "../../examples/hosts/serve_page.ts";
import { manifest } from "../../generated/manifest.ts";
import {
  type Cache,
  type CacheOptions,
  type CoupletErrorCode,
  createCache,
  planCache,
  restoreSequence,
  snapshotSequence,
} from "../../mod.ts";
import { seededRandom } from "../../src/base/random.ts";
import { fromFloat16Array, toFloat16Array } from "../../src/base/float16.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { gridVectors } from "../helpers/grid_numbers.ts";
import { rejects } from "../helpers/refusals.ts";

const device = await requestTestDevice();

const HEAD_DIM = 64;

/** KV heads by layer. */
const HEADS: readonly number[] = [2, 1];

/** Two layers of different KV heads, u4b8, whose blocks of 64 tokens are coded. */
function options(
  dtype: "f32" | "f16",
  stepTokens: number,
  appendTokens: number,
  keyValueHeads: readonly number[] = HEADS,
): CacheOptions {
  return {
    shape: { layers: 2, queryHeads: 4, keyValueHeads, headDim: HEAD_DIM },
    policy: { keys: "u4b8", values: "u4b8" },
    keys: { space: "as-scored" },
    tiers: { sinks: 4, window: 8 },
    capacity: { sequences: 3, tokens: 1024, sequenceTokens: 300, stepTokens, appendTokens },
    io: ortLayout(HEAD_DIM, stepTokens, dtype),
  };
}

/** Stands in for ONNX Runtime's tensor. */
class Tensor implements OrtTensor {
  readonly location = "gpu-buffer";
  readonly gpuBuffer: GPUBuffer;
  readonly type: string;
  readonly dims: readonly number[];
  readonly dispose: () => void;

  constructor(
    gpuBuffer: GPUBuffer,
    { dataType, dims, dispose }: Parameters<OrtTensorClass<Tensor>["fromGpuBuffer"]>[1],
  ) {
    this.gpuBuffer = gpuBuffer;
    this.type = dataType;
    this.dims = dims;
    this.dispose = dispose;
  }

  static fromGpuBuffer(...parts: ConstructorParameters<typeof Tensor>): Tensor {
    return new Tensor(...parts);
  }

  /** Its numbers, those of a longer tensor's first tokens where asked for. */
  async numbers(): Promise<Float32Array> {
    const bytes = await readBuffer(device, this.gpuBuffer);
    return this.type === "float16"
      ? Float32Array.from(fromFloat16Array(new Uint16Array(bytes)))
      : new Float32Array(bytes);
  }
}

function tensorOf(heads: number, tokens: number, dtype: "f32" | "f16", values: Float32Array) {
  const data = dtype === "f16" ? toFloat16Array(values) : values;
  const buffer = device.createBuffer({ size: data.byteLength, usage: 0x80 | 0x04 | 0x08 });
  device.queue.writeBuffer(buffer, 0, data as Float32Array<ArrayBuffer>);
  return new Tensor(buffer, {
    dataType: dtype === "f16" ? "float16" : "float32",
    dims: [1, heads, tokens, HEAD_DIM],
    dispose: () => buffer.destroy(),
  });
}

/** The same vectors for any number of tokens: those of more tokens begin with those of fewer. */
function layersOf(
  tokens: number,
  dtype: "f32" | "f16",
  keyValueHeads: readonly number[] = HEADS,
): OrtLayer<Tensor>[] {
  return keyValueHeads.map((heads, layer) => {
    const tensor = (seed: number) => {
      const values = new Float32Array(heads * tokens * HEAD_DIM);
      for (let head = 0; head < heads; head++) {
        const random = seededRandom(seed * 10 + head);
        values.set(gridVectors(random, tokens * HEAD_DIM), head * tokens * HEAD_DIM);
      }
      return tensorOf(heads, tokens, dtype, values);
    };
    return { keys: tensor(2 * layer + 1), values: tensor(2 * layer + 2) };
  });
}

async function emptyCache(
  dtype: "f32" | "f16" = "f32",
  stepTokens = 100,
  appendTokens = 100,
  keyValueHeads: readonly number[] = HEADS,
): Promise<Cache> {
  const planned = options(dtype, stepTokens, appendTokens, keyValueHeads);
  const plan = planCache({ ...planned, kernels: manifest });
  return await createCache({ device, plan });
}

async function numbersOf(layers: readonly OrtLayer<Tensor>[]): Promise<Float32Array[]> {
  return await Promise.all(
    layers.flatMap(({ keys, values }) => [keys.numbers(), values.numbers()]),
  );
}

/** The tokens of one head, from one position to another, of a tensor `[heads][tokens][headDim]`. */
function tokensOf(
  tensor: Float32Array,
  total: number,
  head: number,
  from: number,
  to: number,
): Float32Array {
  return tensor.subarray((head * total + from) * HEAD_DIM, (head * total + to) * HEAD_DIM);
}

Deno.test("appendOrtTensors() and readOrtTensors() move keys and values of different channels", async () => {
  const io = ortLayout(64, 30, "f32", 128);
  const shape = { layers: 1, queryHeads: 2, keyValueHeads: 2, headDim: 64, valueHeadDim: 128 };
  const policy = { keys: "f16", values: "f16" } as const;
  const plan = planCache({ ...options("f32", 30, 30), shape, policy, io, kernels: manifest });
  const cache = await createCache({ device, plan });
  const sequence = cache.createSequence();
  const tensor = (channels: number) => {
    const values = gridVectors(seededRandom(channels), 2 * 70 * channels);
    const { gpuBuffer } = tensorOf(2, 70, "f32", values);
    const parts = { dataType: "float32", dims: [1, 2, 70, channels], dispose() {} } as const;
    return new Tensor(gpuBuffer, parts);
  };
  const given = [{ keys: tensor(64), values: tensor(128) }];
  const wrong = [{ keys: tensor(128), values: tensor(128) }];
  await rejects(appendOrtTensors(device, cache, sequence, wrong), "shape");
  await appendOrtTensors(device, cache, sequence, given);
  const found = readOrtTensors(device, cache, sequence, Tensor);
  assert.deepEqual(found.map(({ keys, values }) => [keys.dims, values.dims]), [
    [[1, 2, 70, 64], [1, 2, 70, 128]],
  ]);
  // All numbers are binary16's, which f16 keeps.
  assert.deepEqual(await numbersOf(found), await numbersOf(given));
  cache.destroy();
});

const cases = [
  { name: "in one piece, f32", dtype: "f32", stepTokens: 300, appendTokens: 300 },
  { name: "in pieces of 100 tokens, f32", dtype: "f32", stepTokens: 100, appendTokens: 100 },
  {
    name: "appended in pieces of 7, read in pieces of 33, f16",
    dtype: "f16",
    stepTokens: 33,
    appendTokens: 7,
  },
  // More steps than one buffer of parameters holds.
  { name: "in pieces of 2 tokens, f32", dtype: "f32", stepTokens: 2, appendTokens: 2 },
] as const;

let wanted: Float32Array[] | undefined;

for (const { name, dtype, stepTokens, appendTokens } of cases) {
  Deno.test(`appendOrtTensors() and readOrtTensors() ${name}: exact tokens as they were, others coded`, async () => {
    const cache = await emptyCache(dtype, stepTokens, appendTokens);
    const sequence = cache.createSequence();
    const given = layersOf(250, dtype);
    await appendOrtTensors(device, cache, sequence, given);
    assert.equal(cache.length(sequence), 250);
    const coded = cache.codedTokens(sequence);
    assert.equal(coded, 192);
    const tensors = readOrtTensors(device, cache, sequence, Tensor);
    const before = await numbersOf(given);
    const after = await numbersOf(tensors);
    after.forEach((tensor, i) => {
      const heads = i < 2 ? 2 : 1;
      assert.equal(tensor.length, heads * 250 * HEAD_DIM);
      for (let head = 0; head < heads; head++) {
        const both = (from: number, to: number): [Float32Array, Float32Array] => [
          tokensOf(tensor, 250, head, from, to),
          tokensOf(before[i]!, 250, head, from, to),
        ];
        assert.deepEqual(...both(0, 4), "sinks");
        assert.deepEqual(...both(4 + coded, 250), "recent tokens");
        const [found, own] = both(4, 4 + coded);
        const square = own.reduce((sum, x) => sum + x * x, 0);
        const error = own.reduce((sum, x, j) => sum + (x - found[j]!) ** 2, 0) / square;
        // 2.38 bits of independent channels.
        assert.ok(error > 0.01 && error < 0.25, `coded tokens err by ${error}`);
      }
    });
    if (dtype === "f32") {
      wanted ??= after;
      assert.deepEqual(after, wanted, "pieces change nothing");
    }
    for (const { keys, values } of [...given, ...tensors]) {
      [keys, values].forEach((t) => t.dispose());
    }
    cache.destroy();
  });
}

Deno.test("appendOrtTensors() appends what tensors hold beyond the sequence, and a snapshot keeps it", async () => {
  const cache = await emptyCache();
  const grown = cache.createSequence();
  for (const tokens of [90, 91, 250]) {
    await appendOrtTensors(device, cache, grown, layersOf(tokens, "f32"));
  }
  const whole = cache.createSequence();
  await appendOrtTensors(device, cache, whole, layersOf(250, "f32"));
  const bytes = await snapshotSequence(cache, grown);
  assert.deepEqual(bytes, await snapshotSequence(cache, whole));
  const restored = await restoreSequence(cache, bytes);
  assert.deepEqual(
    await numbersOf(readOrtTensors(device, cache, restored, Tensor)),
    await numbersOf(readOrtTensors(device, cache, whole, Tensor)),
  );
  cache.destroy();
});

for (const keyValueHeads of [[1, 2], [1, 4]]) {
  Deno.test(`appendOrtTensors() and readOrtTensors() of layers with ${keyValueHeads} heads give exact tokens back`, async () => {
    const cache = await emptyCache("f32", 30, 30, keyValueHeads);
    const sequence = cache.createSequence();
    // All of them sinks and recent tokens.
    const given = layersOf(70, "f32", keyValueHeads);
    await appendOrtTensors(device, cache, sequence, given);
    const tensors = readOrtTensors(device, cache, sequence, Tensor);
    assert.deepEqual(await numbersOf(tensors), await numbersOf(given));
    cache.destroy();
  });
}

const good = layersOf(20, "f32");
const longer = layersOf(21, "f32");
const swap = (tensor: Partial<OrtTensor>): OrtLayer[] => [
  { ...good[0]!, values: { ...good[0]!.values, ...tensor } as OrtTensor },
  good[1]!,
];

const refusals: readonly { name: string; code: CoupletErrorCode; layers: OrtLayer[] }[] = [
  { name: "too few layers", code: "shape", layers: [good[0]!] },
  { name: "another number of heads", code: "shape", layers: swap({ dims: [1, 4, 20, 64] }) },
  { name: "other tokens than the keys", code: "shape", layers: swap({ dims: [1, 2, 21, 64] }) },
  {
    name: "a later layer of more tokens than the first",
    code: "shape",
    layers: [good[0]!, longer[1]!],
  },
  {
    name: "a later layer whose values have more tokens",
    code: "shape",
    layers: [good[0]!, { keys: good[1]!.keys, values: longer[1]!.values }],
  },
  {
    name: "a later layer of another type",
    code: "shape",
    layers: [good[0]!, {
      ...good[1]!,
      keys: Object.assign(Object.create(good[1]!.keys), { type: "float16" }),
    }],
  },
  { name: "several sequences", code: "shape", layers: swap({ dims: [2, 2, 20, 64] }) },
  { name: "three dimensions", code: "shape", layers: swap({ dims: [2, 20, 64] }) },
  { name: "another type", code: "shape", layers: swap({ type: "float16" }) },
  { name: "tensors in memory", code: "usage", layers: swap({ location: "cpu" }) },
  { name: "more tokens than planned", code: "capacity", layers: layersOf(301, "f32") },
];

for (const { name, code, layers } of refusals) {
  Deno.test(`appendOrtTensors() refuses ${name}, and appends nothing`, async () => {
    const cache = await emptyCache();
    const sequence = cache.createSequence();
    await rejects(appendOrtTensors(device, cache, sequence, layers), code);
    assert.equal(cache.length(sequence), 0);
    cache.destroy();
  });
}

Deno.test("appendOrtTensors() and readOrtTensors() refuse what is not new, not there or of another layout", async () => {
  const cache = await emptyCache();
  const sequence = cache.createSequence();
  const read = (cache: Cache) => readOrtTensors(device, cache, cache.createSequence(), Tensor);
  await rejects((async () => await read(cache))(), "usage");
  await appendOrtTensors(device, cache, sequence, good);
  await rejects(appendOrtTensors(device, cache, sequence, good), "usage");
  cache.destroy();
  const { io: _, ...plain } = options("f32", 100, 100);
  const other = await createCache({ device, plan: planCache({ ...plain, kernels: manifest }) });
  await rejects(appendOrtTensors(device, other, other.createSequence(), good), "usage");
  await rejects((async () => await read(other))(), "usage");
  other.destroy();
});

Deno.test("appendOrtTensors() refuses tensors of another device", async () => {
  const cache = await emptyCache();
  const other = await requestTestDevice();
  const buffer = other.createBuffer({ size: 2 * 20 * 64 * 4, usage: 0x80 | 0x04 });
  const sequence = cache.createSequence();
  await rejects(appendOrtTensors(device, cache, sequence, swap({ gpuBuffer: buffer })), "device");
  cache.destroy();
  other.destroy();
});

/** Stands in for the tensor of transformers.js. */
class Wrapper {
  readonly ort_tensor: Tensor;

  constructor(tensor: Tensor) {
    this.ort_tensor = tensor;
  }
}

Deno.test("appendPastKeyValues() and readPastKeyValues() go by the names of a DynamicCache's entries", async () => {
  const cache = await emptyCache();
  const sequence = cache.createSequence();
  const given = layersOf(250, "f32");
  const past = Object.fromEntries(
    // In another order than the layers'.
    [1, 0].flatMap((layer) => [
      [`past_key_values.${layer}.value`, new Wrapper(given[layer]!.values)],
      [`past_key_values.${layer}.key`, new Wrapper(given[layer]!.keys)],
    ]),
  );
  await appendPastKeyValues(device, cache, sequence, past);
  const entries = readPastKeyValues(device, cache, sequence, Tensor, Wrapper);
  assert.deepEqual(Object.keys(entries).sort(), Object.keys(past).sort());
  const direct = await numbersOf(readOrtTensors(device, cache, sequence, Tensor));
  const found = await Promise.all(
    [0, 1].flatMap((layer) =>
      ["key", "value"].map((side) =>
        entries[`past_key_values.${layer}.${side}`]!.ort_tensor.numbers()
      )
    ),
  );
  assert.deepEqual(found, direct);

  const { "past_key_values.1.value": _, ...missing } = past;
  await rejects(appendPastKeyValues(device, cache, cache.createSequence(), missing), "shape");
  const extra = { ...past, "past_key_values.2.key": past["past_key_values.1.key"]! };
  await rejects(appendPastKeyValues(device, cache, cache.createSequence(), extra), "shape");
  cache.destroy();
});

Deno.test("examples/hosts/raw_webgpu.ts attends as float64 does", async () => {
  const difference = await attend(device);
  assert.ok(difference < 2e-5, `it differs by ${difference}`);
});

Deno.test("servePage() refuses a port in use", async () => {
  const server = Deno.serve(
    { port: 0, hostname: "localhost", onListen() {} },
    () => new Response(),
  );
  await rejects(servePage("browser", server.addr.port, () => {}), "usage");
  await server.shutdown();
});
