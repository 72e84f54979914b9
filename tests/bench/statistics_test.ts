import assert from "node:assert/strict";
import fc from "fast-check";
import { extrapolateKmeans, WHOLE } from "../../bench/kmeans.ts";
import {
  type AtContext,
  breakEven,
  GROWTH_TOLERANCE,
  linearity,
  speedup,
  spread,
} from "../../bench/measure/statistics.ts";

const CONTEXTS = [512, 1024, 2048, 4096, 8192, 16384, 32768];

function at(value: (context: number) => number): AtContext[] {
  return CONTEXTS.map((context) => ({ context, value: value(context) }));
}

Deno.test("spread: the median and the quartiles between samples", () => {
  assert.deepEqual(spread([3, 1, 2]), { median: 2, low: 1.5, high: 2.5 });
  assert.deepEqual(spread([4, 1, 3, 2]), { median: 2.5, low: 1.75, high: 3.25 });
  assert.deepEqual(spread([7]), { median: 7, low: 7, high: 7 });
});

Deno.test("spread: half of all samples lie between the quartiles, whatever their order", () => {
  fc.assert(fc.property(
    fc.array(fc.double({ min: 1e-3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 40 }),
    (samples) => {
      const { median, low, high } = spread(samples);
      assert.ok(low <= median && median <= high);
      const within = samples.filter((sample) => sample >= low && sample <= high).length;
      assert.ok(within >= samples.length / 2 - 1);
      assert.deepEqual(spread(samples.toReversed()), { median, low, high });
    },
  ));
});

Deno.test("speedup: ratios are of rounds, so that a slow round of both changes nothing", () => {
  assert.deepEqual(speedup([2, 20, 4], [1, 10, 2]), { median: 2, low: 2, high: 2 });
  assert.throws(() => speedup([1, 2], [1]), RangeError);
});

for (
  const [name, speedups, expected] of [
    ["faster from the middle on", at((context) => context / 4096 + 0.01), 4096],
    ["faster everywhere", at(() => 1.2), 512],
    ["as fast is not faster", at(() => 1), null],
    ["slower at the longest", at((context) => context < 32768 ? 2 : 0.9), null],
    ["faster at the shortest does not count", at((c) => c === 512 || c > 4096 ? 2 : 0.9), 8192],
    ["given in any order", at((context) => context / 1500).toReversed(), 2048],
    ["nothing measured", [], null],
  ] as const
) {
  Deno.test(`breakEven: ${name}`, () => assert.equal(breakEven(speedups), expected));
}

/** Times whose quartiles are a share of them away. */
function spreadAt(value: (context: number) => number, share = 0) {
  return at(value).map(({ context, value: median }) => ({
    context,
    spread: { median, low: median * (1 - share), high: median * (1 + share) },
  }));
}

Deno.test("linearity: finds what is fixed and what each token adds", () => {
  const found = linearity(spreadAt((context) => 0.7 + 0.004 * context))!;
  assert.ok(Math.abs(found.fixed - 0.7) < 1e-9, `${found.fixed}`);
  assert.ok(Math.abs(found.perThousand - 4) < 1e-9, `${found.perThousand}`);
  assert.ok(found.worstError < 1e-9);
  assert.equal(found.worstGrowth, 0);
  assert.equal(found.growth, "linear");
});

for (
  const [name, time, share, growth] of [
    ["in proportion", (context: number) => context / 1000, 0, "linear"],
    ["flat at first", (context: number) => Math.max(3, context / 1000), 0.2, "linear"],
    ["quadratic", (context: number) => context ** 2 / 1e6, 0.2, "faster"],
    ["n log n", (context: number) => context * Math.log2(context), 0.05, "faster"],
    ["a jump", (context: number) => context * (context === 32768 ? 1.2 : 1), 0, "faster"],
    [
      "a jump within noise",
      (context: number) => context * (context > 512 ? 1.2 : 1),
      0.2,
      "unclear",
    ],
    ["small steps", (context: number) => context ** (1 + GROWTH_TOLERANCE / 2), 0.01, "faster"],
  ] as const
) {
  Deno.test(`linearity: growth of what is ${name} is ${growth}`, () => {
    assert.equal(linearity(spreadAt(time, share))!.growth, growth);
  });
}

Deno.test("linearity: two contexts say nothing", () => {
  assert.equal(linearity(spreadAt(() => 1).slice(0, 2)), null);
});

Deno.test("extrapolateKmeans: as many heads and tokens as the whole take as long as the slice, times both", () => {
  // The slice has 2 KV heads of keys and 2 of values.
  const heads = WHOLE.layers * WHOLE.keyValueHeads / 2;
  assert.equal(extrapolateKmeans({ tokens: WHOLE.tokens, seconds: 3 }), 3 * heads);
  assert.equal(extrapolateKmeans({ tokens: WHOLE.tokens / 4, seconds: 3 }), 12 * heads);
});
