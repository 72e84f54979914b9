/** Published models are planned with their own numbers, or refused with the reason. */
import assert from "node:assert/strict";
import { CoupletError } from "../../mod.ts";
import { FAMILIES } from "../../src/models/families.ts";
import { REFUSED_FAMILIES } from "../../src/models/refused_families.ts";
import { MODEL_TYPES, planOptions } from "../../src/models/mod.ts";
import { describeModel } from "../../tools/models/describe_model.ts";
import { PUBLISHED } from "../../tools/models/published.ts";

for (const { model, config, length = 4096, planned } of PUBLISHED) {
  const name = model.startsWith("transformers") ? `${config["model_type"]} of ${model}` : model;
  Deno.test(`planOptions() ${planned instanceof RegExp ? "refuses" : "reads"} ${name}`, () => {
    if (planned instanceof RegExp) {
      assert.throws(
        () => planOptions(config, { length }),
        (error) => error instanceof CoupletError && planned.test(error.parts.why),
      );
    } else assert.deepEqual(describeModel(planOptions(config, { length })), planned);
  });
}

Deno.test("published models are of every family that is read", () => {
  const read = new Set(
    PUBLISHED.flatMap(({ config, planned }) =>
      planned instanceof RegExp ? [] : planOptions(config, { length: 1 }).modelType
    ),
  );
  const refused = PUBLISHED.flatMap(({ config, planned }) =>
    planned instanceof RegExp ? JSON.stringify(config) : []
  ).join();
  const missing = FAMILIES.filter(({ types }) =>
    !types.some((type) => read.has(type) || refused.includes(`"${type}"`))
  );
  assert.deepEqual(missing.map(({ types }) => types[0]), []);
  assert.ok(FAMILIES.length >= 60, `${FAMILIES.length} families`);
});

Deno.test("a model_type is of one family", () => {
  const all = [...MODEL_TYPES, ...REFUSED_FAMILIES.flatMap(({ types }) => types)];
  assert.equal(new Set(all).size, all.length);
  assert.equal(FAMILIES.flatMap(({ types }) => types).length, MODEL_TYPES.length);
});
