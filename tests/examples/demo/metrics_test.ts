import assert from "node:assert/strict";
import fc from "fast-check";
import {
  indexOfLargest,
  logSumExp,
  median,
  QualityTally,
  referenceRow,
} from "../../../examples/demo/metrics.ts";

function near(found: number, expected: number, tolerance = 1e-6): void {
  assert.ok(Math.abs(found - expected) <= tolerance, `${found} is not ${expected}`);
}

const logs = (probabilities: number[]) => Float32Array.from(probabilities, Math.log);

Deno.test("QualityTally: perplexity, divergence and agreement of distributions written out", () => {
  const tally = new QualityTally();
  const p = [0.5, 0.25, 0.25];
  const q = [0.25, 0.5, 0.25];
  tally.add(referenceRow(logs(p)), logs(q), 2);
  tally.add(referenceRow(logs(p)), logs(p), 0);
  const { tokens, perplexity, divergence, agreement } = tally.quality();
  assert.equal(tokens, 2);
  near(perplexity, Math.exp((Math.log(4) + Math.log(2)) / 2));
  near(divergence, (0.5 * Math.log(2) - 0.25 * Math.log(2)) / 2);
  assert.equal(agreement, 0.5);
});

Deno.test("QualityTally: adding a constant to all logits changes nothing", () => {
  const row = fc.array(fc.integer({ min: -40, max: 40 }), { minLength: 5, maxLength: 5 });
  fc.assert(
    fc.property(row, row, fc.nat(4), fc.integer({ min: -60, max: 60 }), (a, b, target, shift) => {
      const plain = new QualityTally();
      const shifted = new QualityTally();
      const moved = (values: number[]) => Float32Array.from(values, (x) => x + shift);
      plain.add(referenceRow(Float32Array.from(a)), Float32Array.from(b), target);
      shifted.add(referenceRow(moved(a)), moved(b), target);
      assert.equal(shifted.quality().agreement, plain.quality().agreement);
      near(shifted.quality().divergence, plain.quality().divergence, 1e-4);
      near(Math.log(shifted.quality().perplexity), Math.log(plain.quality().perplexity), 1e-9);
    }),
    { seed: 1 },
  );
});

Deno.test("QualityTally: divergence is never negative, and nil against oneself", () => {
  const row = fc.array(fc.double({ min: -20, max: 20, noNaN: true }), {
    minLength: 7,
    maxLength: 7,
  });
  fc.assert(
    fc.property(row, row, (a, b) => {
      const tally = new QualityTally();
      tally.add(referenceRow(Float32Array.from(a)), Float32Array.from(b), 0);
      assert.ok(tally.quality().divergence > -1e-5);
      const same = new QualityTally();
      same.add(referenceRow(Float32Array.from(a)), Float32Array.from(a), 0);
      near(same.quality().divergence, 0);
      assert.equal(same.quality().agreement, 1);
    }),
    { seed: 2 },
  );
});

Deno.test("logSumExp does not overflow", () => {
  near(logSumExp(Float32Array.of(1000, 1000)), 1000 + Math.log(2), 1e-9);
  near(logSumExp(Float32Array.of(-1000, -1000)), -1000 + Math.log(2), 1e-9);
});

Deno.test("indexOfLargest takes the first of equals", () => {
  assert.equal(indexOfLargest(Float32Array.of(1, 3, 3, 2)), 1);
});

Deno.test("median of an odd and of an even number of values", () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.equal(median([5]), 5);
});
