import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const DEMO = fileURLToPath(new URL("../../../examples/demo/main.ts", import.meta.url));
/** A file of fewer than 512 tokens. */
const SHORT_TEXT = fileURLToPath(new URL("../../fixtures/tiny-llama/config.json", import.meta.url));

/** Runs the demo as a person would, but for the launcher, in whose environment the tests run. */
async function runDemo(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", DEMO, ...args],
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

Deno.test("demo evaluates schemes on other texts and writes the figures it shows", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const json = `${folder}/figures.json`;
    const text = `${folder}/text.txt`;
    await Deno.writeTextFile(
      text,
      "It was the best of times, it was the worst of times. ".repeat(40),
    );
    const { code, output, errors } = await runDemo(
      ..."--schemes c1b1,c4b4/c1b1 --tokens 128 --context 64 --calibration-tokens 128".split(" "),
      ..."--window 16 --sinks 1 --generate 3".split(" "),
      ...["--text", text, "--json", json],
    );
    assert.equal(code, 0, errors);
    assert.match(output, /adapter: {5}\S/);
    assert.match(errors, /evaluate/);
    const figures = JSON.parse(await Deno.readTextFile(json));
    assert.ok(figures.adapter.name.length > 0);
    assert.deepEqual(
      figures.rows.map(({ pair }: { pair: { id: string } }) => pair.id),
      ["f16", "c1b1", "c4b4/c1b1"],
    );
    const [f16, coded] = figures.rows;
    assert.equal(f16.codesAlone.perplexityChange, 0);
    assert.equal(f16.codesAlone.agreement, 1);
    // The exact tiers take another way through the kernels: what is left is their rounding.
    assert.ok(Math.abs(f16.withTiers.divergence) < 1e-5);
    assert.equal(coded.codesAlone.tokens, 2 * 63);
    assert.ok(coded.codesAlone.divergence > coded.withTiers.divergence);
    assert.ok(coded.withTiers.divergence > 0);
    assert.deepEqual(
      coded.memory.extrapolated.map(({ tokens }: { tokens: number }) => tokens),
      [4096, 32768],
    );
    for (const { pair, codesAlone, attention, memory } of figures.rows) {
      assert.ok(attention.milliseconds > 0);
      assert.ok(memory.extrapolated[1].effectiveBits < memory.extrapolated[0].effectiveBits);
      assert.ok(memory.extrapolated[1].effectiveBits > pair.bits);
      const line = output.split("\n").find((line) => line.startsWith(`${pair.id} `));
      assert.ok(line?.includes(codesAlone.perplexity.toFixed(2)), `${line}`);
    }
    assert.equal(figures.written.pair, "c4b4/c1b1");
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

for (
  const [args, exitCode, words] of [
    ["--text no/such.txt", 1, /Cannot read the text no\/such\.txt/],
    ["--calibration no/such.txt", 1, /Cannot read the text no\/such\.txt/],
    ["--model no/such", 1, /no\/such/],
    ["--json no/such/figures.json", 1, /no folder no\/such/],
    ["--schemes c5b8", 1, /c5b8/],
    ["--context 4096 --tokens 4096", 2, /made for 512 tokens/],
    ["--weights heavy", 2, /fisher\+query/],
    ["--window -1", 2, /integer from 0/],
    [`--text ${SHORT_TEXT}`, 1, /one context takes \d+/],
  ] as const
) {
  Deno.test(`demo refuses ${args.replace(SHORT_TEXT, "(a short text)")} before work starts`, async () => {
    const { code, output, errors } = await runDemo(...args.split(" "));
    assert.equal(code, exitCode);
    assert.match(errors, words);
    assert.doesNotMatch(errors, /\bat .*\.ts:/, "a sentence, no stack");
    assert.equal(output, "");
  });
}
