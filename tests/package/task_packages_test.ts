/** Which npm packages the programs of tasks fetch. */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import config from "../../deno.json" with { type: "json" };

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What all examples read their command lines and models by. */
const EXAMPLE = ["@huggingface/tokenizers", "commander", "zod", "string-width", "wrap-ansi"];

/** What shows the progress of long work. */
const PROGRESS = ["cli-progress", "@types/cli-progress"];

/** Programs, and all packages that may be in their graphs. */
const PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  "tools/launch.ts": [],
  "cli/main.ts": ["commander", "string-width", "wrap-ansi"],
  "examples/demo/main.ts": [...EXAMPLE, ...PROGRESS],
  "examples/calibrate/main.ts": [...EXAMPLE, ...PROGRESS],
  "examples/policy/main.ts": [...EXAMPLE, ...PROGRESS],
  "examples/vision/main.ts": [...EXAMPLE, ...PROGRESS],
  "examples/engine/main.ts": EXAMPLE,
  "examples/engine/serve_main.ts": EXAMPLE,
};

interface Graph {
  readonly modules: readonly { readonly specifier: string }[];
}

/** The npm packages that a module's graph names. */
async function packagesOf(program: string): Promise<string[]> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", program],
    cwd: ROOT,
    stderr: "inherit",
  }).output();
  assert.ok(success);
  const { modules }: Graph = JSON.parse(new TextDecoder().decode(stdout));
  assert.ok(modules.length > 1, "the graph is empty");
  return modules.flatMap(({ specifier }) => /^npm:\/?(.+)@[^@]+$/.exec(specifier)?.[1] ?? []);
}

for (const [program, allowed] of Object.entries(PROGRAMS)) {
  Deno.test(`${program} fetches only packages that it uses`, async () => {
    const others = (await packagesOf(program)).filter((name) => !allowed.includes(name));
    assert.deepEqual(others, []);
  });
}

Deno.test("deno.json makes packages load where they are used, and leaves those of texts to a project of their own", () => {
  // Without it Deno fetches all packages of the lock file before it runs anything.
  assert.ok(config.unstable.includes("npm-lazy-caching"));
  assert.deepEqual(Object.keys(config.imports).filter((name) => name.startsWith("@stdlib/")), []);
});
