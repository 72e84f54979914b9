/** Calibration of keys that are coded with what they turn from their anchors. */
import assert from "node:assert/strict";
import {
  calibrate,
  type CalibrationSamples,
  checkDrift,
  type CodebookSet,
  CoupletError,
  decodeCodebooks,
  encodeCodebooks,
  estimateSensitivities,
  type RopeParameters,
  type SchemeId,
} from "../../mod.ts";
import { kernels } from "../../generated/kmeans/kmeans.ts";
import { type CodedSpace, samplesAsCoded } from "../../src/calibrate/turned_samples.ts";
import { anchorTurn, anchorTurnOfSquares } from "../../src/model/anchors.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { numbers } from "../helpers/reference.ts";

const TOKENS = 600;
const HEADS = 2;
const HEAD_DIM = 32;
const ANCHORS = [0, 16];
const ROPE: RopeParameters = {
  layout: "interleaved",
  theta: 10000,
  inverseFrequencies: [...Array<number>(8).fill(0.7), ...Array<number>(8).fill(0.03)],
};

const WEIGHTS = numbers(3, TOKENS * HEADS * HEAD_DIM).map((x) => x * x);

const SAMPLES: CalibrationSamples = {
  layer: 0,
  side: "keys",
  keyValueHeads: HEADS,
  headDim: HEAD_DIM,
  values: numbers(2, TOKENS * HEADS * HEAD_DIM),
  positions: Array.from({ length: TOKENS }, (_, token) => token % 200),
  rope: ROPE,
};

const BASE = {
  schemes: { keys: ["c4b4", "n8b4x2"], values: [] },
  keySpace: "anchored",
  model: { name: "none", digest: "0" },
  seed: 1,
  iterations: 4,
} as const;

/** The samples as they are coded, turned here. */
function turnedByHand({ values, weights, ...rest }: CalibrationSamples): CalibrationSamples {
  const turn = anchorTurn(ROPE, HEAD_DIM, ANCHORS);
  const square = anchorTurnOfSquares(ROPE, HEAD_DIM, ANCHORS);
  const rows = (all: Float32Array, of: (row: Float32Array, token: number) => Float64Array) =>
    Float32Array.from(
      Array.from({ length: all.length / HEAD_DIM }, (_, row) => [
        ...of(
          all.subarray(row * HEAD_DIM, (row + 1) * HEAD_DIM),
          rest.positions![Math.floor(row / HEADS)]!,
        ),
      ]).flat(),
    );
  return {
    ...rest,
    values: rows(values, (row, token) => turn(row, token, 1)),
    ...(weights && { weights: rows(weights, square) }),
  };
}

function centroidsOf(set: CodebookSet) {
  return set.codebooks.map(({ scheme, centroids, grid }) => ({ scheme, centroids, grid }));
}

for (const [what, weights] of [["alike", undefined], ["by squared gradients", WEIGHTS]] as const) {
  for (const where of ["the CPU", "a device"] as const) {
    Deno.test(`calibrate() learns anchored keys from what they turn, errors weighted ${what}, on ${where}`, async () => {
      const samples = { ...SAMPLES, ...(weights && { weights }) };
      const work = where === "the CPU" ? {} : { device: await requestTestDevice(), kernels };
      const set = await calibrate({ ...BASE, ...work, samples: [samples] });
      const turned = turnedByHand(samples);
      const byHand = await calibrate({ ...BASE, ...work, keySpace: "pre-rope", samples: [turned] });
      assert.deepEqual([set.keySpace, set.anchors], ["anchored", ANCHORS]);
      assert.deepEqual(centroidsOf(set), centroidsOf(byHand));
      set.codebooks.forEach(({ fit }, i) =>
        fit!.errors.forEach((error, head) => {
          const wanted = byHand.codebooks[i]!.fit!.errors[head]!;
          assert.ok(Math.abs(error - wanted) < 1e-6 * wanted);
        })
      );
      assert.deepEqual(decodeCodebooks(encodeCodebooks(set), { keySpace: "anchored" }), set);
    });
  }
}

Deno.test("checkDrift() and estimateSensitivities() code keys from their anchors, as calibrate() did", async () => {
  const set = await calibrate({ ...BASE, samples: [SAMPLES] });
  for (const { ratio } of checkDrift(set, [SAMPLES]).heads) assert.equal(ratio, 1);
  const weighted = { ...SAMPLES, weights: WEIGHTS };
  const losses = estimateSensitivities(set, [weighted]);
  const other = { ...set, anchors: [0, 512] };
  for (const [i, { loss }] of estimateSensitivities(other, [weighted]).entries()) {
    assert.ok(loss > losses[i]!.loss, "samples that turn otherwise are coded worse");
  }
});

