import assert from "node:assert/strict";
import fc from "fast-check";
import {
  choosePolicy,
  type ChoosePolicyOptions,
  CoupletError,
  type CoupletErrorCode,
  type LayerPolicy,
  parseScheme,
  planCache,
  type Policy,
  recordBits,
  type SchemeId,
  type Sensitivity,
  SIDES,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";

const SCHEMES: readonly SchemeId[] = ["c2b8", "c4b8", "c8b8", "c2b4", "c4b4"];

const BASE = {
  shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
} as const;

/** One sensitivity for each layer, side and scheme, from a list of losses. */
function sensitivitiesOf(
  losses: readonly number[],
  schemes: readonly SchemeId[],
  layers: number = BASE.shape.layers,
): Sensitivity[] {
  let next = 0;
  return Array.from(
    { length: layers },
    (_, layer) =>
      SIDES.flatMap((side) =>
        schemes.map((scheme) => ({ layer, side, scheme, loss: losses[next++ % losses.length]! }))
      ),
  ).flat();
}

/** Effective bits as the plan of a cache of that size counts them. */
function plannedBits(
  policy: Policy,
  { shape, keys, tokens, sequences, tiers, appendTokens = 1 }: ChoosePolicyOptions,
): number {
  return planCache({
    shape,
    keys,
    policy,
    tiers: tiers ?? { sinks: 0, window: 0 },
    capacity: {
      sequences,
      tokens: tokens * sequences,
      sequenceTokens: tokens,
      stepTokens: appendTokens * sequences,
      appendTokens,
    },
    kernels: manifest,
  }).effectiveBits;
}

function layerOf(policy: Policy, layer: number): LayerPolicy {
  return policy.layers?.[layer] ?? policy;
}

function lossOf(policy: Policy, sensitivities: readonly Sensitivity[], layers: number): number {
  let loss = 0;
  for (let layer = 0; layer < layers; layer++) {
    for (const side of SIDES) {
      const scheme = layerOf(policy, layer)[side];
      const found = sensitivities.find((one) =>
        one.layer === layer && one.side === side && one.scheme === scheme
      );
      loss += found!.loss;
    }
  }
  return loss;
}

/** Every policy of two layers. */
function allPolicies(schemes: readonly SchemeId[]): Policy[] {
  const pairs = schemes.flatMap((keys) => schemes.map((values) => ({ keys, values })));
  return pairs.flatMap((first) => pairs.map((second) => ({ ...first, layers: { 1: second } })));
}

const losses = fc.array(fc.double({ min: -0.01, max: 1, noNaN: true }), {
  minLength: 20,
  maxLength: 20,
});

for (
  const [tokens, sequences, more] of [
    [512, 1, {}],
    [4096, 3, {
      tiers: { sinks: 4, window: 64 },
      appendTokens: 32,
      shape: { ...BASE.shape, keyValueHeads: [2, 4], slidingWindow: [0, 512] },
    }],
    [Infinity, 1, {}],
  ] as const
) {
  Deno.test(`choosePolicy finds what trying every policy finds, at ${sequences} x ${tokens} tokens`, () => {
    const size = { ...BASE, tokens, sequences, ...more };
    const schemes = SCHEMES.slice(1, 4);
    const bits = new Map(
      allPolicies(schemes).map((policy) => {
        const nominal = [layerOf(policy, 0), layerOf(policy, 1)]
          .flatMap(({ keys, values }) => [keys, values])
          .reduce((sum, id) => sum + Number(id.slice(3)) / Number(id[1]), 0) / 4;
        const counted = tokens === Infinity
          ? nominal
          : plannedBits(policy, { ...size, budgetBits: 1, sensitivities: [] });
        return [policy, { nominal, counted }];
      }),
    );
    const least = Math.min(...[...bits.values()].map(({ counted }) => counted));
    const most = Math.max(...[...bits.values()].map(({ counted }) => counted));
    fc.assert(
      fc.property(losses, fc.double({ min: 0, max: 1, noNaN: true }), (losses, part) => {
        const sensitivities = sensitivitiesOf(losses, schemes);
        const budgetBits = least + part * (most - least);
        const chosen = choosePolicy({ ...size, budgetBits, sensitivities });
        let best = Infinity;
        for (const [policy, { counted }] of bits) {
          if (counted <= budgetBits) best = Math.min(best, lossOf(policy, sensitivities, 2));
        }
        assert.ok(Math.abs(chosen.expectedLoss - best) < 1e-12);
        assert.ok(Math.abs(lossOf(chosen.policy, sensitivities, 2) - best) < 1e-12);
        const found = [...bits].find(([policy]) =>
          [0, 1].every((layer) => {
            const { keys, values } = layerOf(policy, layer);
            const one = layerOf(chosen.policy, layer);
            return one.keys === keys && one.values === values;
          })
        )![1];
        assert.equal(chosen.effectiveBits, found.counted);
        assert.equal(chosen.nominalBits, found.nominal);
      }),
      { seed: 5, numRuns: 100 },
    );
  });
}

Deno.test("choosePolicy chooses for layers with keys and values of their own, of head dimensions of their own", () => {
  const { policy, nominalBits } = choosePolicy({
    ...BASE,
    shape: { ...BASE.shape, layers: 3, headDim: [64, 128, 64], sharesWith: [null, null, 0] },
    budgetBits: 2,
    tokens: Infinity,
    sequences: 1,
    sensitivities: sensitivitiesOf([1], ["u8b8"], 2),
  });
  assert.deepEqual(policy, { keys: "u8b8", values: "u8b8" });
  const { layout } = parseScheme("u8b8");
  const [narrow, wide] = [64, 128].map((headDim) => recordBits(layout(headDim), headDim));
  assert.notEqual(narrow, wide);
  assert.equal(nominalBits, (narrow! + wide!) / 2);
});

Deno.test("choosePolicy loses no more where it may take more bits", () => {
  fc.assert(
    fc.property(losses, fc.double({ min: 1, max: 9, noNaN: true }), (losses, budgetBits) => {
      const options = { ...BASE, tokens: 4096, sequences: 1 };
      const sensitivities = sensitivitiesOf(losses, SCHEMES);
      const lossAt = (budgetBits: number) =>
        choosePolicy({ ...options, sensitivities, budgetBits }).expectedLoss;
      const least = 1.6;
      assert.ok(lossAt(least + budgetBits) <= lossAt(least + budgetBits / 2) + 1e-12);
    }),
    { seed: 6, numRuns: 60 },
  );
});

Deno.test("choosePolicy keeps to the budget that is a policy's own figure", () => {
  const size = { ...BASE, tokens: 1000, sequences: 3, tiers: { sinks: 1, window: 7 } };
  const policy = { keys: "c4b4", values: "c2b4" } as const;
  const budgetBits = plannedBits(policy, { ...size, budgetBits: 1, sensitivities: [] });
  const sensitivities = sensitivitiesOf([0], ["c2b8", "c4b4", "c2b4"]).map((one) => ({
    ...one,
    loss: one.scheme === policy[one.side] ? 0 : 1,
  }));
  const chosen = choosePolicy({ ...size, budgetBits, sensitivities });
  assert.deepEqual(chosen.policy, policy);
  assert.equal(chosen.effectiveBits, budgetBits);
});

Deno.test("choosePolicy prefers small codebooks for few tokens, and large ones for many", () => {
  const loss = { c2b4: 0.02, c4b8: 0.01 } as Record<SchemeId, number>;
  const sensitivities = sensitivitiesOf([0], ["c2b4", "c4b8"]).map((one) => ({
    ...one,
    loss: loss[one.scheme]!,
  }));
  const at = (tokens: number, sequences: number) =>
    choosePolicy({ ...BASE, budgetBits: 4.2, tokens, sequences, sensitivities }).policy;
  assert.deepEqual(at(512, 1), { keys: "c2b4", values: "c2b4" });
  assert.deepEqual(at(512, 8), { keys: "c4b8", values: "c4b8" });
  assert.deepEqual(at(32768, 1), { keys: "c4b8", values: "c4b8" });
});

/** Sensitivities of schemes whose loss is the same in all places. */
function alike(losses: Readonly<Partial<Record<SchemeId, number>>>): Sensitivity[] {
  return sensitivitiesOf([0], Object.keys(losses) as SchemeId[])
    .map((one) => ({ ...one, loss: losses[one.scheme]! }));
}

Deno.test("choosePolicy lets KV heads share centroids for few tokens, and not for many", () => {
  const sensitivities = [
    ...alike({ n8b8x2: 0.01, c4b4: 0.1 }),
    ...alike({ n8b8x2: 0.02 }).map((one) => ({ ...one, shareHeads: true })),
  ];
  const size = { ...BASE, sequences: 1, sensitivities, budgetBits: 3.2 };
  const at = (tokens: number) => choosePolicy({ ...size, tokens });
  const n8b8x2 = { keys: "n8b8x2", values: "n8b8x2" };
  const [few, some, many] = [1024, 4096, 32768].map(at);
  assert.deepEqual(few!.policy, { keys: "c4b4", values: "c4b4" });
  assert.deepEqual(some!.policy, { ...n8b8x2, shareHeads: true });
  assert.match(some!.describe(), /expected loss 0\.0800; KV heads share centroids\n/);
  assert.deepEqual(many!.policy, n8b8x2);
  assert.equal(many!.effectiveBits, plannedBits(many!.policy, { ...size, tokens: 32768 }));
  assert.equal(some!.effectiveBits, plannedBits(some!.policy, { ...size, tokens: 4096 }));
});

Deno.test("choosePolicy offers a scheme that was taken with shared centroids alone beside others", () => {
  const sensitivities = [
    ...alike({ c4b8: 0.05 }),
    ...alike({ n8b8x2: 0.01 }).map((one) => ({ ...one, shareHeads: true })),
  ];
  const size = { ...BASE, tokens: Infinity, sequences: 1, sensitivities };
  assert.deepEqual(choosePolicy({ ...size, budgetBits: 2.2 }).policy, {
    keys: "n8b8x2",
    values: "n8b8x2",
    shareHeads: true,
  });
  assert.deepEqual(choosePolicy({ ...size, budgetBits: 2 }).policy, {
    keys: "c4b8",
    values: "c4b8",
  });
});

Deno.test("choosePolicy counts the exact tokens of unfinished blocks once, where a scheme has blocks", () => {
  const schemes = ["n16b4x4", "u4b8", "c4b4"] as const;
  // What is best depends on whether any side has blocks: those of 64 tokens take 2 bits at 512.
  const losses = { n16b4x4: 0.01, u4b8: 0.005, c4b4: 0.1 } as Record<SchemeId, number>;
  const sensitivities = sensitivitiesOf([0], schemes).map((one, i) => ({
    ...one,
    loss: losses[one.scheme]! * (1 + i / 10),
  }));
  for (const tokens of [512, 4096]) {
    const size = { ...BASE, tokens, sequences: 1, sensitivities, budgetBits: 1 };
    const plans = allPolicies(schemes).map((policy) => ({
      policy,
      bits: plannedBits(policy, size),
      loss: lossOf(policy, sensitivities, 2),
    }));
    for (const budgetBits of [1.9, 2.5, 3.5, 4.5, 6]) {
      const within = plans.filter(({ bits }) => bits <= budgetBits);
      // A few KiB that data-free sides could have in common are counted twice.
      const surely = plans.filter(({ bits }) => bits <= budgetBits - 0.6);
      if (surely.length === 0) continue;
      const { policy, effectiveBits, expectedLoss } = choosePolicy({ ...size, budgetBits });
      assert.ok(effectiveBits <= budgetBits);
      assert.equal(effectiveBits, plannedBits(policy, size));
      const least = (some: typeof plans) => Math.min(...some.map(({ loss }) => loss));
      assert.ok(expectedLoss >= least(within) - 1e-12 && expectedLoss <= least(surely) + 1e-12);
    }
  }
});

Deno.test("choosePolicy takes f16 where the budget allows it, without a sensitivity", () => {
  const sensitivities = sensitivitiesOf([0.5, 0.1], ["c4b8"]);
  const chosen = choosePolicy({
    ...BASE,
    budgetBits: 9,
    tokens: Infinity,
    sequences: 1,
    candidates: ["f16", "c4b8"],
    sensitivities,
  });
  assert.deepEqual(chosen.policy, { keys: "f16", values: "c4b8" });
  assert.equal(chosen.nominalBits, 9);
  assert.ok(Math.abs(chosen.expectedLoss - 0.2) < 1e-12);
});

Deno.test("choosePolicy says what it chose for every layer and side, and what else would cost", () => {
  const { describe } = choosePolicy({
    ...BASE,
    budgetBits: 2,
    tokens: Infinity,
    sequences: 1,
    sensitivities: sensitivitiesOf([0.001, 0.02, 0.3], ["c2b8", "c4b8", "c8b8"]),
  });
  const text = describe();
  assert.match(text, /^2 of 2 bits per channel for codes alone, 2 of them codes/);
  for (const place of ["layer 0 keys", "layer 0 values", "layer 1 keys", "layer 1 values"]) {
    assert.match(
      text,
      new RegExp(
        `${place}: c4b8, loses 0\\.0200; c8b8 would lose 0\\.300 and save 0\\.25 bits; ` +
          `c2b8 would lose 0\\.00100 and take 0\\.5 bits more`,
      ),
    );
  }
});

/** Losses by scheme, and what the description of the scheme chosen says. */
const NEIGHBOURS: readonly {
  readonly name: string;
  readonly losses: Readonly<Partial<Record<SchemeId, number>>>;
  readonly budgetBits: number;
  readonly text: string;
}[] = [
  {
    name: "passes over what takes more and loses more",
    losses: { c8b8: 0.02, c4b8: 0.3, c2b8: 0.001 },
    budgetBits: 1,
    text: "c8b8, loses 0.0200; c2b8 would lose 0.00100 and take 0.75 bits more",
  },
  {
    name: "of those that take as much, names what loses least",
    losses: { c8b8: 0.3, c2b2: 0.2, c4b8: 0.02, c2b8: 0.002, c1b4: 0.001 },
    budgetBits: 2,
    text: "c4b8, loses 0.0200; c2b2 would lose 0.200 and save 0.25 bits; " +
      "c1b4 would lose 0.00100 and take 0.5 bits more",
  },
  {
    name: "names nothing larger where all of it loses more",
    losses: { c8b8: 0.02, c4b8: 0.3 },
    budgetBits: 4,
    text: "c8b8, loses 0.0200",
  },
];

for (const { name, losses, budgetBits, text } of NEIGHBOURS) {
  Deno.test(`choosePolicy's description ${name}`, () => {
    const schemes = Object.keys(losses) as SchemeId[];
    const { describe } = choosePolicy({
      ...BASE,
      budgetBits,
      tokens: Infinity,
      sequences: 1,
      sensitivities: sensitivitiesOf([0], schemes)
        .map((one) => ({ ...one, loss: losses[one.scheme]! })),
    });
    for (const line of describe().split("\n").slice(1)) {
      assert.equal(line.replace(/^layer \d (keys|values): /, ""), text);
    }
  });
}

Deno.test("choosePolicy is exact to a thousandth of the loss with 160 sides and 11 schemes", () => {
  const layers = 80;
  const schemes = SCHEMES.concat("c1b1", "c2b2", "c8b10", "c16b12", "c1b2", "c1b4");
  // Losses that fall by a factor of four a bit, as errors do, of sides that differ by a factor of a hundred.
  const sensitivities = sensitivitiesOf([0], schemes, layers).map((one, i) => ({
    ...one,
    loss: 10 ** ((Math.floor(i / schemes.length) * 7 % 16) / 8) *
      4 ** -(Number(one.scheme.split("b")[1]) / Number(/\d+/.exec(one.scheme)![0])) *
      (1 + 0.3 * Math.sin(i)),
  }));
  const shape = { ...BASE.shape, layers };
  const options = { ...BASE, shape, tokens: 8192, sequences: 1, budgetBits: 2.2, sensitivities };
  const chosen = choosePolicy(options);
  assert.ok(chosen.effectiveBits <= 2.2);
  assert.deepEqual(choosePolicy(options).policy, chosen.policy);
  // The Lagrangian dual bounds every policy's loss from below.
  const bits = new Map(schemes.map((scheme) => [
    scheme,
    plannedBits({ keys: scheme, values: scheme }, options),
  ]));
  let bound = 0;
  for (let price = 1e-3; price < 1e5; price *= 1.01) {
    let sum = -price * options.budgetBits * 2 * layers;
    for (let first = 0; first < sensitivities.length; first += schemes.length) {
      const side = sensitivities.slice(first, first + schemes.length);
      sum += Math.min(...side.map(({ scheme, loss }) => loss + price * bits.get(scheme)!));
    }
    bound = Math.max(bound, sum);
  }
  assert.ok(chosen.expectedLoss >= bound - 1e-9);
  assert.ok(
    chosen.expectedLoss < 1.001 * bound,
    `${chosen.expectedLoss}, and no policy loses less than ${bound}`,
  );
});

const GOOD: ChoosePolicyOptions = {
  ...BASE,
  budgetBits: 2,
  tokens: Infinity,
  sequences: 1,
  sensitivities: sensitivitiesOf([0.1], ["c4b8", "c8b8"]),
};

const BAD: readonly [string, Partial<ChoosePolicyOptions>, CoupletErrorCode, RegExp][] = [
  ["a budget of zero", { budgetBits: 0 }, "usage", /budget is 0 bits/],
  ["a budget that is no number", { budgetBits: NaN }, "usage", /NaN/],
  ["tokens that are no count", { tokens: 0.5 }, "usage", /tokens is 0\.5/],
  ["no sequences", { sequences: 0 }, "usage", /sequences is 0/],
  ["no tokens to append", { appendTokens: 0 }, "usage", /appendTokens is 0/],
  ["no schemes", { sensitivities: [] }, "usage", /no scheme/],
  [
    "a sensitivity that is missing",
    { sensitivities: GOOD.sensitivities.slice(1) },
    "usage",
    /no sensitivity of the c4b8 keys of layer 0\b/,
  ],
  [
    "candidates that were not measured",
    { candidates: ["c4b8", "c2b8"] },
    "usage",
    /c2b8 keys of layer 0, c2b8 values of layer 0, c2b8 keys of layer 1 and 1 more/,
  ],
  [
    "a sensitivity that comes twice",
    { sensitivities: [...GOOD.sensitivities, GOOD.sensitivities[0]!] },
    "usage",
    /comes twice/,
  ],
  [
    "a sensitivity with shared centroids that is missing",
    {
      sensitivities: [
        ...sensitivitiesOf([0.1], ["n8b8x2"]),
        ...sensitivitiesOf([0.1], ["n8b8x2"]).slice(1).map((one) => ({ ...one, shareHeads: true })),
      ],
    },
    "usage",
    /no sensitivity of the n8b8x2 shared keys of layer 0/,
  ],
  [
    "a sensitivity that is not finite",
    { sensitivities: GOOD.sensitivities.map((one) => ({ ...one, loss: NaN })) },
    "usage",
    /c4b8 keys of layer 0 is NaN/,
  ],
  [
    "a scheme nobody knows",
    { sensitivities: sensitivitiesOf([1], ["c5b8" as SchemeId]) },
    "scheme",
    /c5b8/,
  ],
  [
    "a budget that no policy meets, naming the smallest that there is",
    { budgetBits: 0.9 },
    "usage",
    /smallest policy \(c8b8\/c8b8\) takes 1 for codes alone.*Allow 1 bits/,
  ],
  [
    "a budget that codebooks exceed, naming the smallest policy",
    { budgetBits: 2, tokens: 512 },
    "usage",
    /budget is 2 bits per channel, and the smallest policy \(c8b8\/c8b8\) takes 6\.\d+ for 1 sequence of 512/,
  ],
];

for (const [name, change, code, words] of BAD) {
  Deno.test(`choosePolicy refuses ${name}`, () => {
    assert.throws(
      () => choosePolicy({ ...GOOD, ...change }),
      (error) => {
        assert.ok(error instanceof CoupletError);
        assert.equal(error.code, code);
        assert.match(error.message, words);
        return true;
      },
    );
  });
}
