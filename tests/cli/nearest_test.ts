import assert from "node:assert/strict";
import { nearestNames, nearestText } from "../../cli/nearest.ts";

const NAMES = ["c4b8", "c8b8", "u8b8", "attend_c8b8_d128"];

/** Unknown names, and what a sentence says of those that are nearest. */
const UNKNOWN: readonly (readonly [wanted: string, text: string])[] = [
  ["c8b9", "; the nearest are c8b8, c4b8, u8b8"],
  ["c8b8_d128", "; the nearest is attend_c8b8_d128"],
  ["", ""],
  ["nothing like it", ""],
  ["zzzz", ""],
];

for (const [wanted, text] of UNKNOWN) {
  Deno.test(`nearestText() of "${wanted}" is "${text}"`, () => {
    assert.equal(nearestText(wanted, NAMES), text);
  });
}

Deno.test("nearestNames() and nearestText() compare no more of a name than names have", () => {
  const long = "c8b8".padEnd(1e7, "x");
  assert.deepEqual(nearestNames(long, NAMES, 1), ["c8b8"]);
  assert.equal(nearestText(long, NAMES), "");
});
