/** Bindings of a host: what is refused leaves no trace, and what is taken is bound as WebGPU takes it. */
import assert from "node:assert/strict";
import { kernels } from "../../generated/f16/f16_d64.ts";
import { type CacheOptions, type CoupletErrorCode, createCache, planCache } from "../../mod.ts";
import { seededRandom } from "../../src/base/random.ts";
import { checkBinding } from "../../src/cache/host_bindings.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { uploadBuffer } from "../helpers/cache_oracle.ts";
import { refuses } from "../helpers/refusals.ts";

const device = await requestTestDevice();

const TOKENS = 4;
const HEAD_DIM = 64;
/** Bytes of the keys, and of the values, of a step; the queries and the output have twice as many. */
const BYTES = TOKENS * HEAD_DIM * 4;

const options: CacheOptions = {
  shape: { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: HEAD_DIM },
  policy: { keys: "f16", values: "f16" },
  keys: { space: "as-scored" },
  tiers: { sinks: 0, window: 8 },
  capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 8, appendTokens: 8 },
};
const plan = planCache({ ...options, kernels });

function vectors(seed: number, heads: number): Float32Array<ArrayBuffer> {
  const random = seededRandom(seed);
  return Float32Array.from({ length: TOKENS * heads * HEAD_DIM }, () => 2 * random.next() - 1);
}

const tensors = { keys: vectors(1, 1), values: vectors(2, 1), queries: vectors(3, 2) };

/** Bindings of a step's tensors. */
type Bindings = Readonly<Record<"keys" | "values" | "queries" | "output", GPUBufferBinding>>;

function usual(): Bindings {
  return {
    keys: { buffer: uploadBuffer(device, tensors.keys) },
    values: { buffer: uploadBuffer(device, tensors.values) },
    queries: { buffer: uploadBuffer(device, tensors.queries) },
    output: { buffer: uploadBuffer(device, new Float32Array(2 * BYTES / 4)) },
  };
}

/** A step's output; WebGPU must have nothing against it. */
async function attend(bindings: Bindings, before?: (attempt: Attempt) => void): Promise<number[]> {
  const cache = await createCache({ device, plan });
  const sequence = cache.createSequence();
  const step = cache.beginStep([{ sequence, tokens: TOKENS }]);
  device.pushErrorScope("validation");
  const encoder = device.createCommandEncoder();
  before?.((given) => cache.encodeAppend(encoder, step, 0, { ...bindings, ...given } as Bindings));
  cache.encodeAppend(encoder, step, 0, bindings);
  cache.encodeAttend(encoder, step, 0, bindings);
  device.queue.submit([encoder.finish()]);
  const error = await device.popErrorScope();
  assert.equal(error?.message, undefined);
  const { buffer, offset = 0 } = bindings.output;
  const bytes = await readBuffer(device, buffer as GPUBuffer);
  cache.destroy();
  return [...new Float32Array(bytes.slice(offset, offset + 2 * BYTES))];
}

/** Appends with other bindings in place of some. */
type Attempt = (given: Partial<Record<"keys" | "values", unknown>>) => void;

const wanted = await attend(usual());
const storage = (size: number) => device.createBuffer({ size, usage: 0x80 | 0x08 | 0x04 });

/** What is no binding, and what each is refused with. */
const REFUSED: readonly [what: string, code: CoupletErrorCode, says: RegExp, binding: unknown][] = [
  ["nothing", "usage", /buffer is undefined/, undefined],
  ["no buffer", "usage", /buffer is undefined/, {}],
  ["null", "usage", /buffer is undefined/, null],
  ["a buffer in place of a binding", "usage", /Pass \{ buffer \}/, storage(BYTES)],
  ["numbers", "usage", /an ArrayBuffer/, tensors.keys],
  ["a negative offset", "usage", /offset is -256/, { buffer: storage(4096), offset: -256 }],
  ["an offset that is not aligned", "usage", /128/, { buffer: storage(4096), offset: 128 }],
  ["half a byte", "usage", /0\.5/, { buffer: storage(4096), offset: 0.5 }],
  ["an offset that is no number", "usage", /NaN/, { buffer: storage(4096), offset: NaN }],
  ["an offset in words", "usage", /"256"/, { buffer: storage(4096), offset: "256" }],
  ["an offset that is infinite", "usage", /Infinity/, { buffer: storage(4096), offset: Infinity }],
  ["an offset behind the end", "shape", /9007199254740992/, {
    buffer: storage(4096),
    offset: 2 ** 53,
  }],
  ["a size that is no number", "shape", /NaN/, { buffer: storage(4096), size: NaN }],
  ["a negative size", "shape", /-1 bytes/, { buffer: storage(4096), size: -1 }],
  ["a size that is a bigint", "shape", /1024/, { buffer: storage(4096), size: 1024n }],
  ["too few bytes", "shape", /step needs/, { buffer: storage(4096), size: BYTES - 4 }],
  ["more than there is", "shape", /buffer of 4096/, { buffer: storage(4096), size: 8192 }],
  [
    "a buffer for copies",
    "usage",
    /usage STORAGE/,
    { buffer: device.createBuffer({ size: 4096, usage: 0x08 }) },
  ],
];

