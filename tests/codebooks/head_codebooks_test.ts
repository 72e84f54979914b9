/** What each KV head has of a codebook. */
import { deepStrictEqual, strictEqual } from "node:assert/strict";
import type { Codebook, SchemeId } from "../../mod.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";
import { seededRandom } from "../../src/base/random.ts";
import { centroidNumbers } from "../../src/codebooks/grid.ts";
import { headCodebooks } from "../../src/codebooks/head_codebooks.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";
import { addedCodebook } from "../helpers/grid_numbers.ts";

const HEADS = 3;
const HEAD_DIM = 32;

/** A head's part of numbers that all heads have as many of. */
function part<T extends Float32Array | Float64Array>(all: T, head: number): number[] {
  const each = all.length / HEADS;
  return [...all].slice(head * each, (head + 1) * each);
}

for (const id of ["n8b8x2", "c8b8x2", "n4b8"] as const satisfies SchemeId[]) {
  Deno.test(`headCodebooks() of ${id} gives each head its own centroids, scale, means and sizes`, () => {
    const random = seededRandom("heads", id);
    const codebook: Codebook = {
      layer: 0,
      side: "keys",
      ...addedCodebook(id, HEADS, HEAD_DIM, random),
      scale: Float32Array.from({ length: HEADS * HEAD_DIM }, () => 1 + random.next()),
    };
    const heads = headCodebooks(parseScheme(id), codebook, HEADS, HEAD_DIM);
    strictEqual(heads.length, HEADS);
    const { normalisation, scale } = codebook;
    heads.forEach((own, head) => {
      deepStrictEqual([...own.centroids as Float64Array], part(centroidNumbers(codebook), head));
      deepStrictEqual([...own.scale as Float32Array], part(scale!, head));
      strictEqual(own.normalisation === undefined, id.startsWith("c"));
      if (own.normalisation === undefined) return;
      const { offsets, meanSteps, sizes } = own.normalisation;
      deepStrictEqual([...offsets as Float32Array], part(normalisation!.offsets, head));
      // A step is stored as 64 times what it is.
      const steps = part(fromFloat16Array(normalisation!.meanSteps), head);
      deepStrictEqual([...meanSteps as Float32Array], steps.map((step) => step / 64));
      deepStrictEqual(
        [...sizes as Float32Array],
        part(fromFloat16Array(normalisation!.sizes), head),
      );
    });
  });
}
