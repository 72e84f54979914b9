import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import { findRecipe } from "../../../cli/recipes.ts";
import { parseArguments } from "../../../examples/calibrate/arguments.ts";

Deno.test("calibrate's parseArguments fills in defaults", () => {
  const parsed = parseArguments(["--schemes", "c4b8/c8b8", "--out", "o"]);
  assert.ok("options" in parsed);
  const { model, schemes, ...options } = parsed.options;
  assert.match(model, /tiny-llama$/);
  assert.deepEqual(schemes.map(({ id }) => id), ["f16", "c4b8/c8b8"]);
  assert.deepEqual(options, {
    weights: "fisher",
    space: "pre-rope",
    tokens: 12288,
    context: 512,
    seed: 1,
    shareHeads: false,
    out: "o",
  });
});

Deno.test("calibrate's parseArguments takes twice the tokens where centroids are added", () => {
  for (
    const [args, tokens] of [
      ["--schemes c8b8", 12288],
      ["--schemes c8b8/n16b8x2", 24576],
      ["--schemes c8b8,n8b8x2", 24576],
      ["--schemes n16b8x2 --tokens 600", 600],
      ["--recipe small --length 65536", 24576],
    ] as const
  ) {
    const parsed = parseArguments([...args.split(" "), "--out", "o"]);
    assert.ok("options" in parsed);
    assert.equal(parsed.options.tokens, tokens, args);
  }
});

Deno.test("calibrate's parseArguments takes everything that a recipe says", () => {
  const parsed = parseArguments("--recipe small --length 65536 --out o".split(" "));
  assert.ok("options" in parsed);
  const { schemes, weights, space, shareHeads, recipe } = parsed.options;
  const { keys, values, ...chosen } = findRecipe("small", 65536);
  assert.deepEqual(schemes.slice(1).map((pair) => [pair.keys, pair.values]), [[keys, values]]);
  assert.equal(weights, chosen.fisher ? "fisher" : "none");
  assert.deepEqual([space, shareHeads, recipe!.tokens], [
    chosen.space,
    chosen.shareHeads,
    chosen.tokens,
  ]);
});

for (
  const [args, code] of [
    ["--out o", "usage"],
    ["--schemes c4b8", "usage"],
    ["--schemes c4b8x --out o", "scheme"],
    ["--schemes c4b8 --out o --space rotated", "usage"],
    ["--schemes c4b8 --out o --tokens 0", "usage"],
    ["--recipe tiny --out o", "usage"],
    ["--recipe best --schemes c4b8 --out o", "usage"],
    ["--recipe best --weights none --out o", "usage"],
    ["--recipe best --length 0 --out o", "usage"],
  ] as const
) {
  Deno.test(`calibrate's parseArguments refuses ${args}`, () => {
    assert.throws(
      () => parseArguments(args.split(" ")),
      (error) => error instanceof CoupletError && error.code === code,
    );
  });
}
