import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import { type EvalArguments, parseArguments } from "../../../examples/eval/arguments.ts";

function argumentsOf(args: string): EvalArguments {
  const parsed = parseArguments(args.split(" ").filter((word) => word !== ""));
  assert.ok("options" in parsed);
  return parsed.options;
}

Deno.test("parseArguments of the evaluation: the default is three schemes, alone and with a window", () => {
  const { schemes, windows, sinks, weights, spaces, sweep } = argumentsOf("");
  assert.deepEqual(schemes.map(({ name }) => name), ["c2b8", "c4b8", "c8b8"]);
  assert.deepEqual([windows, sinks], [[0, 64], [0, 4]]);
  assert.deepEqual(weights, ["fisher"]);
  assert.equal(spaces, undefined);
  assert.equal(sweep, false);
});

Deno.test("parseArguments of the evaluation reads lists", () => {
  const options = argumentsOf(
    "--schemes f16,c8b8/c4b8 --windows 0,32,64 --sinks 4 --weights none,query --sweep " +
      "--spaces as-scored --distances 16,24 --sequences 4 --policy a.json b.json",
  );
  assert.deepEqual(options.schemes, [
    { name: "c8b8/c4b8", policy: { keys: "c8b8", values: "c4b8" } },
  ]);
  assert.deepEqual(options.windows, [0, 32, 64]);
  assert.deepEqual(options.sinks, [4]);
  assert.deepEqual(options.weights, ["none", "query"]);
  assert.deepEqual(options.spaces, ["as-scored"]);
  assert.deepEqual(options.distances, [16, 24]);
  assert.deepEqual(options.sequences, [4]);
  assert.deepEqual(options.policy, ["a.json", "b.json"]);
});

Deno.test("parseArguments of the evaluation: every token coded is instead of the default tiers, beside given ones", () => {
  for (
    const [args, windows, sinks] of [
      ["--all-coded", [], []],
      ["--all-coded --windows 0", [0], [0, 4]],
      ["--all-coded --sinks 4", [0, 64], [4]],
      ["", [0, 64], [0, 4]],
    ] as const
  ) {
    const options = argumentsOf(args);
    assert.equal(options.allCoded, args !== "");
    assert.deepEqual([options.windows, options.sinks], [windows, sinks], args);
  }
});

Deno.test("parseArguments of the evaluation: a policy stands alone unless schemes are named, too", () => {
  assert.deepEqual(argumentsOf("--policy a.json").schemes, []);
  assert.equal(argumentsOf("--policy a.json --schemes c8b8").schemes.length, 1);
});

for (
  const [args, code, words] of [
    ["--schemes c5b8", "scheme", /c5b8/],
    ["--schemes c4b8/", "usage", /pair/],
    ["--windows 0,-1", "usage", /--windows.*integer from 0/],
    ["--windows 64,", "usage", /--windows.*integer from 0/],
    ["--sinks x", "usage", /--sinks/],
    ["--weights heavy", "usage", /--weights.*none, query, fisher/],
    ["--spaces rope", "usage", /--spaces.*pre-rope, as-scored/],
    ["--sequences 1,0", "usage", /--sequences.*integer from 1/],
    ["--distances 0", "usage", /--distances.*integer from 1/],
    ["--tokens 100", "usage", /--tokens 100 is less than one context of 512/],
    ["--sweeps", "usage", /--sweeps/],
    ["surplus", "usage", /argument/],
  ] as const
) {
  Deno.test(`parseArguments of the evaluation refuses ${args}`, () => {
    assert.throws(
      () => argumentsOf(args),
      (error) =>
        error instanceof CoupletError && error.code === code && words.test(error.message) &&
        error.parts.remedy.length > 0,
    );
  });
}

Deno.test("parseArguments of the evaluation gives the help text that is asked for", () => {
  const parsed = parseArguments(["--help"]);
  assert.ok("help" in parsed);
  assert.match(parsed.help, /--sweep/);
});
