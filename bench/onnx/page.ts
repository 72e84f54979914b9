/** Runs in the browser: ONNX Runtime's attention and the library's on f16, on one device, in turns. */
import { SAMPLED_TOKENS } from "../measure/filled_cache.ts";
import { type PlannedRow, planRow, prepareRow, type ReadyRow } from "../attention/rows.ts";
import { MODELS } from "../measure/models.ts";
import { spreadNumber } from "../measure/random_tensor.ts";
import { fromFloat16Bits, toFloat16Array } from "../../src/base/float16.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import type { OnnxComparison, OnnxJob, OnnxShape } from "./job.ts";

/** Steps in one sample: waiting for a browser's device takes time of its own. */
const SAMPLE_MS = 200;

/** What is used of ONNX Runtime Web (https://onnxruntime.ai/docs/api/js/). */
interface Ort {
  readonly env: {
    readonly wasm: { wasmPaths: { wasm: string }; numThreads: number };
    readonly webgpu: { readonly device: Promise<GPUDevice> };
  };
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<Session>;
  };
  readonly Tensor: {
    new (type: "int32", data: readonly number[], dims: readonly number[]): Tensor;
    fromGpuBuffer(buffer: GPUBuffer, options: object): Tensor;
  };
}

type Tensor = object;

interface Session {
  run(feeds: Record<string, Tensor>, fetches: Record<string, Tensor>): Promise<unknown>;
  release(): Promise<void>;
}

async function main(): Promise<unknown> {
  const job: OnnxJob = await (await fetch("/job.json")).json();
  // Not bundled: it finds its WebAssembly beside itself.
  const ort: Ort = await import(new URL("/ort.webgpu.bundle.min.mjs", location.href).href);
  ort.env.wasm.wasmPaths = { wasm: "/ort-wasm-simd-threaded.asyncify.wasm" };
  ort.env.wasm.numThreads = 1;
  const compared: OnnxComparison[] = [];
  for (const shape of job.shapes) compared.push(await compare(ort, shape, job.rounds));
  const { vendor, architecture, description } = (await ort.env.webgpu.device).adapterInfo;
  return { adapter: [vendor, architecture, description].filter(Boolean).join(" "), compared };
}

async function compare(ort: Ort, shape: OnnxShape, rounds: number): Promise<OnnxComparison> {
  const model = MODELS.find(({ name }) => name === shape.model)!;
  const f16 = (await navigator.gpu.requestAdapter())!.features.has("shader-f16");
  const type = f16 ? "float16" : "float32";
  const bytes = await (await fetch(`/${shape.model}/${shape.context}/${type}.onnx`)).bytes();
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ["webgpu"] });
  // ONNX Runtime requests the device; the library takes whatever it is given.
  const device = await ort.env.webgpu.device;
  const place = { model, context: shape.context, batch: 1 };
  const row = { pair: { id: "f16", keys: "f16", values: "f16" }, space: "as-scored" } as const;
  const planned: PlannedRow = planRow(place, row, device, false);
  const ready = await prepareRow(device, planned, place);
  const theirs = onnxStep(ort, session, device, place, type);
  const ours = libraryStep(device, ready);
  const works = [theirs.step, ours];
  const repeats: number[] = [];
  for (const step of works) {
    await sample(device, step, 1);
    const once = await sample(device, step, 1);
    repeats.push(Math.max(1, Math.min(64, Math.round(SAMPLE_MS / once))));
  }
  const times: number[][] = [[], []];
  for (let round = 0; round < rounds; round++) {
    for (const [i, step] of works.entries()) {
      times[i]!.push(await sample(device, step, repeats[i]!));
    }
  }
  const difference = furthest(await theirs.read(), await ready.read());
  ready.destroy();
  await session.release();
  theirs.destroy();
  return { ...shape, type, onnx: times[0]!, library: times[1]!, difference };
}

/** Milliseconds of one of `repeats` steps, until the device is done. */
async function sample(
  device: GPUDevice,
  step: () => Promise<unknown> | void,
  repeats: number,
): Promise<number> {
  const started = performance.now();
  for (let i = 0; i < repeats; i++) await step();
  await device.queue.onSubmittedWorkDone();
  return (performance.now() - started) / repeats;
}

/** The library's attention as a host's step: one encoder, one pass, one submission. */
function libraryStep(device: GPUDevice, { work }: ReadyRow): () => void {
  return () => {
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    work(pass);
    pass.end();
    device.queue.submit([encoder.finish()]);
  };
}

/**
 * ONNX Runtime's step: all tensors on the device, present in the very buffers of past, so that nothing is copied but the
 * new token. The numbers are those that the library's cache holds.
 */
function onnxStep(
  ort: Ort,
  session: Session,
  device: GPUDevice,
  { model: { queryHeads, keyValueHeads, headDim }, context }: {
    readonly model: typeof MODELS[number];
    readonly context: number;
  },
  type: "float16" | "float32",
) {
  const buffers: GPUBuffer[] = [];
  const tensor = (dims: readonly number[], number: (index: number) => number) => {
    const count = dims.reduce((a, b) => a * b, 1);
    const numbers = Float32Array.from({ length: count }, (_, i) => number(i));
    const data = type === "float16" ? toFloat16Array(numbers) : numbers;
    const buffer = device.createBuffer({
      size: Math.ceil(data.byteLength / 16) * 16,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
    });
    device.queue.writeBuffer(buffer, 0, data);
    buffers.push(buffer);
    return { buffer, tensor: ort.Tensor.fromGpuBuffer(buffer, { dataType: type, dims }) };
  };
  // [heads][tokens][channels] of what lies as [tokens][heads][channels] in the library's cache.
  const stored = (index: number) => {
    const channel = index % headDim;
    const token = Math.floor(index / headDim) % context;
    const head = Math.floor(index / headDim / context);
    return spreadNumber(((token % SAMPLED_TOKENS) * keyValueHeads + head) * headDim + channel);
  };
  const cache = [1, keyValueHeads, context, headDim];
  const [keys, values] = [tensor(cache, stored), tensor(cache, stored)];
  const vectors = [1, 1, keyValueHeads * headDim];
  const queries = [1, 1, queryHeads * headDim];
  const output = tensor(queries, () => 0);
  const feeds = {
    query: tensor(queries, spreadNumber).tensor,
    key: tensor(vectors, spreadNumber).tensor,
    value: tensor(vectors, spreadNumber).tensor,
    past_key: keys.tensor,
    past_value: values.tensor,
    seqlens_k: new ort.Tensor("int32", [context - 1], [1]),
    total_sequence_length: new ort.Tensor("int32", [context], [1]),
  };
  const fetches = {
    output: output.tensor,
    present_key: keys.tensor,
    present_value: values.tensor,
  };
  return {
    step: () => session.run(feeds, fetches),
    async read(): Promise<Float32Array> {
      const bytes = await readBuffer(device, output.buffer);
      return type === "float16"
        ? Float32Array.from(new Uint16Array(bytes), fromFloat16Bits)
        : new Float32Array(bytes);
    },
    destroy: () => buffers.forEach((buffer) => buffer.destroy()),
  };
}

function furthest(expected: Float32Array, found: Float32Array): number {
  let [most, largest] = [0, 0];
  for (const [i, value] of found.entries()) {
    most = Math.max(most, Math.abs(value - expected[i]!));
    largest = Math.max(largest, Math.abs(expected[i]!));
  }
  return most / largest;
}

const answer = await main().catch((error) => ({ error: String(error?.stack ?? error) }));
await fetch("/result", { method: "POST", body: JSON.stringify(answer) });
