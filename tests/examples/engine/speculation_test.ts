import assert from "node:assert/strict";
import fc from "fast-check";
import { acceptedTokens, draftTokens } from "../../../examples/engine/speculation.ts";

for (
  const [name, text, count, draft] of [
    ["follows the latest occurrence", [1, 2, 3, 9, 1, 2, 4, 9, 1, 2], 3, [4, 9, 1]],
    ["prefers a longer match to a later one", [5, 1, 2, 3, 8, 2, 3, 7, 1, 2, 3], 1, [8]],
    ["takes two tokens where three are new", [5, 1, 2, 6, 2, 8, 1, 2], 2, [6, 2]],
    ["takes one token where two are new", [5, 2, 6, 1, 2], 2, [6, 1]],
    ["goes round where the text repeats itself", [7, 1, 2, 1, 2], 5, [1, 2, 1, 2, 1]],
    ["repeats a repeated token", [4, 4], 3, [4, 4, 4]],
    ["is empty where the last token is new", [1, 2, 3], 4, []],
    ["is empty for a text of one token", [1], 4, []],
    ["is empty for an empty text", [], 4, []],
    ["is empty where none is wanted", [1, 1, 1], 0, []],
  ] as const
) {
  Deno.test(`draftTokens ${name}`, () => {
    assert.deepEqual(draftTokens(text, count), draft);
  });
}

Deno.test("draftTokens continues any text of a period as it goes on", () => {
  const period = fc.uniqueArray(fc.nat(99), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(period, fc.nat(20), fc.nat(20), (cycle, more, count) => {
      const at = (i: number) => cycle[i % cycle.length]!;
      const length = cycle.length + 1 + more;
      assert.deepEqual(
        draftTokens(Array.from({ length }, (_, i) => at(i)), count),
        Array.from({ length: count }, (_, i) => at(length + i)),
      );
    }),
    { seed: 1 },
  );
});

for (
  const [draft, likeliest, accepted] of [
    [[], [5], 0],
    [[1, 2, 3], [1, 2, 3, 4], 3],
    [[1, 2, 3], [1, 9, 3, 4], 1],
    [[1, 2, 3], [9, 2, 3, 4], 0],
    [[1, 2, 3], [1, 2, 9, 4], 2],
  ] as const
) {
  Deno.test(`acceptedTokens keeps ${accepted} of [${draft}] where [${likeliest}] are likeliest`, () => {
    assert.equal(acceptedTokens(draft, likeliest), accepted);
  });
}
