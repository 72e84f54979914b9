import assert from "node:assert/strict";
import {
  literalKeys,
  literalValues,
  wideChannels,
} from "../../../examples/eval/vision/vidkv_literal.ts";
import { literalSpan } from "../../../examples/eval/vision/calibquant_literal.ts";
import { largestDifference } from "../../helpers/llama.ts";
import { readTensors, tensorNumbers } from "../../helpers/vision.ts";

for (const headDim of [64, 128]) {
  const oracle = readTensors(`tests/examples/eval/fixtures/vidkv_literal_d${headDim}.safetensors`);
  const numbers = (name: string) => tensorNumbers(oracle.get(name)!);
  const vectors = (name: string) => {
    const all = numbers(name);
    return Array.from(
      { length: all.length / headDim },
      (_, i) => all.subarray(i * headDim, (i + 1) * headDim),
    );
  };

  Deno.test(`literalKeys and literalValues compute what the oracle does, head dimension ${headDim}`, () => {
    const keys = vectors("keys");
    assert.deepEqual(wideChannels(keys), [...numbers("two_bit_channels")]);
    const tolerance = headDim === 64 ? 1e-12 : 1e-6;
    const compare = (found: readonly Float64Array[], name: string) =>
      assert.ok(
        largestDifference(found.flatMap((one) => [...one]), numbers(name)) < tolerance,
        name,
      );
    compare(literalKeys(keys, wideChannels(keys)), "keys_released");
    compare(literalValues(vectors("values"), "paper"), "values_paper");
    if (headDim === 64) compare(literalValues(vectors("values"), "released"), "values_released");
  });
}

Deno.test("literalSpan computes what the oracle does", () => {
  const oracle = readTensors("tests/schemes/fixtures/sc1_d64_n96.safetensors");
  const numbers = (name: string) => tensorNumbers(oracle.get(name)!);
  for (const [side, name] of [["keys", "key"], ["values", "value"]] as const) {
    const given = numbers(side);
    const [low, step, codes] = ["low", "step", "codes"].map((of) => numbers(`paper_${name}_${of}`));
    const vectors = Array.from({ length: 96 }, (_, i) => given.slice(i * 64, (i + 1) * 64));
    const expected = codes!.map((code, i) => low![i % 64]! + code * step![i % 64]!);
    const decoded = literalSpan(vectors, side).flatMap((vector) => [...vector]);
    assert.ok(largestDifference(decoded, expected) < 1e-12, side);
  }
});
