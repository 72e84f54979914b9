// Appends and attends with Dawn, and compares with the package's own reference.
import { createCache, createReferenceCache, planCache } from "@couplet/kv";
import { create, globals } from "webgpu";

// Dawn crashes when the collector takes its root object, which no variable of a module that has run holds.
Object.assign(globalThis, globals, { gpu: create([]) });
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("Dawn found no adapter");
const device = await adapter.requestDevice();

let state = 1;
/** Numbers that are exact in f16. */
export function random() {
  state = (state * 48271) % 2147483647;
  return Math.round((state / 2147483647) * 192 - 96) / 32;
}

/** Prints the largest difference, relative to the outputs' root mean square, and ends the process. */
export async function compare({ shape, policy, kernels, codebooks }) {
  const vectors = (rows) => Float32Array.from({ length: rows * shape.headDim }, random);
  const options = {
    shape,
    policy,
    keys: { space: "as-scored" },
    tiers: { sinks: 1, window: 3 },
    capacity: { sequences: 1, tokens: 100, sequenceTokens: 100, stepTokens: 70, appendTokens: 70 },
  };
  const cache = await createCache({
    device,
    plan: planCache({ ...options, limits: device.limits, kernels }),
    codebooks,
  });
  const reference = createReferenceCache({ ...options, codebooks });
  const sequence = cache.createSequence();
  const referenceSequence = reference.createSequence();

  const STORAGE_COPIES = 0x80 | 0x04 | 0x08;
  function upload(data) {
    const buffer = device.createBuffer({ size: data.byteLength, usage: STORAGE_COPIES });
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  }

  let error = 0;
  let square = 0;
  let count = 0;
  for (const tokens of [70, 1, 20, 1]) {
    const keys = vectors(tokens * shape.keyValueHeads);
    const values = vectors(tokens * shape.keyValueHeads);
    const queries = vectors(tokens * shape.queryHeads).map((channel) => channel / 4);
    const output = upload(new Float32Array(queries.length).fill(NaN));
    const staging = device.createBuffer({ size: output.size, usage: 0x01 | 0x08 });
    const encoder = device.createCommandEncoder();
    const step = cache.beginStep([{ sequence, tokens }]);
    cache.encodeAppend(encoder, step, 0, {
      keys: { buffer: upload(keys) },
      values: { buffer: upload(values) },
    });
    cache.encodeAttend(encoder, step, 0, {
      queries: { buffer: upload(queries) },
      output: { buffer: output },
    });
    encoder.copyBufferToBuffer(output, 0, staging, 0, output.size);
    device.queue.submit([encoder.finish()]);
    await staging.mapAsync(0x01);
    const found = new Float32Array(staging.getMappedRange());
    const referenceStep = reference.beginStep([{ sequence: referenceSequence, tokens }]);
    reference.append(referenceStep, 0, { keys, values });
    reference.attend(referenceStep, 0, { queries }).forEach((wanted, i) => {
      const difference = Math.abs(wanted - found[i]);
      error = Math.max(error, Number.isNaN(difference) ? Infinity : difference);
      square += wanted * wanted;
      count++;
    });
  }
  console.log(
    JSON.stringify({
      adapter: adapter.info.description,
      codedTokens: cache.codedTokens(sequence),
      error: error / Math.sqrt(square / count),
    }),
  );
  // Dawn's own threads would keep the process alive.
  process.exit(0);
}
