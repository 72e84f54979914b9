import { deepStrictEqual, ok, throws } from "node:assert/strict";
import { type QueryEnergyOptions, queryScale } from "../../src/calibrate/query_energy.ts";
import { seededRandom } from "../../src/base/random.ts";
import { rotate } from "../../src/model/rope.ts";
import type { RopeParameters } from "../../mod.ts";
import { normal } from "../helpers/normal.ts";

const SHAPE = { queryHeads: 6, keyValueHeads: 2, headDim: 8 };
const LENGTHS = [9, 1, 14];
const TOKENS = 24;

function someQueries(): Float32Array {
  const random = seededRandom("queries");
  return Float32Array.from(
    { length: TOKENS * 48 },
    (_, i) => normal(random) * (1 + i % 5) + (i % 8 === 2 ? 3 : 0),
  );
}

/** `diag E[R_p^T q_t q_t^T R_p]` as it is defined: pair by pair, with whole matrices. */
function bruteForce(
  { queries, rope }: { queries: Float32Array; rope: RopeParameters | undefined },
): number[] {
  const { queryHeads, keyValueHeads, headDim } = SHAPE;
  const energy = new Float64Array(keyValueHeads * headDim);
  const turn = (vector: ArrayLike<number>, position: number) =>
    rope === undefined ? vector : rotate(vector, position, rope);
  let first = 0;
  for (const length of LENGTHS) {
    for (let head = 0; head < queryHeads; head++) {
      for (let t = 0; t < length; t++) {
        const at = ((first + t) * queryHeads + head) * headDim;
        const query = turn(queries.subarray(at, at + headDim), t);
        for (let p = 0; p <= t; p++) {
          for (let channel = 0; channel < headDim; channel++) {
            // What one unit of error in this channel of the key does to the score.
            const error = new Float64Array(headDim);
            error[channel] = 1;
            const score = Array.from(turn(error, p)).reduce((sum, e, i) => sum + e * query[i]!, 0);
            energy[Math.floor(head / 3) * headDim + channel]! += score * score;
          }
        }
      }
    }
    first += length;
  }
  return Array.from(energy, (one, i) => {
    const head = energy.subarray(i - i % headDim, i - i % headDim + headDim);
    return Math.sqrt(one / (head.reduce((sum, e) => sum + e, 0) / headDim));
  });
}

const ROPES: Record<string, RopeParameters | undefined> = {
  "keys before the rotary embedding": { layout: "half", theta: 100 },
  "interleaved pairs": { layout: "interleaved", theta: 100 },
  "a part of the channels rotated": { layout: "half", theta: 100, rotaryDim: 4 },
  "explicit frequencies and an offset": {
    layout: "half",
    theta: 1,
    inverseFrequencies: [1, 0.5, 0.1, 0],
    positionOffset: 7,
  },
  "keys as they are scored": undefined,
};

for (const [name, rope] of Object.entries(ROPES)) {
  Deno.test(`queryScale equals its definition, pair by pair, for ${name}`, () => {
    const queries = someQueries();
    const scale = queryScale({ ...SHAPE, queries, lengths: LENGTHS, ...(rope ? { rope } : {}) });
    const wanted = bruteForce({ queries, rope });
    scale.forEach((one, i) => ok(Math.abs(one - wanted[i]!) < 1e-5 * wanted[i]!, `channel ${i}`));
  });
}

Deno.test("queryScale does not depend on the queries' unit", () => {
  const queries = someQueries();
  deepStrictEqual(
    queryScale({ ...SHAPE, queries: queries.map((x) => x * 4) }),
    queryScale({ ...SHAPE, queries }),
  );
});

Deno.test("queryScale is positive for channels and heads that no query uses", () => {
  const queries = someQueries().map((x, i) => i % 8 === 5 || i % 48 < 24 ? 0 : x);
  const scale = queryScale({ ...SHAPE, queries });
  deepStrictEqual(scale.subarray(0, 8), new Float32Array(8).fill(1));
  ok(scale.every((one) => one > 0));
  ok(scale[13]! < 0.01);
});

const BAD: [string, Partial<QueryEnergyOptions>, string][] = [
  ["queries that do not divide", { queries: new Float32Array(47) }, "shape"],
  ["lengths of other sequences", { lengths: [9, 1, 13] }, "shape"],
  ["a length that is no number", { lengths: [9.5, 14.5] }, "shape"],
  ["heads that do not divide", { keyValueHeads: 4 }, "shape"],
  ["no heads", { keyValueHeads: 0 }, "shape"],
  ["a rotary dimension that is odd", { rope: { layout: "half", theta: 1, rotaryDim: 3 } }, "shape"],
  ["a NaN", { queries: new Float32Array(48).fill(NaN), lengths: [1] }, "samples"],
  ["queries that are all zero", { queries: new Float32Array(48), lengths: [1] }, "samples"],
  ["no queries", { queries: new Float32Array(0), lengths: [] }, "samples"],
];

for (const [name, options, code] of BAD) {
  Deno.test(`queryScale refuses ${name}`, () => {
    throws(
      () => queryScale({ ...SHAPE, queries: someQueries(), lengths: LENGTHS, ...options }),
      { code },
    );
  });
}