Deno.test("checkDrift() refuses anchors that the samples' rotary embedding cannot have", async () => {
  const { anchors: _, ...without } = await calibrate({ ...BASE, samples: [SAMPLES] });
  for (const anchors of [undefined, [0], [0, 16, 16], [0, 7], [0, -8], [0, 0.5]]) {
    assert.throws(
      () => checkDrift({ ...without, ...(anchors && { anchors }) }, [SAMPLES]),
      (error) => error instanceof CoupletError && error.code === "codebook",
    );
  }
});

Deno.test("calibrate() learns the same of schemes that have no anchors in the space before the rotary embedding", async () => {
  const schemes = { keys: ["v4b8"] as SchemeId[], values: [] };
  const [anchored, before] = await Promise.all(
    (["anchored", "pre-rope"] as const).map((keySpace) =>
      calibrate({ ...BASE, schemes, keySpace, samples: [SAMPLES] })
    ),
  );
  assert.deepEqual(centroidsOf(anchored!), centroidsOf(before!));
});

Deno.test("samplesAsCoded() turns keys and the squared gradients of their channels, and nothing else", () => {
  const space = { keySpace: "anchored", anchors: ANCHORS } as const;
  // Pairs that lie apart, so that groups of channels get other weights.
  const rope: RopeParameters = { ...ROPE, layout: "half" };
  const plain = { ...SAMPLES, rope, weights: WEIGHTS };
  const turn = anchorTurn(rope, HEAD_DIM, ANCHORS);
  const square = anchorTurnOfSquares(rope, HEAD_DIM, ANCHORS);
  const { values, weights } = samplesAsCoded(plain, "c4b4", space);
  for (const [token, head] of [[0, 0], [7, 1], [205, 0], [599, 1]] as const) {
    const at = (token * HEADS + head) * HEAD_DIM;
    const own = (all: Float32Array) => all.subarray(at, at + HEAD_DIM);
    const position = SAMPLES.positions![token]!;
    assert.deepEqual(own(values), Float32Array.from(turn(own(plain.values), position, 1)));
    assert.deepEqual(own(weights!), Float32Array.from(square(own(WEIGHTS), position)));
  }
  const byHead = { ...plain, weights: WEIGHTS.slice(0, TOKENS * HEADS) };
  assert.ok(samplesAsCoded(byHead, "c4b4", space).weights === byHead.weights);
  const kept: [CalibrationSamples, SchemeId, CodedSpace][] = [
    [{ ...plain, side: "values" }, "c4b4", space],
    [plain, "c4b4", { keySpace: "pre-rope" }],
    [plain, "v4b8", space],
    [plain, "kc2", space],
  ];
  for (const [samples, scheme, own] of kept) {
    assert.ok(samplesAsCoded(samples, scheme, own) === samples, scheme);
  }
});

const { positions: _positions, ...WITHOUT_POSITIONS } = SAMPLES;
const { rope: _rope, ...WITHOUT_ROPE } = SAMPLES;

const REFUSED: readonly [Partial<Parameters<typeof calibrate>[0]>, string, RegExp][] = [
  [{ samples: [WITHOUT_ROPE] }, "samples", /no samples of keys have the model's rotary/],
  [{ samples: [WITHOUT_POSITIONS] }, "samples", /have no positions/],
  [{ samples: [{ ...SAMPLES, positions: [1] }] }, "shape", /1 positions for 600 tokens/],
  [
    { samples: [{ ...SAMPLES, positions: [...Array.from(SAMPLES.positions!), 1] }] },
    "shape",
    /601 positions for 600 tokens/,
  ],
  [
    { samples: [SAMPLES, { ...SAMPLES, layer: 1, rope: { layout: "half", theta: 100 } }] },
    "samples",
    /turn otherwise/,
  ],
  [{ samples: [SAMPLES], keySpace: "pre-rope", anchor: {} }, "usage", /have no anchors/],
  [{ samples: [SAMPLES], anchor: { radians: -1 } }, "usage", /anchor.radians/],
];

for (const [options, code, why] of REFUSED) {
  Deno.test(`calibrate() refuses anchored keys: ${why.source}`, async () => {
    await assert.rejects(
      calibrate({ ...BASE, samples: [], ...options }),
      (error) => error instanceof CoupletError && error.code === code && why.test(error.message),
    );
  });
}
