import assert from "node:assert/strict";
import {
  readSampleOrigin,
  readSamples,
  type SafetensorsTensor,
  writeSafetensors,
} from "../../mod.ts";
import { toFloat16Array } from "../../src/base/float16.ts";
import { refuses } from "../helpers/refusals.ts";

function f32(shape: readonly number[], first = 0): SafetensorsTensor {
  const values = Float32Array.from(
    { length: shape.reduce((a, b) => a * b, 1) },
    (_, i) => first + i,
  );
  return { dtype: "F32", shape, data: new Uint8Array(values.buffer) };
}

function file(
  tensors: Readonly<Record<string, SafetensorsTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  return writeSafetensors({ metadata, tensors: new Map(Object.entries(tensors)) });
}

/** Whole numbers of a dtype. */
function positions(values: readonly number[], dtype: "I32" | "I64" | "U32"): SafetensorsTensor {
  const data = dtype === "I64"
    ? BigInt64Array.from(values, BigInt)
    : dtype === "I32"
    ? Int32Array.from(values)
    : Uint32Array.from(values);
  return { dtype, shape: [values.length], data: new Uint8Array(data.buffer) };
}

const CLAIM = { format: "couplet-samples", version: "1" };

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

for (const dtype of ["I32", "I64", "U32"] as const) {
  Deno.test(`readSamples reads positions in ${dtype}`, () => {
    const samples = readSamples(file({
      "layers.0.keys": f32([3, 1, 2]),
      "layers.0.values": f32([3, 1, 2]),
      positions: positions([7, 8, 0], dtype),
    }));
    assert.deepEqual(samples.map(({ positions }) => positions), [[7, 8, 0], [7, 8, 0]]);
  });
}

for (
  const [name, shape] of [
    ["channel", [3, 2, 4]],
    ["group of channels", [3, 2, 2]],
    ["vector", [3, 2]],
  ] as const
) {
  Deno.test(`readSamples reads one weight per ${name}, and a scale`, () => {
    const [samples] = readSamples(file({
      "layers.0.keys": f32([3, 2, 4]),
      "layers.0.keys.weights": f32(shape, 1),
      "layers.0.keys.scale": f32([2, 4], 9),
    }));
    assert.equal(samples!.weights!.length, shape.reduce((a: number, b) => a * b, 1));
    assert.deepEqual([samples!.weights![0], samples!.scale![0]], [1, 9]);
  });
}

Deno.test("readSamples gives the rotary embedding to keys alone", () => {
  const rope = { layout: "half", theta: 500, rotaryDim: 4, inverseFrequencies: [1, 0.5] };
  const samples = readSamples(file(
    { "layers.0.keys": f32([1, 1, 8]), "layers.0.values": f32([1, 1, 8]) },
    { ...CLAIM, rope: JSON.stringify(rope) },
  ));
  assert.deepEqual(samples.map(({ rope }) => rope), [rope, undefined]);
});

Deno.test("readSampleOrigin reads what metadata tell, and all of it is optional", () => {
  const vectors = { "layers.0.keys": f32([1, 1, 8]) };
  const model = { name: "a", digest: "sha256:b" };
  assert.deepEqual(
    readSampleOrigin(file(vectors, {
      ...CLAIM,
      model: JSON.stringify(model),
      key_space: "as-scored",
      source: "a text",
      anything: "else",
    })),
    { model, keySpace: "as-scored", source: "a text" },
  );
  assert.deepEqual(readSampleOrigin(file(vectors, CLAIM)), {});
  // As written by other programs.
  for (const metadata of [{}, { format: "pt", rope: "none", model: "gpt2" }]) {
    assert.deepEqual(readSampleOrigin(file(vectors, metadata)), {});
    assert.equal(readSamples(file(vectors, metadata)).length, 1);
  }
});

for (
  const [name, metadata] of [
    ["another version", { version: "2" }],
    ["a model that is no JSON", { model: "gpt2" }],
    ["a model without a digest", { model: '{"name":"a"}' }],
    ["an unknown key space", { key_space: "post-rope" }],
    ["an unknown rotary layout", { rope: '{"layout":"neox","theta":1}' }],
    ["a rotary embedding without a base", { rope: '{"layout":"half"}' }],
  ] as const
) {
  Deno.test(`readSamples and readSampleOrigin refuse ${name}`, () => {
    const bytes = file({ "layers.0.keys": f32([1, 1, 8]) }, { ...CLAIM, ...metadata });
    refuses("file", () => readSamples(bytes));
    refuses("file", () => readSampleOrigin(bytes));
  });
}

const KEYS = f32([3, 2, 4]);

for (
  const [name, tensors] of [
    ["another name", { "layers.0.queries": f32([1, 1, 8]) }],
    ["another shape", { "layers.0.keys": f32([8, 8]) }],
    ["no tokens", { "layers.0.keys": f32([0, 1, 8]) }],
    ["integers", { "layers.0.keys": { ...f32([1, 1, 8]), dtype: "I32" } }],
    ["no tensor", {}],
    ["positions alone", { positions: positions([0], "I32") }],
    ["too few positions", { "layers.0.keys": KEYS, positions: positions([0, 1], "I32") }],
    ["too many positions", { "layers.0.keys": KEYS, positions: positions([0, 1, 2, 3], "I32") }],
    ["positions in rows", {
      "layers.0.keys": KEYS,
      positions: { ...positions([0, 1, 2], "I32"), shape: [3, 1] },
    }],
    ["positions that are no integers", { "layers.0.keys": KEYS, positions: f32([3]) }],
    ["a position below 0", { "layers.0.keys": KEYS, positions: positions([0, 1, -1], "I64") }],
    ["a position no token has", {
      "layers.0.keys": KEYS,
      positions: positions([0, 1, 2e9], "U32"),
    }],
    ["weights without vectors", { "layers.0.keys.weights": KEYS, "layers.0.values": KEYS }],
    ["weights of other tokens", { "layers.0.keys": KEYS, "layers.0.keys.weights": f32([2, 2, 4]) }],
    ["weights of other heads", { "layers.0.keys": KEYS, "layers.0.keys.weights": f32([3, 1, 4]) }],
    ["weights of no group", { "layers.0.keys": KEYS, "layers.0.keys.weights": f32([3, 2, 3]) }],
    ["a list of weights", { "layers.0.keys": KEYS, "layers.0.keys.weights": f32([6]) }],
    ["weights that are integers", {
      "layers.0.keys": KEYS,
      "layers.0.keys.weights": { ...KEYS, dtype: "I32" },
    }],
    ["a scale of other heads", { "layers.0.keys": KEYS, "layers.0.keys.scale": f32([1, 4]) }],
  ] as const
) {
  Deno.test(`readSamples refuses ${name}`, () => refuses("file", () => readSamples(file(tensors))));
}

Deno.test("readSamples refuses what is no safetensors file", () => {
  refuses("file", () => readSamples(new TextEncoder().encode("samples")));
});