for (const [what, code, says, binding] of REFUSED) {
  Deno.test(`Cache refuses ${what} as a binding, and the same encoder then takes the right ones`, async () => {
    const found = await attend(usual(), (attempt) => {
      for (const name of ["keys", "values"]) {
        refuses(code, () => attempt({ [name]: binding }));
        assert.throws(() => attempt({ [name]: binding }), says);
      }
    });
    assert.deepEqual(found, wanted);
  });
}

/** An arena of the host that holds all tensors but the output, from a byte on. */
function arena(size: number, start: number, sized?: (bytes: number) => number): Bindings {
  const buffer = storage(size);
  const place = (data: Float32Array<ArrayBuffer>, index: number) => {
    const offset = start + index * 4096;
    device.queue.writeBuffer(buffer, offset, data);
    return { buffer, offset, ...(sized === undefined ? {} : { size: sized(data.byteLength) }) };
  };
  return {
    ...usual(),
    keys: place(tensors.keys, 0),
    values: place(tensors.values, 1),
    queries: place(tensors.queries, 2),
  };
}

const { maxStorageBufferBindingSize: most, maxBufferSize } = device.limits;
/** Larger than a binding may be, where the device has such buffers. */
const LARGE = Math.min(most + 65536, maxBufferSize);

/** Bindings that WebGPU would not take as they are given. */
const TAKEN: readonly [what: string, bindings: () => Bindings][] = [
  ["an arena by offsets, without sizes", () => arena(65536, 0)],
  ["the end of an arena", () => arena(65536, 65536 - 3 * 4096)],
  ["an arena larger than a binding may be, from its start", () => arena(LARGE, 0)],
  ["the end of such an arena", () => arena(LARGE, LARGE - 65536)],
  ["sizes that are no multiple of 4", () => arena(65536, 0, (bytes) => bytes + 3)],
  ["buffers whose size is no multiple of 4", () => arena(65538, 0)],
  ["sizes to the byte", () => arena(65536, 256, (bytes) => bytes)],
];

for (const [what, bindings] of TAKEN) {
  Deno.test(`Cache takes ${what}`, async () => {
    const given = bindings();
    assert.deepEqual(await attend(given), wanted);
    (given.keys.buffer as GPUBuffer).destroy();
  });
}

Deno.test("checkBinding() refuses a tensor that is larger than a binding may be, and binds no more than that", () => {
  const buffer = { size: 8192, usage: 0x80 } as GPUBuffer;
  const tensor = (bytes: number) => ({ name: "keys", binding: { buffer }, bytes });
  refuses("limits", () => checkBinding(tensor(4100), new Set(), 4096));
  const { binding } = checkBinding(tensor(4096), new Set(), 4096);
  assert.deepEqual(binding, { buffer, offset: 0, size: 4096 });
});

Deno.test("checkBinding() binds the same range whatever a step's tokens are, so that bind groups serve many", () => {
  const buffer = { size: 8192, usage: 0x80 } as GPUBuffer;
  const sizes = [256, 1024, 4096].map((bytes) =>
    checkBinding({ name: "keys", binding: { buffer, offset: 256 }, bytes }, new Set()).binding
  );
  assert.deepEqual(sizes, sizes.map(() => ({ buffer, offset: 256, size: 8192 - 256 })));
});
