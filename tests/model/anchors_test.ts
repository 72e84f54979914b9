import assert from "node:assert/strict";
import fc from "fast-check";
import {
  anchorTokens,
  anchorTurn,
  anchorTurnOfSquares,
  BAND_PAIRS,
  LARGEST_ANCHOR,
  LEAST_ANCHOR,
} from "../../src/model/anchors.ts";
import type { RopeParameters } from "../../src/model/model.ts";
import { inverseFrequencies, rotate } from "../../src/model/rope.ts";

const HEAD_DIM = 64;

/** Anchors of models, and of frequencies in no order. */
const CASES: readonly [
  what: string,
  rope: Omit<RopeParameters, "layout">,
  headDim: number,
  radians: number | undefined,
  anchors: readonly number[],
][] = [
  ["Llama 2", { theta: 10000 }, 128, undefined, [0, 0, 0, 16, 32, 128, 512, 512]],
  ["Llama 3", { theta: 500000 }, 128, undefined, [0, 0, 8, 64, 256, 512, 512, 512]],
  ["twice the angle", { theta: 500000 }, 128, 0.6, [0, 0, 16, 128, 512, 512, 512, 512]],
  ["the fixture", { theta: 10000 }, 64, undefined, [0, 0, 32, 512]],
  ["half of the channels", { theta: 10000, rotaryDim: 32 }, 64, undefined, [0, 32]],
  ["pairs that are no whole band", { theta: 1e8, rotaryDim: 24 }, 32, undefined, [0, 512]],
  [
    "a fast pair after slow ones",
    {
      theta: 1,
      rotaryDim: 48,
      inverseFrequencies: [
        ...Array<number>(8).fill(0),
        ...Array<number>(8).fill(-0.03),
        ...Array(8).fill(0.01),
      ],
    },
    48,
    undefined,
    [16, 16, 32],
  ],
  [
    "nothing that turns",
    { theta: 1, inverseFrequencies: Array<number>(16).fill(0) },
    32,
    undefined,
    [512, 512],
  ],
];

for (const [what, rope, headDim, radians, anchors] of CASES) {
  Deno.test(`anchorTokens: ${what}`, () => {
    const found = anchorTokens(
      { layout: "half", ...rope },
      headDim,
      radians === undefined ? {} : { radians },
    );
    assert.deepEqual(found, anchors);
  });
}

Deno.test("anchorTokens are the longest inside which no pair turns farther than it may", () => {
  const ropes = fc.record({
    layout: fc.constant("half" as const),
    theta: fc.double({ min: 2, max: 1e7, noNaN: true }),
  });
  fc.assert(
    fc.property(ropes, fc.double({ min: 0.05, max: 2, noNaN: true }), (rope, radians) => {
      const anchors = anchorTokens(rope, HEAD_DIM, { radians });
      const frequencies = inverseFrequencies(rope, HEAD_DIM);
      anchors.forEach((tokens, band) => {
        const fastest = Math.max(...frequencies.slice(band * BAND_PAIRS, (band + 1) * BAND_PAIRS));
        if (tokens > 0) assert.ok((tokens / 2) * fastest <= radians);
        const longer = tokens === 0 ? LEAST_ANCHOR : 2 * tokens;
        if (longer <= LARGEST_ANCHOR) assert.ok((longer / 2) * fastest > radians);
      });
    }),
    { seed: 1 },
  );
});

for (const layout of ["half", "interleaved"] as const) {
  Deno.test(`anchorTurn leaves a query one rotation for all tokens of an anchor, ${layout}`, () => {
    const rope: RopeParameters = { layout, theta: 10000, rotaryDim: 48, positionOffset: 7 };
    const frequencies = inverseFrequencies(rope, HEAD_DIM);
    const anchors = [0, 16, 512];
    const turn = anchorTurn(rope, HEAD_DIM, anchors);
    const vector = Float64Array.from({ length: HEAD_DIM }, (_, i) => Math.sin(7 * i + 1));
    for (const token of [0, 1, 15, 16, 17, 511, 512, 1000]) {
      // What is left of a key's rotation: nothing in bands without anchors, else that of the middle.
      const left = frequencies.map((frequency, pair) => {
        const tokens = anchors[Math.floor(pair / BAND_PAIRS)]!;
        const middle = tokens === 0 ? 0 : Math.floor(token / tokens) * tokens + tokens / 2;
        return frequency * (tokens === 0 ? token : middle);
      });
      const own = { ...rope, positionOffset: 0 };
      const whole = rotate(turn(vector, token, 1), 1, own, left);
      rotate(vector, token, own).forEach((wanted, i) =>
        assert.ok(Math.abs(whole[i]! - wanted) < 1e-12)
      );
      turn(turn(vector, token, 1), token, -1).forEach((found, i) =>
        assert.ok(Math.abs(found - vector[i]!) < 1e-12)
      );
    }
  });

  Deno.test(`anchorTurnOfSquares has the mean squares of turned channels of any sign, ${layout}`, () => {
    const rope: RopeParameters = { layout, theta: 100 };
    const anchors = [0, 8, 32, 512];
    const turn = anchorTurn(rope, HEAD_DIM, anchors);
    const vector = Float64Array.from({ length: HEAD_DIM }, (_, i) => Math.cos(3 * i + 2));
    const squares = anchorTurnOfSquares(rope, HEAD_DIM, anchors)(vector.map((x) => x * x), 5);
    const flipped = (way: number) =>
      vector.map((x, i) => (layout === "half" ? i < HEAD_DIM / 2 : i % 2 === 0) ? x : way * x);
    const both = [1, -1].map((way) => turn(flipped(way), 5, 1));
    squares.forEach((square, i) =>
      assert.ok(Math.abs(square - (both[0]![i]! ** 2 + both[1]![i]! ** 2) / 2) < 1e-12)
    );
  });
}
