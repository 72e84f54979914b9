import assert from "node:assert/strict";
import { join } from "node:path";
import { decodeCodebooks, parseScheme } from "../../mod.ts";
import { describeRecipe, findRecipe, RECIPE_NAMES, RECIPES } from "../../cli/recipes.ts";
import { couplet, coupletJson, samplesFile, withFolder } from "../helpers/cli.ts";

const FIXTURE = new URL("../fixtures/tiny-llama", import.meta.url).pathname;

/** Fewest samples that a scheme is learned from. */
function samplesFor(scheme: string): number {
  const { centroids, codebookSpec } = parseScheme(scheme);
  return centroids * ((codebookSpec?.stages ?? 1) > 1 ? 24 : 1);
}

for (const name of RECIPE_NAMES) {
  Deno.test(`RECIPES: "${name}" is for caches of any size, and says why`, () => {
    const own = RECIPES.filter((recipe) => recipe.name === name);
    const sizes = own.map(({ tokens }) => tokens);
    assert.equal(sizes[0], 0);
    assert.deepEqual(sizes, [...new Set(sizes)].toSorted((a, b) => a - b));
    for (const { keys, values, reason, shareHeads } of own) {
      assert.ok(reason.length > 20);
      const specs = [keys, values].map((id) => parseScheme(id).codebookSpec);
      assert.ok(!shareHeads || specs.some((spec) => spec?.stages !== undefined));
    }
  });

  Deno.test(`findRecipe: "${name}" is the last whose tokens a cache has`, () => {
    for (const recipe of RECIPES.filter((one) => one.name === name)) {
      assert.equal(findRecipe(name, recipe.tokens), recipe);
      if (recipe.tokens > 0) {
        assert.ok(findRecipe(name, recipe.tokens - 1).tokens < recipe.tokens);
      }
    }
    assert.equal(findRecipe(name, 1).name, name);
  });

  Deno.test(`couplet plan takes the recipe "${name}" for all tokens of its sequences`, async () => {
    const { policy } = await coupletJson<{ readonly policy: unknown }>(
      ["plan", FIXTURE, "--recipe", name, "--tokens", "256", "--sequences", "64"],
    );
    const { keys, values } = findRecipe(name, 256 * 64);
    assert.deepEqual(policy, { keys, values });
  });
}

Deno.test("couplet calibrate samples learns the schemes of a recipe, and says what it lacks", async () => {
  // The one that takes the fewest samples.
  const [learned] = RECIPES
    .filter(({ keys, fisher }) => fisher && parseScheme(keys).codebook === "learned")
    .toSorted((a, b) => samplesFor(a.keys) - samplesFor(b.keys));
  const { name, tokens, keys, values, space } = learned!;
  await withFolder(async (folder) => {
    const [samples, out] = ["samples", "codebooks"].map((file) => join(folder, file));
    await Deno.writeFile(
      samples!,
      samplesFile({ tokens: samplesFor(keys), headDim: 16 }),
    );
    const { output, errors, exitCode } = await couplet([
      ..."calibrate samples --model m --digest d --cpu --iterations 1".split(" "),
      ...[
        "--space",
        space,
        "--recipe",
        name,
        "--length",
        `${Math.max(1, tokens)}`,
        samples!,
        "--out",
        out!,
      ],
    ]);
    assert.equal(exitCode, 0, errors);
    assert.ok(output.includes(describeRecipe(learned!)));
    assert.match(output, /was measured with weights/);
    const set = decodeCodebooks(await Deno.readFile(out!));
    assert.deepEqual(
      new Set(set.codebooks.map(({ scheme }) => scheme)),
      new Set([keys, values]),
    );
  });
});
