/** The table of `deno task mutate`: whether each mutation can still be made. */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import picomatch from "picomatch";
import { manifest } from "../../generated/manifest.ts";
import { testRuns } from "../../tools/mutations/mutation.ts";
import { mutate } from "../../tools/mutation_tree.ts";
import { MUTATIONS } from "../../tools/mutations/mutations.ts";
import { kernels as kmeans } from "../../generated/kmeans/kmeans.ts";

const ROOT = new URL("../../", import.meta.url);

Deno.test("each mutation's text is found once in its file, and is replaced by another", () => {
  const stale = MUTATIONS.flatMap((mutation) => {
    const text = Deno.readTextFileSync(new URL(mutation.file, ROOT));
    try {
      return mutate(text, mutation) === text ? [`${mutation.name} changes nothing`] : [];
    } catch (error) {
      return [error instanceof Error ? error.message : `${error}`];
    }
  });
  assert.deepEqual(stale, []);
});

Deno.test("mutations have names of their own, tests that are there, and kernels where they are in templates", () => {
  const names = MUTATIONS.map(({ name }) => name);
  assert.deepEqual(names.filter((name, i) => names.indexOf(name) < i), []);
  const kernels = [...manifest, ...kmeans].map(({ name }) => name);
  for (const mutation of MUTATIONS) {
    const runs = testRuns(mutation);
    assert.ok(runs.length > 0, mutation.name);
    for (const { file } of runs) {
      assert.ok(existsSync(new URL(`tests/${file}`, ROOT)), `${mutation.name}: ${file}`);
    }
    const { file, generate } = mutation;
    assert.equal(generate !== undefined, file.startsWith("templates/"), mutation.name);
    if (generate === undefined) continue;
    const matches = picomatch(generate);
    assert.ok(kernels.some((name) => matches(name)), mutation.name);
  }
});

Deno.test("mutate() refuses a text that is not found, or more than once", () => {
  const mutation = { name: "a/b", file: "c", find: "ab", replace: "$&", tests: ["d"] };
  assert.equal(mutate("-ab-", mutation), "-$&-");
  assert.throws(() => mutate("-a-", mutation), /0 times/);
  assert.throws(() => mutate("ab ab", mutation), /2 times/);
});
