import assert from "node:assert/strict";
import {
  calibrate,
  type CalibrationSamples,
  checkDrift,
  type CodebookSet,
  CoupletError,
  type CoupletErrorCode,
  decodeCodebooks,
  type DriftOptions,
  encodeCodebooks,
  type Policy,
  type Side,
} from "../../mod.ts";
import { roundToGrid } from "../../src/codebooks/grid.ts";
import { seededRandom } from "../../src/base/random.ts";
import { correlated } from "../helpers/kmeans.ts";

const HEADS = 2;
const HEAD_DIM = 8;
const VECTOR = HEADS * HEAD_DIM;

/** Vectors whose channels correlate by 0.6 in head 0 and 0.9 in head 1. */
function samplesOf(side: Side, seed: number, tokens = 1024): CalibrationSamples {
  return {
    layer: 0,
    side,
    keyValueHeads: HEADS,
    headDim: HEAD_DIM,
    values: correlated(tokens, [0.6, 0.9], HEAD_DIM, seededRandom("drift", side, seed)),
  };
}

const set = await calibrate({
  samples: [samplesOf("keys", 1, 4096), samplesOf("values", 1, 4096)],
  schemes: { keys: ["c4b4", "c8b5"], values: ["c4b4"] },
  keySpace: "pre-rope",
  model: { name: "noise", digest: "0" },
  seed: 1,
});

/** The live samples with each head's vectors changed. */
function changed(
  change: (vector: Float32Array, head: number) => ArrayLike<number>,
): CalibrationSamples[] {
  return (["keys", "values"] as const).map((side) => {
    const live = samplesOf(side, 2);
    for (let at = 0; at < live.values.length; at += HEAD_DIM) {
      const vector = live.values.slice(at, at + HEAD_DIM);
      live.values.set(change(vector, at / HEAD_DIM % HEADS), at);
    }
    return live;
  });
}

Deno.test("checkDrift finds none in other samples of the same kind, whatever the scheme", () => {
  const report = checkDrift(set, changed((vector) => vector));
  assert.deepEqual(report.drifted, []);
  assert.equal(report.heads.length, 6);
  assert.equal(report.tokens, 1024);
  for (const { ratio, error, calibrationError } of report.heads) {
    assert.ok(ratio > 0.9 && ratio < 1.2, `${ratio}`);
    assert.ok(error > 0 && Math.abs(error - ratio * calibrationError) < 1e-12);
  }
  assert.match(report.describe(), /^All 6 heads lose about what they lost/);
});

Deno.test("checkDrift looks at vectors, whatever their weights and scales", () => {
  const live = changed((vector) => vector);
  const weighted = live.map((one) => ({
    ...one,
    weights: new Float32Array(one.values.length).fill(NaN),
    scale: new Float32Array(VECTOR),
  }));
  assert.deepEqual(checkDrift(set, weighted).heads, checkDrift(set, live).heads);
});

const DRIFTS: readonly [
  string,
  (vector: Float32Array, head: number) => ArrayLike<number>,
  readonly number[],
][] = [
  ["channels in another order", (vector) => [1, 6, 3, 0, 5, 2, 7, 4].map((i) => vector[i]!), [
    0,
    1,
  ]],
  ["larger vectors", (vector) => vector.map((x) => 2 * x), [0, 1]],
  ["smaller vectors", (vector) => vector.map((x) => 0.5 * x), [0, 1]],
  ["shifted vectors", (vector) => vector.map((x) => x + 2), [0, 1]],
  [
    "one head that changes sign in every other channel",
    (vector, head) => head === 0 ? vector : vector.map((x, i) => i % 2 === 0 ? x : -x),
    [1],
  ],
];

for (const [name, change, heads] of DRIFTS) {
  Deno.test(`checkDrift finds ${name}`, () => {
    const { drifted, describe } = checkDrift(set, changed(change));
    const found = new Set(drifted.map(({ side, scheme, head }) => `${side} ${scheme} ${head}`));
    assert.deepEqual(
      found,
      new Set(
        ["keys c4b4", "keys c8b5", "values c4b4"].flatMap((where) =>
          heads.map((head) => `${where} ${head}`)
        ),
      ),
    );
    assert.ok(drifted.every((one, i) => i === 0 || one.ratio <= drifted[i - 1]!.ratio));
    assert.match(
      describe(),
      new RegExp(`^${drifted.length} of 6 heads lose more than 1\\.3 times`),
    );
  });
}

Deno.test("checkDrift says the fewest tokens that it compared, and how many heads it does not name", () => {
  const short = [samplesOf("keys", 2), samplesOf("values", 2, 300)];
  for (const live of [short, short.toReversed()]) assert.equal(checkDrift(set, live).tokens, 300);
  const larger = changed((vector) => vector.map((x) => 2 * x));
  const lines = checkDrift(set, [...larger, ...larger]).describe().split("\n");
  assert.equal(lines.length, 1 + 8 + 1);
  assert.equal(lines.at(-1), "and 4 more");
});

