import assert from "node:assert/strict";
import fc from "fast-check";
import { printable, printableLine } from "../../cli/printable.ts";
import { formatTable } from "../../cli/table.ts";

/** Text, and what a terminal gets of it. */
const TEXTS: readonly (readonly [text: string, printed: string])[] = [
  ["plain, käse, 模型, 👨‍👩‍👧, نص", "plain, käse, 模型, 👨‍👩‍👧, نص"],
  ["a line\n\tanother", "a line\n\tanother"],
  ["\x1b[2J", "\\u001b[2J"],
  ["\x1b]0;title\x07", "\\u001b]0;title\\u0007"],
  ["\x1b]52;c;aGk=\x1b\\", "\\u001b]52;c;aGk=\\u001b\\"],
  ["\x9b31m", "\\u009b31m"],
  ["\x90payload\x9c", "\\u0090payload\\u009c"],
  ["100 %\rdone", "100 %\\u000ddone"],
  ["a\b\x7fb", "a\\u0008\\u007fb"],
  ["\0\v\f", "\\u0000\\u000b\\u000c"],
  ["\u202egnp.exe", "\\u202egnp.exe"],
  ["\u2066a\u2069", "\\u2066a\\u2069"],
  ["a\u2028b\u2029c", "a\\u2028b\\u2029c"],
  ["\ud800 alone", "\\ud800 alone"],
];

for (const [text, printed] of TEXTS) {
  Deno.test(`printable() gives ${JSON.stringify(printed)}`, () => {
    assert.equal(printable(text), printed);
    assert.equal(printable(printed), printed);
  });
}

Deno.test("printable() leaves JSON the same JSON, and nothing that commands a terminal", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "binary" })), (texts) => {
      const json = printable(JSON.stringify(texts, null, 2));
      assert.deepEqual(JSON.parse(json), texts);
      assert.doesNotMatch(json, /(?!\n)[\p{Cc}\u2028-\u202e\u2066-\u2069]/u);
    }),
    { seed: 1, numRuns: 300 },
  );
});

Deno.test("printableLine() and formatTable() keep a text in its line", () => {
  assert.equal(printableLine("a\n\tb\x1b"), "a\\u000a\\u0009b\\u001b");
  const table = formatTable([["name", "a\nexit 0  forged"], ["tokens", "7"]], { width: 80 });
  assert.deepEqual(table.split("\n"), ["name    a\\u000aexit 0  forged", "tokens  7"]);
});
