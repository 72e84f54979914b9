import assert from "node:assert/strict";
import {
  type CalibrationSamples,
  readSampleOrigin,
  readSamples,
  type SampleOrigin,
  writeSamples,
} from "../../mod.ts";
import { refuses } from "../helpers/refusals.ts";

const rope = { layout: "interleaved", theta: 500000, inverseFrequencies: [1, 1 / 3] } as const;

/** Two tokens of two heads of four channels. */
function samples(others: Partial<CalibrationSamples> = {}): CalibrationSamples {
  const values = Float32Array.from({ length: 16 }, (_, i) => Math.sin(i));
  return { layer: 0, side: "keys", keyValueHeads: 2, headDim: 4, values, ...others };
}

const ORIGINS: readonly SampleOrigin[] = [
  {},
  { model: { name: "a model", digest: "sha256:0" }, keySpace: "pre-rope", source: "a text" },
  { source: "" },
];

for (const origin of ORIGINS) {
  Deno.test(`writeSamples writes what readSamples and readSampleOrigin read: ${JSON.stringify(origin)}`, () => {
    const positions = [3, 0];
    const all = [
      samples({ positions, rope, weights: new Float32Array(16).fill(2) }),
      samples({ side: "values", positions, weights: Float32Array.of(1, 2, 3, 4) }),
      samples({ layer: 7, positions, rope, scale: new Float32Array(8).fill(3) }),
    ];
    const bytes = writeSamples(all, origin);
    assert.deepEqual(readSamples(bytes), all);
    assert.deepEqual(readSampleOrigin(bytes), origin);
    assert.deepEqual(writeSamples(all.toReversed(), origin), bytes);
  });
}

Deno.test("writeSamples writes the positions of keys for values as well", () => {
  const bytes = writeSamples([
    samples({ positions: Float64Array.of(0, 1), rope }),
    samples({ side: "values" }),
  ]);
  assert.deepEqual(readSamples(bytes).map(({ positions }) => positions), [[0, 1], [0, 1]]);
});

Deno.test("writeSamples writes no more than the part of a buffer that samples view", () => {
  const values = Float32Array.from({ length: 20 }, (_, i) => i).subarray(2, 18);
  assert.deepEqual([...readSamples(writeSamples([samples({ values })]))[0]!.values], [...values]);
});

for (
  const [name, code, list] of [
    ["a layer and side twice", "usage", [samples(), samples()]],
    ["half a token", "shape", [samples({ values: new Float32Array(12) })]],
    ["weights that divide no token", "shape", [samples({ weights: new Float32Array(3) })]],
    ["a scale of other channels", "shape", [samples({ scale: new Float32Array(4) })]],
    ["a layer that is no index", "shape", [samples({ layer: 0.5 })]],
    ["positions of other tokens", "shape", [samples({ positions: [0] })]],
    ["a position that is no index", "shape", [samples({ positions: [0, -1] })]],
    ["layers of other positions", "shape", [
      samples({ positions: [0, 1] }),
      samples({ layer: 1, positions: [1, 2] }),
    ]],
    ["layers of other rotary embeddings", "shape", [
      samples({ rope }),
      samples({ layer: 1, rope: { ...rope, theta: 1 } }),
    ]],
  ] as const
) {
  Deno.test(`writeSamples refuses ${name}`, () => refuses(code, () => writeSamples(list)));
}
