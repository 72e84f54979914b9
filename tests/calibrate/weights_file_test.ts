import { deepStrictEqual, strictEqual, throws } from "node:assert/strict";
import { type SafetensorsTensor, writeSafetensors } from "../../mod.ts";
import { readWeights, withWeights } from "../../src/calibrate/weights_file.ts";
import { samplesOf } from "../helpers/kmeans.ts";

function tensor(
  shape: number[],
  values: readonly number[] = Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => i),
): SafetensorsTensor {
  return { dtype: "F32", shape, data: new Uint8Array(Float32Array.from(values).buffer) };
}

function file(tensors: Record<string, SafetensorsTensor>): Uint8Array {
  return writeSafetensors({ metadata: {}, tensors: new Map(Object.entries(tensors)) });
}

const SAMPLES = [
  samplesOf(new Float32Array(3 * 2 * 4), 2, 4),
  { ...samplesOf(new Float32Array(3 * 2 * 4), 2, 4), side: "values" as const },
];

Deno.test("readWeights reads weights and scales by layer and side, in order", () => {
  const found = readWeights(file({
    "layers.10.keys": tensor([3, 2]),
    "layers.2.values": tensor([3, 2, 2]),
    "layers.2.keys": tensor([3, 2, 4]),
    "layers.2.keys.scale": tensor([2, 4]),
  }));
  deepStrictEqual(
    found.map(({ layer, side, shape, scale }) => [layer, side, shape, scale?.length]),
    [
      [2, "keys", [3, 2, 4], 8],
      [2, "values", [3, 2, 2], undefined],
      [10, "keys", [3, 2], undefined],
    ],
  );
  deepStrictEqual(found[2]!.weights, Float32Array.of(0, 1, 2, 3, 4, 5));
});

Deno.test("readWeights reads every float type, unaligned too", () => {
  const wanted = [0.5, 2, 0, 96];
  const types: Record<string, Uint8Array> = {
    F32: new Uint8Array(Float32Array.from(wanted).buffer),
    F64: new Uint8Array(Float64Array.from(wanted).buffer),
    F16: new Uint8Array(Float16Array.from(wanted).buffer),
    BF16: new Uint8Array(
      Uint16Array.from(new Uint32Array(Float32Array.from(wanted).buffer), (bits) => bits >>> 16)
        .buffer,
    ),
  };
  for (const [dtype, data] of Object.entries(types)) {
    const bytes = file({
      "layers.0.keys": { dtype: dtype as "F32", shape: [2, 2], data },
    });
    const shifted = new Uint8Array(bytes.length + 1);
    shifted.set(bytes, 1);
    const [one] = readWeights(shifted.subarray(1));
    deepStrictEqual([...one!.weights!], wanted, dtype);
  }
});

const BAD: [string, Uint8Array, RegExp][] = [
  ["bytes that are no safetensors file", new Uint8Array(20), /safetensors/],
  ["a file without tensors", file({}), /no tensor/],
  ["tensors of another name", file({ "model.norm.weight": tensor([2, 2]) }), /model\.norm/],
  ["a shape of another kind", file({ "layers.0.keys": tensor([6]) }), /\[6\]/],
  ["a scale of another kind", file({ "layers.0.keys.scale": tensor([2, 2, 2]) }), /\[2, 2, 2\]/],
  [
    "integers",
    file({ "layers.0.keys": { dtype: "I8", shape: [1, 2], data: new Uint8Array(2) } }),
    /I8/,
  ],
];

for (const [name, bytes, message] of BAD) {
  Deno.test(`readWeights refuses ${name}`, () => {
    throws(() => readWeights(bytes), { code: "file", message });
  });
}

Deno.test("withWeights joins weights to the samples of their layer and side", () => {
  const weights = readWeights(file({
    "layers.0.values": tensor([3, 2, 4]),
    "layers.0.keys.scale": tensor([2, 4]),
  }));
  const [keys, values] = withWeights(SAMPLES, weights);
  deepStrictEqual(keys!.scale?.length, 8);
  strictEqual(keys!.weights, undefined);
  deepStrictEqual(values!.weights?.length, 24);
  strictEqual(withWeights(SAMPLES, weights.slice(1))[0], SAMPLES[0]);
});

const UNFIT: [string, Record<string, SafetensorsTensor>][] = [
  ["other tokens", { "layers.0.keys": tensor([4, 2, 4]) }],
  ["other heads", { "layers.0.keys": tensor([3, 1, 8]) }],
  ["channels that no group divides", { "layers.0.keys": tensor([3, 2, 3]) }],
  ["another layer", { "layers.1.keys": tensor([3, 2, 4]) }],
  ["a scale of other channels", { "layers.0.keys.scale": tensor([2, 3]) }],
];

for (const [name, tensors] of UNFIT) {
  Deno.test(`withWeights refuses weights of ${name}`, () => {
    throws(() => withWeights(SAMPLES, readWeights(file(tensors))), { code: "shape" });
  });
}
