/** The multiple-choice knapsack beside a search of all choices. */
import assert from "node:assert/strict";
import { seededRandom } from "../../src/base/random.ts";
import { type Choice, solveKnapsack } from "../../src/policy/knapsack.ts";

/** The least loss of all choices that fit; undefined where none does. */
function leastLoss(items: readonly (readonly Choice[])[], budget: number): number | undefined {
  const [first, ...rest] = items;
  if (first === undefined) return 0;
  const losses = first.flatMap(({ cost, loss }) => {
    if (cost > budget) return [];
    const others = leastLoss(rest, budget - cost);
    return others === undefined ? [] : [loss + others];
  });
  return losses.length === 0 ? undefined : Math.min(...losses);
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

Deno.test("solveKnapsack() loses as little as the best of all choices, at every budget, ties included", () => {
  const random = seededRandom("knapsack");
  for (let round = 0; round < 300; round++) {
    // Whole numbers, so that costs meet budgets exactly and losses are often equal.
    const items = Array.from(
      { length: 1 + random.below(5) },
      () =>
        Array.from({ length: 1 + random.below(4) }, (): Choice => ({
          cost: random.below(8),
          loss: random.below(6),
        })),
    );
    for (let budget = 0; budget < 36; budget += 1 + random.below(3)) {
      const found = solveKnapsack(items, budget);
      const wanted = leastLoss(items, budget);
      assert.equal(found && sum(found.map(({ loss }) => loss)), wanted);
      if (found === undefined) continue;
      assert.ok(sum(found.map(({ cost }) => cost)) <= budget);
      assert.equal(found.length, items.length);
      found.forEach((choice, i) => assert.ok(items[i]!.includes(choice)));
    }
  }
});

Deno.test("solveKnapsack() of what only just fits, and of nothing", () => {
  const only = { cost: 3, loss: 1 };
  assert.deepEqual(solveKnapsack([[only]], 3), [only]);
  assert.equal(solveKnapsack([[only]], 2), undefined);
  assert.deepEqual(solveKnapsack([], 0), []);
});
