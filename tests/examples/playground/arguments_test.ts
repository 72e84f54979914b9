import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArguments } from "../../../examples/playground/arguments.ts";
import { buildPlayground } from "../../../examples/playground/build.ts";
import { refuses, rejects } from "../../helpers/refusals.ts";

for (const argv of [["--port", "x"], ["--port", "70000"], ["--out", ""], ["--what"], ["extra"]]) {
  Deno.test(`parseArguments refuses ${argv.join(" ")}`, () => {
    refuses("usage", () => parseArguments(argv));
  });
}

Deno.test("parseArguments reads the port and the folder to build into", () => {
  assert.deepEqual(parseArguments([]), { options: { port: 8430 } });
  assert.deepEqual(parseArguments(["--port", "0", "--out", "site"]), {
    options: { port: 0, out: resolve("site") },
  });
});

Deno.test("buildPlayground refuses a folder that holds anything else, before it learns", async () => {
  const folder = await mkdtemp(join(tmpdir(), "couplet-playground-"));
  try {
    await writeFile(join(folder, "thesis.txt"), "x");
    const learning = { schemes: [], tokens: 0, context: 0 };
    await rejects(buildPlayground(folder, learning), "file");
    assert.equal(await Deno.readTextFile(join(folder, "thesis.txt")), "x");
  } finally {
    await rm(folder, { recursive: true });
  }
});
