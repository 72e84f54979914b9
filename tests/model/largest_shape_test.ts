import { manifest } from "../../generated/manifest.ts";
import { choosePolicy, planCache, type PlanOptions, requiredLimits } from "../../mod.ts";
import { LARGEST_SHAPE } from "../../src/model/largest_shape.ts";
import { refuses } from "../helpers/refusals.ts";

const OPTIONS: PlanOptions = {
  shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "u8b8", values: "u8b8" },
  keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
  tiers: { sinks: 4, window: 64 },
  capacity: { sequences: 1, tokens: 256, sequenceTokens: 256, stepTokens: 8, appendTokens: 8 },
  kernels: manifest,
};

/** What a config.json may say of a model, and no computer can list. */
const ABSURD: readonly number[] = [1e5, 1e7, 1e9, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER];

for (const name of ["layers", "queryHeads", "headDim"] as const) {
  for (const value of ABSURD) {
    Deno.test(`planCache() and requiredLimits() refuse shape.${name} ${value}`, () => {
      const shape = { ...OPTIONS.shape, [name]: value };
      for (const plan of [planCache, requiredLimits]) {
        refuses("shape", () => plan({ ...OPTIONS, shape }));
        // A list for each layer would be as long.
        refuses("shape", () => plan({ ...OPTIONS, shape: { ...shape, keyValueHeads: value } }));
      }
    });
  }
}

Deno.test("choosePolicy() refuses a shape of so many layers", () => {
  const shape = { ...OPTIONS.shape, layers: 1e9 };
  const { keys } = OPTIONS;
  const sizes = { budgetBits: 2, tokens: 4096, sequences: 1 };
  refuses(
    "shape",
    () => choosePolicy({ shape, keys, ...sizes, candidates: ["u8b8"], sensitivities: [] }),
  );
});

Deno.test("planCache() takes as many layers as the largest shape has", () => {
  const shape = { ...OPTIONS.shape, layers: LARGEST_SHAPE.layers };
  planCache({ ...OPTIONS, shape });
});
