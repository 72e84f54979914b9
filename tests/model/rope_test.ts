import assert from "node:assert/strict";
import fc from "fast-check";
import type { RopeParameters } from "../../src/model/model.ts";
import { CoupletError } from "../../src/base/errors.ts";
import { mropeSections } from "../../src/model/mrope_sections.ts";
import { inverseFrequencies, rotate } from "../../src/model/rope.ts";

const HEAD_DIM = 8;
const rope = fc.record({
  layout: fc.constantFrom("half" as const, "interleaved" as const),
  theta: fc.constantFrom(10, 10000, 500000),
  rotaryDim: fc.constantFrom(2, 4, 6, 8),
  positionOffset: fc.integer({ min: -5, max: 5 }),
});
const vector = fc.array(fc.double({ min: -4, max: 4, noNaN: true }), {
  minLength: HEAD_DIM,
  maxLength: HEAD_DIM,
});
const position = fc.nat(4096);

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  return Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function near(a: number, b: number): void {
  assert.ok(Math.abs(a - b) < 1e-9 * Math.max(1, Math.abs(a), Math.abs(b)), `${a} is not ${b}`);
}

Deno.test("rotate keeps the norm, and the channels past the rotary dimension", () => {
  fc.assert(
    fc.property(rope, vector, position, (rope, x, m) => {
      const rotated = rotate(x, m, rope);
      near(dot(rotated, rotated), dot(x, x));
      assert.deepEqual([...rotated.subarray(rope.rotaryDim)], x.slice(rope.rotaryDim));
    }),
    { seed: 1 },
  );
});

Deno.test("rotate makes the product of query and key depend on their distance only", () => {
  fc.assert(
    fc.property(rope, vector, vector, position, position, fc.nat(4096), (rope, q, k, m, n, by) => {
      const here = dot(rotate(q, m, rope), rotate(k, n, rope));
      const there = dot(rotate(q, m + by, rope), rotate(k, n + by, rope));
      near(here, there);
    }),
    { seed: 2 },
  );
});

Deno.test("rotate: half and interleaved layouts are permutations of one another", () => {
  fc.assert(
    fc.property(rope, vector, position, (rope, x, m) => {
      const pairs = rope.rotaryDim / 2;
      /** Index in the half layout of each channel of the interleaved one. */
      const from = Array.from(
        x,
        (_, i) => i >= rope.rotaryDim ? i : Math.floor(i / 2) + (i % 2) * pairs,
      );
      const interleaved = rotate(from.map((i) => x[i]!), m, { ...rope, layout: "interleaved" });
      const half = rotate(x, m, { ...rope, layout: "half" });
      assert.deepEqual([...interleaved], from.map((i) => half[i]!));
    }),
    { seed: 3 },
  );
});

Deno.test("rotate adds the position offset, and is a complex multiplication by hand", () => {
  const rope: RopeParameters = { layout: "half", theta: 100, positionOffset: 2 };
  const rotated = rotate([1, 2, 3, 4], 3, rope);
  const angles = [5, 5 * 100 ** -0.5];
  const expected = [
    Math.cos(angles[0]!) - 3 * Math.sin(angles[0]!),
    2 * Math.cos(angles[1]!) - 4 * Math.sin(angles[1]!),
    3 * Math.cos(angles[0]!) + Math.sin(angles[0]!),
    4 * Math.cos(angles[1]!) + 2 * Math.sin(angles[1]!),
  ];
  expected.forEach((value, i) => near(rotated[i]!, value));
});

Deno.test("inverseFrequencies uses explicit frequencies in place of theta", () => {
  const rope: RopeParameters = {
    layout: "half",
    theta: 1,
    rotaryDim: 4,
    inverseFrequencies: [0.5, 0.25],
  };
  assert.deepEqual([...inverseFrequencies(rope, 8)], [0.5, 0.25]);
  assert.deepEqual([...inverseFrequencies({ layout: "half", theta: 16 }, 4)], [1, 0.25]);
});

/** Sections as transformers' modelling code picks angles: of a list of all pairs' at each position. */
const MODELLING: readonly {
  readonly pairs: readonly number[];
  readonly interleaved: boolean;
  readonly angles: (at: readonly (readonly number[])[], pairs: readonly number[]) => number[];
}[] = [
  {
    // apply_multimodal_rotary_pos_emb of Qwen2-VL, for the first half of the channels.
    pairs: [16, 24, 24],
    interleaved: false,
    angles: (at, pairs) => {
      const ends = pairs.map((_, i) => pairs.slice(0, i + 1).reduce((a, b) => a + b));
      return ends.flatMap((end, i) => at[i]!.slice(end - pairs[i]!, end));
    },
  },
  ...[[24, 20, 20], [11, 11, 10]].map((pairs) => ({
    // apply_interleaved_mrope of Qwen3-VL.
    pairs,
    interleaved: true,
    angles: (at: readonly (readonly number[])[]) => {
      const angles = [...at[0]!];
      for (const i of [1, 2]) {
        for (let pair = i; pair < 3 * pairs[i]!; pair += 3) angles[pair] = at[i]![pair]!;
      }
      return angles;
    },
  })),
];

for (const { pairs, interleaved, angles } of MODELLING) {
  Deno.test(`rotate turns sections of ${pairs}${interleaved ? ", interleaved," : ""} as the modelling code does`, () => {
    const count = pairs.reduce((a, b) => a + b);
    const headDim = 2 * count;
    const sections = mropeSections(pairs, { interleaved });
    const rope: RopeParameters = { layout: "half", theta: 1e6, sections };
    const positions = [5, 31, 12];
    const frequencies = [...inverseFrequencies(rope, headDim)];
    const wanted = angles(
      positions.map((position) => frequencies.map((frequency) => position * frequency)),
      pairs,
    );
    const rotated = rotate(new Array(headDim).fill(1), positions, rope);
    wanted.forEach((angle, pair) => {
      near(rotated[pair]!, Math.cos(angle) - Math.sin(angle));
      near(rotated[pair + count]!, Math.cos(angle) + Math.sin(angle));
    });
    assert.deepEqual(
      rotate(new Array(headDim).fill(1), 7, rope),
      rotate(new Array(headDim).fill(1), [7, 7, 7], rope),
    );
  });
}

Deno.test("inverseFrequencies refuses parameters that name no rotation", () => {
  const refused: Partial<RopeParameters>[] = [
    { rotaryDim: 3 },
    { rotaryDim: 0 },
    { rotaryDim: 10 },
    { theta: 0 },
    { theta: Infinity },
    { positionOffset: NaN },
    { inverseFrequencies: [1] },
    { inverseFrequencies: [1, 1, 1, NaN] },
    { sections: [0, 1, 2] },
    { sections: [0, 1, 2, 3] },
  ];
  for (const parameters of refused) {
    assert.throws(
      () => inverseFrequencies({ layout: "half", theta: 10000, ...parameters }, HEAD_DIM),
      (error) => error instanceof CoupletError && error.code === "shape",
      JSON.stringify(parameters),
    );
  }
});
