import assert from "node:assert/strict";
import fc from "fast-check";
import { nearestBinary16 } from "../../src/reference/binary16.ts";

/** The runtime's own rounding. */
function native(value: number): number {
  return Float16Array.of(value)[0]!;
}

Deno.test("nearestBinary16 agrees with Float16Array at every number, midpoint and overflow", () => {
  const numbers = new Float16Array(Uint16Array.from({ length: 0x7c01 }, (_, bits) => bits).buffer);
  for (let bits = 0; bits < 0x7c00; bits++) {
    const middle = (numbers[bits]! + Math.min(numbers[bits + 1]!, 65536)) / 2;
    for (const near of [numbers[bits]!, middle * (1 - 2 ** -40), middle, middle * (1 + 2 ** -40)]) {
      for (const value of [near, -near]) {
        const found = nearestBinary16(value);
        if (!Object.is(found, native(value))) assert.fail(`${value} gives ${found}`);
      }
    }
  }
  assert.ok(Number.isNaN(nearestBinary16(NaN)));
  assert.equal(nearestBinary16(-Infinity), -Infinity);
});

Deno.test("nearestBinary16 agrees with Float16Array on any number", () => {
  fc.assert(
    fc.property(
      fc.double({ noNaN: true }),
      fc.integer({ min: -30, max: 20 }),
      (value, exponent) => {
        for (const number of [value, (value % 1) * 2 ** exponent]) {
          assert.ok(Object.is(nearestBinary16(number), native(number)), `${number}`);
        }
      },
    ),
    { seed: 1, numRuns: 2000 },
  );
});
