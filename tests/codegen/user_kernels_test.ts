/** Encoding by kernels that the package lacks: the fewest and the most centroids, of groups as wide as whole heads. */
import assert from "node:assert/strict";
import { generateKernels } from "../../codegen/generate.ts";
import type { CacheOptions, SchemeId } from "../../mod.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithReference } from "../helpers/cache_oracle.ts";
import { withGenerated } from "../helpers/generated_kernels.ts";
import type { Move } from "../helpers/reference_run.ts";

/** Groups whose centroids fill no row of 16 levels, one row, and many; codes that lie across words. */
const PAIRS: readonly (readonly [keys: SchemeId, values: SchemeId])[] = [
  ["c4b1", "c16b1"],
  ["c8b12", "c4b3"],
];

/** Tokens one by one and many at once. */
const MOVES: readonly Move[] = [
  { tokens: { 0: 1 } },
  { tokens: { 0: 40 }, silent: true },
  { tokens: { 0: 2 } },
  { tokens: { 0: 1 } },
];

Deno.test("encode, generated for any width, gives the reference's records", async (t) => {
  const device = await requestTestDevice();
  const files = generateKernels({
    pairs: PAIRS.map(([keys, values]) => `${keys}/${values}`),
    headDims: [16],
  });
  await withGenerated(files, async (kernels) => {
    for (const [keys, values] of PAIRS) {
      await t.step(`${keys} and ${values}`, async () => {
        const options: CacheOptions = {
          shape: { layers: 1, queryHeads: 2, keyValueHeads: 2, headDim: 16 },
          policy: { keys, values },
          keys: { space: "as-scored" },
          tiers: { sinks: 1, window: 2 },
          capacity: {
            sequences: 1,
            tokens: 64,
            sequenceTokens: 64,
            stepTokens: 40,
            appendTokens: 40,
          },
        };
        const { plan } = await compareWithReference(device, {
          options,
          moves: MOVES,
          kernels,
        });
        assert.equal(plan.layers[0]!.encodeKeys.name, `encode_${keys}_d16`);
      });
    }
  });
  device.destroy();
});
