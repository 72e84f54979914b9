import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import { type DemoArguments, parseArguments } from "../../../examples/demo/arguments.ts";
import {
  DEFAULT_PAIRS,
  parseSchemePairs,
  sizedPair,
  smallestPair,
} from "../../../examples/demo/scheme_pairs.ts";
import { withWorkload } from "../../../examples/demo/workload.ts";

function argumentsOf(...argv: string[]): DemoArguments {
  const parsed = parseArguments(argv);
  assert.ok("options" in parsed);
  return parsed.options;
}

Deno.test("parseArguments without arguments gives the default run", () => {
  const { pairs, model, ...rest } = argumentsOf();
  assert.deepEqual(pairs.map(({ id }) => id), DEFAULT_PAIRS.split(","));
  assert.ok(Deno.statSync(`${model}/config.json`).isFile);
  assert.deepEqual(rest, {
    weights: "fisher",
    window: 64,
    sinks: 4,
    seed: 1,
  });
});

Deno.test("parseArguments reads every option", () => {
  const { pairs, ...rest } = argumentsOf(
    ..."--model m --text t --calibration c --schemes c4b8,c8b8/c4b8 --tokens 64 --context 32".split(
      " ",
    ),
    ..."--calibration-tokens 99 --weights none --window 0 --sinks 0 --generate 0 --seed 7 --json j"
      .split(" "),
  );
  assert.deepEqual(pairs, [
    { id: "f16", keys: "f16", values: "f16" },
    { id: "c4b8", keys: "c4b8", values: "c4b8" },
    { id: "c8b8/c4b8", keys: "c8b8", values: "c4b8" },
  ]);
  assert.deepEqual(rest, {
    model: "m",
    text: "t",
    calibration: "c",
    tokens: 64,
    context: 32,
    calibrationTokens: 99,
    weights: "none",
    window: 0,
    sinks: 0,
    generate: 0,
    seed: 7,
    json: "j",
  });
});

for (
  const [argv, code, words] of [
    ["--schemes c3b8", "scheme", /c3b8/],
    ["--schemes c4b8/c8b8/c4b8", "usage", /one for keys and one for values/],
    ["--schemes c4b8/", "usage", /pair/],
    ["--schemes ,", "usage", /pair/],
    ["--weights heavy", "usage", /--weights.*heavy.*none, query, fisher, fisher\+query/],
    ["--window -1", "usage", /--window.*-1.*integer from 0/],
    ["--sinks=-4", "usage", /--sinks.*-4.*integer from 0/],
    ["--sinks 1.5", "usage", /--sinks.*1\.5/],
    ["--tokens many", "usage", /--tokens.*many/],
    ["--tokens 100", "usage", /--tokens 100 is less than one context of 512/],
    ["--tokens", "usage", /--tokens/],
    ["--modle x", "usage", /--modle/],
    ["surplus", "usage", /argument/],
  ] as const
) {
  Deno.test(`parseArguments refuses ${argv}`, () => {
    assert.throws(
      () => parseArguments(argv.split(" ")),
      (error) =>
        error instanceof CoupletError && error.code === code && words.test(error.message) &&
        error.parts.remedy.length > 0,
    );
  });
}

Deno.test("parseArguments gives the help text that is asked for", () => {
  const parsed = parseArguments(["--help"]);
  assert.ok("help" in parsed);
  for (
    const option of ["model", "text", "calibration", "schemes", "tokens", "window", "sinks", "json"]
  ) {
    assert.match(parsed.help, new RegExp(`--${option} `));
  }
});

Deno.test("parseSchemePairs puts f16 first and names each pair once", () => {
  const ids = parseSchemePairs("c4b8, c4b8/c4b8 ,c8b8/c4b8,f16").map(({ id }) => id);
  assert.deepEqual(ids, ["f16", "c4b8", "c8b8/c4b8"]);
});

Deno.test("smallestPair takes the fewest bits, then the most coupling", () => {
  const smallest = (list: string) =>
    smallestPair(parseSchemePairs(list).map((pair) => sizedPair(pair, 64)))?.id;
  assert.equal(smallest(DEFAULT_PAIRS), "c8b8");
  assert.equal(smallest("c8b10,c4b8/c1b1"), "c8b10");
  assert.equal(smallest("u8b8,c8b8"), "c8b8");
  assert.equal(smallest("f16"), "f16");
});

Deno.test("withWorkload gives slow adapters less to do, and leaves what was asked for", () => {
  const fast = withWorkload(argumentsOf(), "llvmpipe");
  const slow = withWorkload(argumentsOf(), "swiftshader");
  assert.ok(fast.tokens > slow.tokens && fast.calibrationTokens > slow.calibrationTokens);
  // A codebook of c8b10 takes 1024 samples at least.
  assert.ok(slow.calibrationTokens >= 1024);
  assert.deepEqual(withWorkload(argumentsOf(), "hardware"), fast);
  const asked = argumentsOf(..."--tokens 700 --calibration-tokens 900 --generate 0".split(" "));
  for (const kind of ["llvmpipe", "swiftshader"] as const) {
    assert.deepEqual(withWorkload(asked, kind), { ...asked, context: 512 });
  }
  assert.equal(withWorkload(argumentsOf("--context", "4096"), "swiftshader").tokens, 4096);
});
