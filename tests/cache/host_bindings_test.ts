/** Which of the host's ranges a cache takes: to the byte. */
import assert from "node:assert/strict";
import { checkApart, checkBinding, tensorBytes } from "../../src/cache/host_bindings.ts";
import type { HostStrides, ResolvedLayer, TensorStrides } from "../../src/plan/options.ts";
import { refuses } from "../helpers/refusals.ts";

/** As much of a layer as is looked at: 64 channels of keys, 48 of values, three query heads for each KV head. */
function layerOf(keyValueHeads: number, own: TensorStrides): ResolvedLayer {
  const strides: HostStrides = { keys: own, values: own, queries: own, output: own };
  return {
    keyValueHeads,
    queryHeads: 3 * keyValueHeads,
    headDim: 64,
    valueHeadDim: 48,
    strides,
  } as ResolvedLayer;
}

/** As much of a buffer as is looked at. */
function bufferOf(size: number, usage = 0x80): GPUBuffer {
  return { size, usage } as GPUBuffer;
}

Deno.test("tensorBytes() reaches from the first element to behind the last, whatever lies between", () => {
  const bytes = (heads: number, tokens: number, strides: TensorStrides, dtype: "f32" | "f16") =>
    tensorBytes(layerOf(heads, strides), "keys", tokens, dtype);
  const dense = { token: 128, head: 64 };
  assert.equal(bytes(2, 3, dense, "f32"), 3 * 128 * 4);
  assert.equal(bytes(2, 3, dense, "f16"), 3 * 128 * 2);
  assert.equal(bytes(1, 1, { token: 1000, head: 500 }, "f32"), 64 * 4);
  // Head by head, in strides for ten tokens.
  assert.equal(bytes(2, 3, { token: 64, head: 640 }, "f32"), (640 + 2 * 64 + 64) * 4);
});

Deno.test("tensorBytes() counts query heads of queries and output, and a value's channels of values and output", () => {
  const layer = layerOf(2, { token: 1000, head: 100 });
  const bytes = (name: keyof HostStrides) => tensorBytes(layer, name, 1, "f32");
  assert.equal(bytes("keys"), (100 + 64) * 4);
  assert.equal(bytes("values"), (100 + 48) * 4);
  assert.equal(bytes("queries"), (500 + 64) * 4);
  assert.equal(bytes("output"), (500 + 48) * 4);
});

/** A range of a buffer of 1024 bytes, of which 512 are needed, and what it is refused with. */
const RANGES: readonly {
  readonly range: Pick<GPUBufferBinding, "offset" | "size">;
  readonly refused?: "usage" | "shape";
}[] = [
  { range: {} },
  { range: { offset: 512 } },
  { range: { offset: 768 }, refused: "shape" },
  { range: { size: 512 } },
  { range: { size: 511 }, refused: "shape" },
  { range: { offset: 512, size: 512 } },
  { range: { offset: 512, size: 513 }, refused: "shape" },
  { range: { offset: 256, size: 1024 }, refused: "shape" },
  { range: { offset: 128, size: 512 }, refused: "usage" },
  { range: { offset: 1024 }, refused: "shape" },
];

for (const { range, refused } of RANGES) {
  Deno.test(`checkBinding() ${refused === undefined ? "takes" : "refuses"} ${JSON.stringify(range)} of 1024 bytes for 512`, () => {
    const binding = { buffer: bufferOf(1024), ...range };
    const act = () => checkBinding({ name: "keys", binding, bytes: 512 }, new Set());
    if (refused === undefined) act();
    else refuses(refused, act);
  });
}

Deno.test("checkApart() refuses ranges of one buffer that have a byte in common, whichever is first", () => {
  const buffer = bufferOf(4096);
  const tensor = (name: string, offset: number, bytes: number, own = buffer) => ({
    name,
    binding: { buffer: own, ...(offset === 0 ? {} : { offset }) },
    bytes,
  });
  for (const [first, bytes, second] of [[0, 512, 512], [0, 500, 512], [1024, 256, 1280]] as const) {
    checkApart(tensor("output", first, bytes), tensor("queries", second, 512));
    checkApart(tensor("output", second, 512), tensor("queries", first, bytes));
  }
  for (
    const [first, bytes, second] of [[0, 513, 512], [256, 512, 256], [256, 2048, 512]] as const
  ) {
    const [one, other] = [tensor("output", first, bytes), tensor("queries", second, 256)];
    refuses("usage", () => checkApart(one, other));
    refuses("usage", () => checkApart(other, one));
    checkApart(one, tensor("queries", second, 256, bufferOf(4096)));
  }
});
