/** Checks that a device computes correctly: attention on codes, compared with the CPU's. */
import { candidateNames } from "../src/plan/choose_attention.ts";
import { createCache } from "../src/cache/create_cache.ts";
import type { CacheOptions } from "../src/plan/options.ts";
import { seededRandom } from "../src/base/random.ts";
import { CoupletError } from "../src/base/errors.ts";
import type { CachePlan } from "../src/plan/plan.ts";
import { planCache } from "../src/plan/plan_cache.ts";
import { createReferenceCache } from "../src/reference/reference_cache.ts";
import { kernels } from "./kernels.ts";

/** The result of a check. */
export interface DeviceCheck {
  /** The kernels that ran. */
  readonly kernels: readonly string[];
  /** Largest difference of an output from the float64 reference's. */
  readonly error: number;
}

const TOKENS = 64;

/** Largest error of outputs of about 1: far above the rounding of f32, far below any mistake. */
const MOST_ERROR = 1e-3;

/** One layer whose tokens are all coded, with a scheme that needs no codebook. */
const OPTIONS = {
  shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: 64 },
  policy: { keys: "q8", values: "q8" },
  keys: { space: "as-scored" },
  tiers: { sinks: 0, window: 0 },
  capacity: {
    sequences: 1,
    tokens: TOKENS,
    sequenceTokens: TOKENS,
    stepTokens: TOKENS,
    appendTokens: TOKENS,
  },
} as const satisfies CacheOptions;

/**
 * Codes 64 random tokens on a device and attends to them.
 *
 * @throws {CoupletError} `device` where the outputs are not the reference's, or the device refuses
 * a kernel.
 */
export async function checkDevice(device: GPUDevice): Promise<DeviceCheck> {
  const { queryHeads, keyValueHeads, headDim } = OPTIONS.shape;
  const random = seededRandom(1);
  const tensor = (heads: number) =>
    Float32Array.from({ length: TOKENS * heads * headDim }, () => 2 * random.next() - 1);
  const keys = tensor(keyValueHeads);
  const values = tensor(keyValueHeads);
  const queries = tensor(queryHeads);
  const plan = planCache({ ...OPTIONS, kernels, limits: device.limits });
  const outputs = await attendOnDevice(device, plan, { keys, values, queries });

  const reference = createReferenceCache(OPTIONS);
  const step = reference.beginStep([{ sequence: reference.createSequence(), tokens: TOKENS }]);
  reference.append(step, 0, { keys, values });
  const expected = reference.attend(step, 0, { queries });
  const error = outputs.reduce(
    (most, output, i) => Math.max(most, Math.abs(output - expected[i]!)),
    0,
  );
  if (!(error < MOST_ERROR)) {
    throw new CoupletError("device", {
      what: "The device computes wrong results",
      why: `attention on codes is off by ${error}`,
      remedy: "Update its driver, or use another adapter",
    });
  }
  const { storeKeys, encodeKeys, decode, combine } = plan.layers[0]!;
  return {
    kernels: [storeKeys.name, encodeKeys.name, ...candidateNames(decode), combine.name],
    error,
  };
}

async function attendOnDevice(
  device: GPUDevice,
  plan: CachePlan,
  { keys, values, queries }: Readonly<
    Record<"keys" | "values" | "queries", Float32Array<ArrayBuffer>>
  >,
): Promise<Float32Array> {
  const cache = await createCache({ device, plan });
  const buffers: GPUBuffer[] = [];
  const buffer = (size: number, usage: number): GPUBuffer => {
    const created = device.createBuffer({ size, usage });
    buffers.push(created);
    return created;
  };
  const upload = (data: Float32Array<ArrayBuffer>) => {
    const uploaded = buffer(data.byteLength, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST);
    device.queue.writeBuffer(uploaded, 0, data);
    return { buffer: uploaded };
  };
  const size = queries.byteLength;
  const output = buffer(size, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC);
  const readable = buffer(size, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  try {
    const step = cache.beginStep([{ sequence: cache.createSequence(), tokens: TOKENS }]);
    const encoder = device.createCommandEncoder();
    cache.encodeAppend(encoder, step, 0, { keys: upload(keys), values: upload(values) });
    cache.encodeAttend(encoder, step, 0, { queries: upload(queries), output: { buffer: output } });
    encoder.copyBufferToBuffer(output, 0, readable, 0, size);
    device.queue.submit([encoder.finish()]);
    await readable.mapAsync(GPUMapMode.READ);
    return new Float32Array(readable.getMappedRange().slice(0));
  } finally {
    for (const created of buffers) created.destroy();
    cache.destroy();
  }
}
