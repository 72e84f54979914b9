import assert from "node:assert/strict";
import { joinSamples, readSamples, type SafetensorsTensor, writeSafetensors } from "../../mod.ts";
import { toFloat16Array } from "../../src/base/float16.ts";
import { refuses } from "../helpers/refusals.ts";

function f32(shape: readonly number[], first = 0): SafetensorsTensor {
  const values = Float32Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    (_, i) => first + i,
  );
  return { dtype: "F32", shape, data: new Uint8Array(values.buffer) };
}

function file(tensors: Readonly<Record<string, SafetensorsTensor>>): Uint8Array {
  return writeSafetensors({ metadata: {}, tensors: new Map(Object.entries(tensors)) });
}

Deno.test("readSamples reads layers and sides, keys first", () => {
  const found = readSamples(file({
    "layers.10.keys": f32([3, 2, 4]),
    "layers.2.values": f32([3, 1, 8], 5),
    "layers.2.keys": f32([3, 1, 8]),
  }));
  assert.deepEqual(
    found.map(({ layer, side, keyValueHeads, headDim }) => [layer, side, keyValueHeads, headDim]),
    [[2, "keys", 1, 8], [2, "values", 1, 8], [10, "keys", 2, 4]],
  );
  assert.deepEqual([...found[1]!.values.subarray(0, 3)], [5, 6, 7]);
});

Deno.test("readSamples reads binary16", () => {
  const data = new Uint8Array(toFloat16Array([1, -2, 0.5, 0]).buffer);
  const [samples] = readSamples(
    file({ "layers.0.keys": { dtype: "F16", shape: [2, 1, 2], data } }),
  );
  assert.deepEqual([...samples!.values], [1, -2, 0.5, 0]);
});

for (
  const [name, tensors] of [
    ["another name", { "layers.0.queries": f32([1, 1, 8]) }],
    ["another shape", { "layers.0.keys": f32([8, 8]) }],
    ["no tokens", { "layers.0.keys": f32([0, 1, 8]) }],
    ["integers", { "layers.0.keys": { ...f32([1, 1, 8]), dtype: "I32" } }],
    ["no tensor", {}],
  ] as const
) {
  Deno.test(`readSamples refuses ${name}`, () => refuses("file", () => readSamples(file(tensors))));
}

Deno.test("readSamples refuses what is no safetensors file", () => {
  refuses("file", () => readSamples(new TextEncoder().encode("samples")));
});

Deno.test("joinSamples puts the tokens of each layer and side one after the other", () => {
  const first = readSamples(
    file({ "layers.0.keys": f32([2, 1, 2]), "layers.1.keys": f32([1, 1, 2]) }),
  );
  const second = readSamples(file({ "layers.0.keys": f32([1, 1, 2], 9) }));
  const [joined, other] = joinSamples([first, second]);
  assert.deepEqual([...joined!.values], [0, 1, 2, 3, 9, 10]);
  assert.deepEqual(other, first[1]);
});

Deno.test("joinSamples refuses other heads", () => {
  const samples = (shape: readonly number[]) => readSamples(file({ "layers.0.keys": f32(shape) }));
  refuses("shape", () => joinSamples([samples([1, 2, 4]), samples([1, 1, 8])]));
});