Deno.test("checkDrift overlooks multiples of an error that is negligible", () => {
  const live = changed((vector) => vector);
  const nearlyExact = (error: number): CodebookSet => ({
    ...set,
    codebooks: set.codebooks.map((one) => ({
      ...one,
      fit: { errors: Float32Array.of(error, error), variances: Float32Array.of(1, 1) },
    })),
  });
  const { heads } = checkDrift(set, live);
  const least = Math.min(...heads.map(({ error }) => error));
  const multiple = checkDrift(nearlyExact(least - 0.009), live, { threshold: 1.01 });
  assert.ok(!multiple.drifted.some(({ error }) => error === least));
  const beyond = checkDrift(nearlyExact(least - 0.011), live, { threshold: 1.01 });
  assert.ok(beyond.drifted.some(({ error }) => error === least));
});

for (
  const [name, policy] of [
    ["codebooks", { keys: "c8b5", values: "c4b4" }],
    ["exceptions", {
      keys: "c4b4",
      values: "c8b5",
      layers: { 0: { keys: "c8b5", values: "c4b4" } },
    }],
    ["codebooks, where another layer is the exception", {
      keys: "c8b5",
      values: "c4b4",
      layers: { 1: { keys: "c4b4", values: "c8b5" } },
    }],
  ] satisfies [string, Policy][]
) {
  Deno.test(`checkDrift checks a policy's ${name} alone`, () => {
    const { heads } = checkDrift(set, changed((vector) => vector), { policy });
    assert.deepEqual(
      new Set(heads.map(({ side, scheme }) => `${side} ${scheme}`)),
      new Set(["keys c8b5", "values c4b4"]),
    );
  });
}

Deno.test("checkDrift compares with the fit that the codebook file keeps", () => {
  const loaded = decodeCodebooks(encodeCodebooks(set));
  const live = changed((vector) => vector);
  assert.deepEqual(checkDrift(loaded, live).heads, checkDrift(set, live).heads);
  const exact = checkDrift(set, [samplesOf("keys", 1, 4096), samplesOf("values", 1, 4096)]);
  assert.ok(exact.heads.every(({ ratio }) => ratio === 1));
});

Deno.test("checkDrift of heads without variance: what is coded exactly fits, what is not does not", () => {
  const still = (value: number): CalibrationSamples => ({
    ...samplesOf("keys", 1, 256),
    values: new Float32Array(256 * VECTOR).fill(value),
  });
  const ofStill: CodebookSet = {
    ...set,
    codebooks: [{
      ...set.codebooks.find(({ side, scheme }) => side === "keys" && scheme === "c4b4")!,
      ...roundToGrid(new Float32Array(16 * VECTOR), "c4b4"),
      fit: { errors: new Float32Array(HEADS), variances: new Float32Array(HEADS) },
    }],
  };
  assert.deepEqual(checkDrift(ofStill, [still(0)]).heads.map(({ ratio }) => ratio), [1, 1]);
  assert.equal(checkDrift(ofStill, [still(1)]).drifted.length, HEADS);
});

const LIVE = samplesOf("keys", 2);
const WITHOUT_FIT: CodebookSet = {
  ...set,
  codebooks: set.codebooks.map(({ fit: _fit, ...codebook }) => codebook),
};

const BAD: readonly [
  string,
  CodebookSet,
  CalibrationSamples,
  DriftOptions,
  CoupletErrorCode,
  RegExp,
][] = [
  ["a threshold below 1", set, LIVE, { threshold: 0.9 }, "usage", /threshold is 0\.9/],
  ["a layer without codebooks", set, { ...LIVE, layer: 3 }, {}, "codebook", /keys of layer 3/],
  [
    "a policy that the set does not cover",
    set,
    LIVE,
    { policy: { keys: "c8b8", values: "c8b8" } },
    "codebook",
    /no codebook for them and c8b8/,
  ],
  ["codebooks without a fit", WITHOUT_FIT, LIVE, {}, "codebook", /does not know how well/],
  [
    "vectors of another shape",
    set,
    { ...LIVE, keyValueHeads: 1, headDim: 16 },
    {},
    "codebook",
    /2 heads of 8 channels, and they have 1 of 16/,
  ],
  [
    "vectors of other heads",
    set,
    { ...LIVE, keyValueHeads: 1 },
    {},
    "codebook",
    /2 heads of 8 channels, and they have 1 of 8/,
  ],
  [
    "a value that is none",
    set,
    {
      ...LIVE,
      values: LIVE.values.map((x, i) => i === 70 ? NaN : x),
    },
    {},
    "samples",
    /token 4, head 0, channel 6 is NaN/,
  ],
  [
    "keys without positions where codes hold a part of their rotation",
    { ...set, keySpace: "anchored", anchors: [8] },
    LIVE,
    {},
    "samples",
    /c4b4 codes keys with their rotary embedding, and the samples have no rope/,
  ],
  ["too few tokens", set, samplesOf("keys", 2, 255), {}, "samples", /there are 255 tokens/],
];

for (const [name, codebooks, samples, options, code, words] of BAD) {
  Deno.test(`checkDrift refuses ${name}`, () => {
    assert.throws(
      () => checkDrift(codebooks, [samples], options),
      (error) => {
        assert.ok(error instanceof CoupletError);
        assert.equal(error.code, code);
        assert.match(error.message, words);
        return true;
      },
    );
  });
}
