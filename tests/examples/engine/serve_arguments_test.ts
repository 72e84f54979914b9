import assert from "node:assert/strict";
import fc from "fast-check";
import { CoupletError, planCache } from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { parseServeArguments } from "../../../examples/engine/serve_arguments.ts";
import { serveCapacity } from "../../../examples/engine/serve_capacity.ts";
import { Sequences, type StepEntry } from "../../../src/cache/sequences.ts";

Deno.test("parseServeArguments fills in defaults", () => {
  const parsed = parseServeArguments(["one", "and two"]);
  assert.ok("options" in parsed);
  const { model, ...options } = parsed.options;
  assert.match(model, /tiny-llama$/);
  assert.deepEqual(options, {
    prompts: ["one", "and two"],
    draft: 4,
    tokens: 64,
    keys: "f16",
    values: "f16",
    calibrationTokens: 8192,
    window: 64,
    sinks: 4,
    seed: 1,
  });
});

Deno.test("parseServeArguments reads every option", () => {
  const parsed = parseServeArguments(
    "--model m --prefix @p --store s --draft 0 --tokens 3 --keys c8b8 --values c4b8 --codebooks b \
--calibration c --calibration-tokens 7 --window 0 --sinks 0 --seed 9 --explain one".split(" "),
  );
  assert.deepEqual(parsed, {
    options: {
      prompts: ["one"],
      model: "m",
      prefix: "@p",
      store: "s",
      draft: 0,
      tokens: 3,
      keys: "c8b8",
      values: "c4b8",
      codebooks: "b",
      calibration: "c",
      calibrationTokens: 7,
      window: 0,
      sinks: 0,
      seed: 9,
      explain: true,
    },
  });
});

Deno.test("parseServeArguments gives help", () => {
  const parsed = parseServeArguments(["--help"]);
  assert.ok("help" in parsed && parsed.help.includes("--prefix"));
});

for (
  const [argv, code, message] of [
    [[], "usage", /prompts/],
    [["one", ""], "usage", /empty/],
    [["--prefix", "", "one"], "usage", /empty/],
    [["--store", "s", "one"], "usage", /--store.*no --prefix/],
    [["--draft", "-1", "one"], "usage", /--draft.*integer from 0/],
    [["--tokens", "0", "one"], "usage", /--tokens.*integer from 1/],
    [["--keys", "c8b8", "one"], "usage", /c8b8 needs codebooks/],
    [["--values", "c9z", "one"], "scheme", /c9z/],
    [["--nonsense", "one"], "usage", /--nonsense/],
  ] as const
) {
  Deno.test(`parseServeArguments refuses ${JSON.stringify(argv)}`, () => {
    assert.throws(
      () => parseServeArguments(argv),
      (error) =>
        error instanceof CoupletError && error.code === code && message.test(error.message),
    );
  });
}

Deno.test("serveCapacity suffices for any prompts, drafts rolled back included", () => {
  const sizes = fc.record({
    prefixTokens: fc.nat(200),
    promptTokens: fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 5 }),
    tokens: fc.integer({ min: 1, max: 140 }),
    draftTokens: fc.nat(8),
  });
  const tiers = fc.record({ sinks: fc.nat(4), window: fc.constantFrom(0, 1, 64) });
  fc.assert(
    fc.property(sizes, tiers, (sizes, tiers) => {
      const { prefixTokens, promptTokens, tokens, draftTokens } = sizes;
      const { options } = planCache({
        shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 64 },
        policy: { keys: "f16", values: "f16" },
        keys: { space: "as-scored" },
        tiers,
        capacity: serveCapacity(sizes),
        kernels: manifest,
      });
      const { stepTokens, appendTokens } = options.capacity;
      assert.ok(stepTokens >= promptTokens.length * (draftTokens + 1));
      // As serve() checks it.
      assert.ok(Math.min(draftTokens, tokens - 2) < appendTokens);
      const sequences = new Sequences(options);
      const step = (entries: readonly StepEntry[]) => {
        const growths = sequences.grow(entries);
        growths[0]!.progress.append(0);
        for (const growth of growths) {
          sequences.store(growth);
          sequences.complete(growth);
        }
      };
      const grow = (sequence: ReturnType<typeof sequences.create>, by: number) => {
        for (let left = by; left > 0; left -= appendTokens) {
          step([{ sequence, tokens: Math.min(left, appendTokens, stepTokens) }]);
        }
      };
      const prefix = prefixTokens > 0 ? sequences.create() : undefined;
      if (prefix !== undefined) grow(prefix, prefixTokens);
      const all = promptTokens.map(() => prefix ? sequences.fork(prefix) : sequences.create());
      all.forEach((sequence, i) => grow(sequence, promptTokens[i]!));
      // No draft is ever accepted: one token stays of each pass, and pages are taken and given back most often.
      for (let left = tokens - 1; left > 0; left--) {
        const draft = Math.min(draftTokens, left - 1);
        step(all.map((sequence) => ({ sequence, tokens: 1 + draft })));
        for (const sequence of all) {
          sequences.truncate(sequence, sequences.state(sequence).length - draft);
        }
      }
    }),
    { seed: 1, numRuns: 200 },
  );
});
