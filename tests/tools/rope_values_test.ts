/** tests/fixtures/rope_values.json is what tools/python/rope_values.py writes, where there is a Python. */
import assert from "node:assert/strict";
import written from "../fixtures/rope_values.json" with { type: "json" };

const PYTHON = Deno.env.get("PYTHON") ?? "python3";

/** What the script writes; undefined where there is no Python. */
async function run(): Promise<typeof written | undefined> {
  try {
    const { stdout } = await new Deno.Command(PYTHON, {
      args: ["tools/python/rope_values.py"],
      stderr: "inherit",
    }).output();
    return JSON.parse(new TextDecoder().decode(stdout));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

const values = await run();

Deno.test({
  name: "the fixture of rotary frequencies is what its script writes",
  ignore: values === undefined,
  fn: () => {
    const near = (a: number, b: number) => Math.abs(a - b) <= 1e-12 * Math.abs(b);
    assert.equal(values!.length, written.length);
    for (const [i, { frequencies, attentionFactor, ...row }] of values!.entries()) {
      const { frequencies: found, attentionFactor: factor, ...fixed } = written[i]!;
      assert.deepEqual(row, fixed);
      assert.ok(near(attentionFactor, factor), row.name);
      assert.equal(frequencies.length, found.length);
      // Other systems' powers may differ in the last digit.
      assert.ok(frequencies.every((one, pair) => near(one, found[pair]!)), row.name);
    }
  },
});
