// Appends and attends with Dawn in Node, and compares with the package's own reference; prints the largest difference,
// relative to the outputs' root mean square.
import { calibrate, createCache, createReferenceCache, planCache } from "@couplet/kv";
import { kernels } from "@couplet/kv/kernels/c8b8_d64";
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
// Dawn crashes when the collector takes an object it still uses, so everything is held to the end.
const gpu = create([]);
const adapter = await gpu.requestAdapter();
if (adapter === null) throw new Error("Dawn found no adapter");
const device = await adapter.requestDevice();

const shape = { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 };
let state = 1;
function random() {
  state = (state * 48271) % 2147483647;
  return Math.round((state / 2147483647) * 192 - 96) / 32;
}
const vectors = (rows) => Float32Array.from({ length: rows * shape.headDim }, random);

const sample = vectors(300 * shape.keyValueHeads);
const side = { layer: 0, keyValueHeads: shape.keyValueHeads, headDim: 64, values: sample };
const codebooks = await calibrate({
  samples: [{ ...side, side: "keys" }, { ...side, side: "values" }],
  schemes: { keys: ["c8b8"], values: ["c8b8"] },
  keySpace: "as-scored",
  model: { name: "random", digest: "random" },
  seed: 1,
});
const options = {
  shape,
  policy: { keys: "c8b8", values: "c8b8" },
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
