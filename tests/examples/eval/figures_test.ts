import assert from "node:assert/strict";
import { poolQuality, type Quality } from "../../../examples/demo/metrics.ts";
import { summarizeUsage } from "../../../examples/eval/code_usage.ts";
import { energiesAroundMean } from "../../../examples/eval/coding_error.ts";
import { firstDifference } from "../../../examples/eval/generation.ts";
import { compareQuality } from "../../../examples/eval/quality.ts";
import { paretoFront } from "../../../examples/eval/figures/pareto.ts";
import { mean, standardError } from "../../../examples/eval/figures/statistics.ts";

function near(found: number | null, expected: number): void {
  assert.ok(found !== null && Math.abs(found - expected) < 1e-12, `${found} is not ${expected}`);
}

/** A context whose mean loss is `loss`. */
function context(loss: number, divergence = 0, agreement = 1, tokens = 10): Quality {
  return { tokens, perplexity: Math.exp(loss), divergence, agreement };
}

Deno.test("mean and standardError of values written out", () => {
  assert.equal(mean([1, 2, 6]), 3);
  // Squares 4 + 1 + 9 over 2, over 3 values.
  near(standardError([1, 2, 6]), Math.sqrt(7 / 3));
  assert.equal(standardError([5]), null);
  assert.equal(standardError([2, 2, 2]), 0);
});

Deno.test("poolQuality weighs contexts by their tokens", () => {
  const pooled = poolQuality([context(1, 0.2, 1, 10), context(4, 0.8, 0.25, 20)]);
  assert.equal(pooled.tokens, 30);
  near(Math.log(pooled.perplexity), 3);
  near(pooled.divergence, 0.6);
  near(pooled.agreement, 0.5);
});

Deno.test("compareQuality: the contexts' own difficulty cancels from the ratio and its error", () => {
  const baseline = [context(1), context(2), context(6)];
  const same = compareQuality([context(1.1), context(2.1), context(6.1)], baseline);
  near(same.ratio, Math.exp(0.1));
  near(same.ratioError, 0);
  const differing = compareQuality([context(1.1), context(2.2), context(6.6)], baseline);
  near(differing.ratio, Math.exp(0.3));
  near(differing.ratioError, Math.exp(0.3) * Math.sqrt(0.07 / 3));
  assert.equal(compareQuality([context(3)], [context(3)]).ratioError, null);
});

Deno.test("firstDifference is the index of the first, and the length where there is none", () => {
  assert.equal(firstDifference([1, 2, 3], [1, 2, 4]), 2);
  assert.equal(firstDifference([1, 2, 3], [0, 2, 3]), 0);
  assert.equal(firstDifference([1, 2, 3], [1, 2, 3]), 3);
});

Deno.test("summarizeUsage: dead centroids, entropy and uses from the most to the least", () => {
  const { dead, entropyBits, codeBits, uses } = summarizeUsage([
    Uint32Array.of(0, 4, 4, 0),
    Uint32Array.of(2, 2, 2, 2),
  ]);
  assert.equal(dead, 2 / 8);
  assert.equal(entropyBits, (1 + 2) / 2);
  assert.equal(codeBits, 2);
  assert.deepEqual(uses, [1.5, 1.5, 0.5, 0.5]);
});

Deno.test("summarizeUsage puts many centroids together in parts whose mean is one", () => {
  const { uses } = summarizeUsage([Uint32Array.from({ length: 256 }, (_, i) => i)]);
  assert.equal(uses.length, 32);
  near(mean(uses), 1);
  assert.deepEqual(uses, uses.toSorted((a, b) => b - a));
});

Deno.test("energiesAroundMean() counts no constant of a channel, whatever its size", () => {
  // Two heads of two channels, three tokens.
  const vectors = [[1, 0, 5, 0], [2, 0, 5, 3], [3, 0, 5, -3]];
  const biased = vectors.map((vector) => vector.map((value, i) => value + [0, 900, -300, 0][i]!));
  for (const rows of [vectors, biased]) {
    const energies = energiesAroundMean(Float32Array.from(rows.flat()), 2, 2);
    assert.deepEqual([...energies], [2, 18]);
  }
});

for (
  const [name, points, front] of [
    ["fewer bits, less loss", [[1, 3], [2, 2], [3, 1]], [true, true, true]],
    ["more bits and more loss", [[1, 2], [2, 3], [2, 1]], [true, false, true]],
    ["as many bits and more loss", [[1, 2], [1, 3]], [true, false]],
    ["more bits and as much loss", [[1, 2], [2, 2]], [true, false]],
    ["twice the same", [[1, 2], [1, 2]], [true, true]],
    ["nothing", [], []],
  ] as const
) {
  Deno.test(`paretoFront: ${name}`, () => {
    assert.deepEqual(paretoFront(points.map(([bits, loss]) => ({ bits, loss }))), front);
  });
}
