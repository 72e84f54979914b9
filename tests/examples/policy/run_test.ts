import assert from "node:assert/strict";

Deno.test("policy refuses a budget that no candidates meet before work starts", async () => {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "examples/policy/main.ts", "--bits", "0.1"],
  }).output();
  const [output, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert.equal(code, 2, errors!);
  assert.equal(output, "");
  assert.match(errors!, /the smallest policy \(c16b8\/c16b8\) takes 0\.5/);
  // Stages of work have numbers.
  assert.doesNotMatch(errors!, /\[1\//);
});
