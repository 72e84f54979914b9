import assert from "node:assert/strict";
import {
  fromFloat8E4M3,
  fromFloat8E5M3,
  toFloat8E4M3,
  toFloat8E5M3,
} from "../../src/base/float8.ts";

/** A number and the nearest one with eight bits. */
const E4M3: readonly [value: number, nearest: number][] = [
  [0, 0],
  [1, 1],
  [-1, -1],
  [1.06, 1],
  [1.07, 1.125],
  [-17.1, -18],
  [480, 480],
  [1e4, 480],
  [-1e9, -480],
  [2 ** -9, 2 ** -9],
  [2 ** -11, 0],
];

/** The same without a sign, for one more bit of exponent. */
const E5M3: readonly [value: number, nearest: number][] = [
  [0, 0],
  [1, 1],
  [1.06, 1],
  [1.07, 1.125],
  [3e-5, 2 ** -15],
  [61440, 61440],
  [65504, 61440],
];

for (
  const [name, cases, to, from] of [
    ["E4M3", E4M3, toFloat8E4M3, fromFloat8E4M3],
    ["E5M3", E5M3, toFloat8E5M3, fromFloat8E5M3],
  ] as const
) {
  Deno.test(`toFloat8${name}() takes the nearest number, and the largest where there is none`, () => {
    for (const [value, nearest] of cases) assert.equal(from(to(value)), nearest, `${value}`);
  });

  Deno.test(`fromFloat8${name}() is undone by toFloat8${name}(), for every byte that is used`, () => {
    for (let bits = 0; bits < (name === "E4M3" ? 256 : 248); bits++) {
      if (bits === 0x80 && name === "E4M3") continue; // minus zero
      assert.equal(to(from(bits)), bits);
    }
  });
}
