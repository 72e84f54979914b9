import assert from "node:assert/strict";
import config from "../../deno.json" with { type: "json" };
import { SUMMARIES } from "../../cli/summaries.ts";
import { couplet } from "../helpers/cli.ts";

/** Help without its line ends, which depend on the width. */
async function help(...args: string[]): Promise<string> {
  const { exitCode, output } = await couplet(args);
  assert.equal(exitCode, 0);
  return output.replaceAll(/\s+/g, " ");
}

for (const [name, summary] of Object.entries(SUMMARIES)) {
  const words = name.split(" ");

  Deno.test(`couplet ${name} --help says what it does, and its options`, async () => {
    const own = await help(...words, "--help");
    assert.ok(own.startsWith(`Usage: couplet ${name} [options] `), own);
    assert.ok(own.includes(summary) && own.includes("--json") && own.includes("Examples:"), own);
    assert.equal(await help(...words.slice(0, -1), "help", words.at(-1)!), own);
  });

  Deno.test(`couplet ${words.slice(0, -1).join(" ")} --help lists ${words.at(-1)}`, async () => {
    const list = await help(...words.slice(0, -1), "--help");
    assert.ok(list.includes(` ${words.at(-1)} ${summary}`), list);
  });
}

Deno.test("couplet --help and its commands' say what stands for couplet", async () => {
  for (const args of [[], ["kernels"], ["plan"]]) {
    const { output } = await couplet([...args, "--help"], { invocation: "npx @couplet/kv" });
    assert.match(output, /\n\ncouplet is npx @couplet\/kv here\.\n$/);
  }
});

Deno.test("couplet --version prints the package's", async () => {
  assert.deepEqual(await couplet(["--version"]), {
    exitCode: 0,
    output: `${config.version}\n`,
    errors: "",
  });
});
