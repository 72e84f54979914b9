/** Which of the host's ranges a cache takes: to the byte. */
import assert from "node:assert/strict";
import { checkApart, checkBinding, tensorBytes } from "../../src/cache/host_bindings.ts";
import { refuses } from "../helpers/refusals.ts";

/** As much of a buffer as is looked at. */
function bufferOf(size: number, usage = 0x80): GPUBuffer {
  return { size, usage } as GPUBuffer;
}

Deno.test("tensorBytes() reaches from the first element to behind the last, whatever lies between", () => {
  const dense = { token: 128, head: 64 };
  assert.equal(tensorBytes(3, 2, 64, dense, "f32"), 3 * 128 * 4);
  assert.equal(tensorBytes(3, 2, 64, dense, "f16"), 3 * 128 * 2);
  assert.equal(tensorBytes(1, 1, 64, { token: 1000, head: 500 }, "f32"), 64 * 4);
  // Head by head, in strides for ten tokens.
  assert.equal(tensorBytes(3, 2, 64, { token: 64, head: 640 }, "f32"), (640 + 2 * 64 + 64) * 4);
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
