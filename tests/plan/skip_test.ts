/** How far skipping moves outputs at most, and what may be skipped. */
import assert from "node:assert/strict";
import { planCache, type PlanOptions, spanKinds } from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { skipBound } from "../../src/plan/skip.ts";
import { refuses } from "../helpers/refusals.ts";

const capacity = { sequenceTokens: 1000 };
const spans = [{ capacity: { tokens: 200 } }, { capacity: { tokens: 34 } }];

Deno.test("skipBound() is the weight that all tokens of a sequence and its spans may have, and at most all of it", () => {
  const bound = (skipBelow: number, kinds = spans) =>
    skipBound({ skipBelow, capacity, spans: kinds });
  assert.equal(bound(20), 1234 * Math.exp(-20));
  assert.equal(bound(20, []), 1000 * Math.exp(-20));
  assert.equal(bound(7), 1);
  assert.equal(bound(0), 0);
});

const OPTIONS: PlanOptions = {
  shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "f16", values: "f16" },
  keys: { space: "as-scored" },
  tiers: { sinks: 0, window: 0 },
  capacity: { sequences: 1, tokens: 512, sequenceTokens: 512, stepTokens: 4, appendTokens: 4 },
  kernels: manifest,
};

Deno.test("planCache() says by how much skipping moves outputs, spans included", () => {
  const kinds = spanKinds({ image: { keys: "f16", values: "f16", tokens: 256, count: 2 } });
  const plan = planCache({ ...OPTIONS, spans: kinds, skip: { below: 20 } });
  const bound = (768 * Math.exp(-20)).toPrecision(2);
  assert.ok(plan.describe().includes(`${bound} of the spread of values`), plan.describe());
});

Deno.test("planCache() skips below whole numbers from 1 to 100 alone", () => {
  for (const below of [1, 100]) {
    assert.equal(planCache({ ...OPTIONS, skip: { below } }).options.skipBelow, below);
  }
  for (const below of [0, -1, 0.5, 101, Infinity, NaN]) {
    refuses("shape", () => planCache({ ...OPTIONS, skip: { below } }));
  }
});
