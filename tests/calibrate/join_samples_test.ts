import assert from "node:assert/strict";
import { type CalibrationSamples, joinSamples } from "../../mod.ts";
import { refuses } from "../helpers/refusals.ts";

/** Samples of the keys of a layer, two heads of two channels, numbered from `first` on. */
function keys(
  first: number,
  tokens: number,
  others: Partial<CalibrationSamples> = {},
): CalibrationSamples {
  const values = Float32Array.from({ length: tokens * 4 }, (_, i) => first + i);
  return { layer: 0, side: "keys", keyValueHeads: 2, headDim: 2, values, ...others };
}

const rope = { layout: "half", theta: 10000 } as const;

Deno.test("joinSamples puts the tokens of each layer and side one after the other", () => {
  const other = keys(0, 1, { layer: 1 });
  const [joined, alone] = joinSamples([[keys(0, 2), other], [keys(9, 1)]]);
  assert.deepEqual([...joined!.values], [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12]);
  assert.deepEqual(alone, other);
});

Deno.test("joinSamples joins positions and weights, and keeps the scale and the rotary embedding", () => {
  const scale = Float32Array.of(1, 2, 3, 4);
  const [joined] = joinSamples([
    [keys(0, 2, { positions: [3, 4], weights: Float32Array.of(1, 2, 3, 4), scale, rope })],
    [keys(9, 1, { positions: [0], weights: Float32Array.of(5, 6), scale: scale.slice(), rope })],
  ]);
  const { positions, weights } = joined!;
  assert.deepEqual(positions, [3, 4, 0]);
  assert.deepEqual([...weights!], [1, 2, 3, 4, 5, 6]);
  assert.deepEqual([joined!.scale, joined!.rope], [scale, rope]);
});

Deno.test("joinSamples has no positions and no rotary embedding where a file has none", () => {
  const [joined] = joinSamples([[keys(0, 1, { positions: [0], rope })], [keys(9, 1)]]);
  assert.ok(!("positions" in joined!) && !("rope" in joined!));
});

for (
  const [name, others] of [
    ["other heads", { keyValueHeads: 1, headDim: 4 }],
    ["weights that one file has alone", { weights: new Float32Array(4) }],
    ["a scale that one file has alone", { scale: new Float32Array(4) }],
  ] as const
) {
  Deno.test(`joinSamples refuses ${name}`, () => {
    refuses("shape", () => joinSamples([[keys(0, 1)], [keys(0, 1, others)]]));
    refuses("shape", () => joinSamples([[keys(0, 1, others)], [keys(0, 1)]]));
  });
}

for (
  const [name, first, second] of [
    ["weights of another kind", { weights: new Float32Array(4) }, {
      weights: new Float32Array(2),
    }],
    ["another scale", { scale: Float32Array.of(1, 1, 1, 1) }, {
      scale: Float32Array.of(1, 1, 1, 2),
    }],
    ["another rotary embedding", { rope }, { rope: { ...rope, theta: 500000 } }],
  ] as const
) {
  Deno.test(`joinSamples refuses ${name}`, () => {
    refuses("shape", () => joinSamples([[keys(0, 1, first)], [keys(0, 1, second)]]));
  });
}
