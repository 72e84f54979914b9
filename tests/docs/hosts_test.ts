import assert from "node:assert/strict";

const ROOT = new URL("../../", import.meta.url);

/** The examples that blocks of docs/hosts.md are taken from. */
const SOURCES = ["onnxruntime_web", "transformers_js"] as const;

/** Code, however it is indented. */
function unindented(code: string): string {
  return code.split("\n").map((line) => line.trim()).join("\n").trim();
}

Deno.test("docs/hosts.md: code that is not run as it stands is taken from an example", async () => {
  const text = await Deno.readTextFile(new URL("docs/hosts.md", ROOT));
  const blocks = [...text.matchAll(/^```ts ignore\n(.*?)^```$/gms)].map(([, code]) => code!);
  assert.ok(blocks.length > 0);
  const sources = await Promise.all(
    SOURCES.map((name) => Deno.readTextFile(new URL(`examples/hosts/${name}/page.ts`, ROOT))),
  );
  const examples = sources.map(unindented);
  for (const block of blocks) {
    assert.ok(examples.some((example) => example.includes(unindented(block))), block);
  }
});
