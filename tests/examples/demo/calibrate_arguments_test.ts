import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
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
    out: "o",
  });
});

for (
  const [args, code] of [
    ["--out o", "usage"],
    ["--schemes c4b8", "usage"],
    ["--schemes c4b8x --out o", "scheme"],
    ["--schemes c4b8 --out o --space rotated", "usage"],
    ["--schemes c4b8 --out o --tokens 0", "usage"],
  ] as const
) {
  Deno.test(`calibrate's parseArguments refuses ${args}`, () => {
    assert.throws(
      () => parseArguments(args.split(" ")),
      (error) => error instanceof CoupletError && error.code === code,
    );
  });
}
