/** docs/adding_a_scheme.md: what it tells to call and to run is there, and the family it shows needs nothing else. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import * as generate from "../../codegen/generate.ts";
import config from "../../deno.json" with { type: "json" };
import * as library from "../../mod.ts";

const ROOT = new URL("../../", import.meta.url);
const PAGE = await Deno.readTextFile(new URL("docs/adding_a_scheme.md", ROOT));
const TOY = await Deno.readTextFile(new URL("tests/schemes/toy_family.ts", ROOT));

const commands = [...PAGE.matchAll(/^```sh\n([\s\S]*?)^```$/gm)]
  .flatMap(([, text]) => text!.trim().split("\n"));

Deno.test("docs/adding_a_scheme.md: its commands are tasks, and the files they name are there", async () => {
  assert.ok(commands.length >= 4);
  for (const command of commands) {
    const [deno, task, name, ...files] = command.split(" ");
    assert.deepEqual([deno, task], ["deno", "task"], command);
    assert.ok(Object.hasOwn(config.tasks, name!), command);
    for (const file of files) assert.ok((await Deno.stat(new URL(file, ROOT))).isFile, file);
  }
});

Deno.test("docs/adding_a_scheme.md: deno task generate finds nothing to write", async () => {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "generate", "--check"],
    cwd: fileURLToPath(ROOT),
    stdout: "null",
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});

Deno.test("docs/adding_a_scheme.md: the functions it calls are exported", () => {
  const called = [...PAGE.matchAll(/`(\w+)\([\w, ]*\)`/g)].map(([, name]) => name!);
  const members = ["layout", "work", "codecs", "keySpan", "keys", "values", "score", "table"];
  const missing = called.filter((name) =>
    !(name in library) && !(name in generate) && !members.includes(name)
  );
  assert.deepEqual(missing, []);
  assert.ok(called.includes("registerKernels") && called.includes("registerScheme"));
});

Deno.test("the family of docs/adding_a_scheme.md takes nothing but what the package's entries give", () => {
  const taken = [...TOY.matchAll(/ from "([^"]+)"/g)].map(([, specifier]) => specifier!);
  const entries = [config.exports["."], config.exports["./generate"]]
    .map((module) => module.replace("./", "../../"));
  assert.deepEqual(taken.filter((specifier) => !entries.includes(specifier)), []);
});
