import { deepStrictEqual, strictEqual } from "node:assert/strict";
import fc from "fast-check";
import {
  fromFloat16Array,
  fromFloat16Bits,
  roundToFloat16,
  toFloat16Array,
  toFloat16Bits,
} from "../../src/base/float16.ts";

/** The runtime's own rounding of a binary32 value, as the library's input is. */
function nativeBits(value: number): number {
  return new Uint16Array(Float16Array.of(Math.fround(value)).buffer)[0]!;
}

function isNan(bits: number): boolean {
  return (bits & 0x7c00) === 0x7c00 && (bits & 0x3ff) !== 0;
}

Deno.test("fromFloat16Bits agrees with Float16Array on every word", () => {
  const words = Uint16Array.from({ length: 65536 }, (_, bits) => bits);
  const values = fromFloat16Array(words);
  // Not deepStrictEqual, which compares the bits of NaNs.
  new Float16Array(words.buffer).forEach((native, bits) => {
    if (!Object.is(values[bits], native)) strictEqual(values[bits], native, `word ${bits}`);
  });
});

Deno.test("toFloat16Bits gives back every word, and a NaN for a NaN", () => {
  for (let bits = 0; bits < 65536; bits++) {
    const back = toFloat16Bits(fromFloat16Bits(bits));
    if (isNan(bits)) strictEqual(isNan(back), true);
    else strictEqual(back, bits);
  }
});

Deno.test("toFloat16Bits rounds to nearest even at every midpoint and beside it", () => {
  const value = new Float32Array(1);
  const word = new Uint32Array(value.buffer);
  for (let bits = 0; bits < 0x7c00; bits++) {
    // The step above the largest finite value rounds to infinity, as if 65536 were representable.
    const next = bits === 0x7bff ? 65536 : fromFloat16Bits(bits + 1);
    value[0] = (fromFloat16Bits(bits) + next) / 2;
    const middle = word[0]!;
    for (const near of [middle - 1, middle, middle + 1]) {
      word[0] = near;
      for (const signed of [value[0]!, -value[0]!]) {
        if (toFloat16Bits(signed) !== nativeBits(signed)) {
          strictEqual(toFloat16Bits(signed), nativeBits(signed), `${signed}`);
        }
      }
    }
  }
});

Deno.test("toFloat16Bits agrees with Float16Array on any binary32 value", () => {
  fc.assert(
    fc.property(fc.float({ noNaN: true }), (value) => {
      strictEqual(toFloat16Bits(value), nativeBits(value));
    }),
    { seed: 1, numRuns: 5000 },
  );
});

Deno.test("roundToFloat16 is idempotent and keeps the sign of zero", () => {
  strictEqual(Object.is(roundToFloat16(-0), -0), true);
  fc.assert(
    fc.property(fc.float({ noNaN: true }), (value) => {
      const once = roundToFloat16(value);
      strictEqual(roundToFloat16(once), once);
    }),
    { seed: 2 },
  );
});

Deno.test("toFloat16Array converts each value", () => {
  deepStrictEqual(toFloat16Array([1, -2, 65520, 1e-8]), Uint16Array.of(0x3c00, 0xc000, 0x7c00, 0));
});
