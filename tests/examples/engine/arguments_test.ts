import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import { parseArguments } from "../../../examples/engine/arguments.ts";

Deno.test("chat's parseArguments fills in defaults", () => {
  const parsed = parseArguments([]);
  assert.ok("options" in parsed);
  const { model, prompt, ...options } = parsed.options;
  assert.match(model, /tiny-llama$/);
  assert.ok(prompt.length > 0);
  assert.deepEqual(options, {
    tokens: 64,
    keys: "f16",
    values: "f16",
    calibrationTokens: 8192,
    window: 64,
    sinks: 4,
    temperature: 0,
    shift: false,
    seed: 1,
  });
});

Deno.test("chat's parseArguments reads every option", () => {
  const parsed = parseArguments(
    "--model m --prompt p --tokens 3 --keys c8b8 --values c4b8 --codebooks b --calibration c \
--calibration-tokens 7 --window 0 --sinks 0 --temperature 0.5 --shift --seed 9 --explain".split(
      " ",
    ),
  );
  assert.deepEqual(parsed, {
    options: {
      model: "m",
      prompt: "p",
      tokens: 3,
      keys: "c8b8",
      values: "c4b8",
      codebooks: "b",
      calibration: "c",
      calibrationTokens: 7,
      window: 0,
      sinks: 0,
      temperature: 0.5,
      shift: true,
      seed: 9,
      explain: true,
    },
  });
});

Deno.test("chat's parseArguments gives help", () => {
  const parsed = parseArguments(["--help"]);
  assert.ok("help" in parsed && parsed.help.includes("--codebooks"));
});

for (
  const [argv, code, message] of [
    ["--tokens -1", "usage", /--tokens.*integer from 0/],
    ["--tokens 1e3", "usage", /integer/],
    ["--window x", "usage", /--window/],
    ["--temperature NaN", "usage", /--temperature/],
    ["--calibration-tokens 0", "usage", /integer from 1/],
    ["--keys c8b8", "usage", /c8b8 needs codebooks/],
    ["--values c9z", "scheme", /c9z/],
    ["--nonsense", "usage", /--nonsense/],
    ["stray", "usage", /argument/],
  ] as const
) {
  Deno.test(`chat's parseArguments refuses ${argv}`, () => {
    assert.throws(
      () => parseArguments(argv.split(" ")),
      (error) =>
        error instanceof CoupletError && error.code === code && message.test(error.message),
    );
  });
}
