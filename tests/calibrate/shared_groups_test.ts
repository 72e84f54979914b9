/** Codebooks that all groups of a KV head share, and the choice of their transforms. */
import assert from "node:assert/strict";
import {
  calibrate,
  type CalibrationOptions,
  type CalibrationSamples,
  checkDrift,
  type Codebook,
  type RopeParameters,
  rotate,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { seededRandom } from "../../src/base/random.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";
import { centroidNumbers } from "../../src/codebooks/grid.ts";
import { chooseTransforms, shareGroups } from "../../src/calibrate/shared_groups.ts";

const TOKENS = 640;
const HEADS = 2;
const HEAD_DIM = 32;
const SCHEME = "v4b8";
const ROPE: RopeParameters = { layout: "half", theta: 10000 };
const POSITIONS = Array.from({ length: TOKENS }, (_, token) => token % 160);

/** Keys of one layer: `of` gives a channel's number of a token from a random number around 0. */
function keysOf(of: (noise: number, head: number, channel: number) => number): CalibrationSamples {
  const random = seededRandom("shared");
  const noise = () => random.next() + random.next() + random.next() - 1.5;
  return {
    layer: 0,
    side: "keys",
    keyValueHeads: HEADS,
    headDim: HEAD_DIM,
    values: Float32Array.from(
      { length: TOKENS * HEADS * HEAD_DIM },
      (_, i) => of(noise(), Math.floor(i / HEAD_DIM) % HEADS, i % HEAD_DIM),
    ),
  };
}

async function learn(
  samples: CalibrationSamples,
  more: Partial<CalibrationOptions> = {},
): Promise<Codebook> {
  const { codebooks } = await calibrate({
    samples: [samples],
    schemes: { keys: [SCHEME], values: [SCHEME] },
    keySpace: "as-scored",
    model: { name: "test", digest: "test" },
    seed: 1,
    iterations: 8,
    ...more,
  });
  return codebooks[0]!;
}

/** Each head's factors and means. */
function transformsOf({ transform }: Codebook) {
  const numbers = [...fromFloat16Array(transform!)];
  return Array.from({ length: HEADS }, (_, head) => {
    const own = numbers.slice(2 * HEAD_DIM * head, 2 * HEAD_DIM * (head + 1));
    const part = (odd: number) => own.filter((_, i) => i % 2 === odd);
    return { factors: part(0), means: part(1) };
  });
}

const lostShare = ({ fit }: Codebook, head: number) => fit!.errors[head]! / fit!.variances[head]!;

/** Head 0 has a few loud channels among quiet ones in each group, head 1 channels with means. */
const MIXED = keysOf((noise, head, channel) =>
  head === 0 ? (channel === 5 ? 30 : 1) * noise : noise + (channel % 5) - 2
);

Deno.test("calibrate() learns one codebook for all groups, and a transform for each head", async () => {
  const codebook = await learn(MIXED);
  assert.equal(codebook.centroids.length, HEADS * 256 * 4);
  assert.equal(codebook.grid.length, HEADS * 4 * 2);
  const [, centred] = transformsOf(codebook);
  // A mean that differs from group to group would cost a shared codebook much.
  assert.ok(centred!.means.some((mean) => mean !== 0));
  assert.ok(lostShare(codebook, 0) < 0.2, `${lostShare(codebook, 0)}`);
  assert.ok(lostShare(codebook, 1) < 0.2, `${lostShare(codebook, 1)}`);
});

Deno.test("calibrate() rotates values that sparse numbers dominate, and leaves two-valued ones", async () => {
  const random = seededRandom("sparse");
  // Channels of head 0 are all but one zero; those of head 1 are one of two numbers, which 256 centroids hold exactly.
  const values = { ...keysOf((noise, head) => head === 0 ? 0 : Math.sign(noise)), side: "values" };
  for (let token = 0; token < TOKENS; token++) {
    const at = token * HEADS * HEAD_DIM;
    values.values[at + random.below(HEAD_DIM)] = 4 * (random.next() - 0.5);
  }
  const codebook = await learn(values as CalibrationSamples);
  assert.ok(transformsOf(codebook)[1]!.factors.every((factor) => factor === 0));
  assert.ok(lostShare(codebook, 1) < 1e-3);
});

Deno.test("calibrate() learns the same from keys before the rotary embedding with positions as from keys as scored", async () => {
  const before = { ...MIXED, positions: POSITIONS, rope: ROPE };
  const values = new Float32Array(MIXED.values.length);
  for (let at = 0; at < values.length; at += HEAD_DIM) {
    const position = POSITIONS[Math.floor(at / (HEADS * HEAD_DIM))]!;
    values.set(rotate(MIXED.values.subarray(at, at + HEAD_DIM), position, ROPE), at);
  }
  const [turned, scored] = [
    await learn(before, { keySpace: "pre-rope" }),
    await learn({ ...MIXED, values }),
  ];
  for (const head of [0, 1]) {
    const ratio = turned.fit!.errors[head]! / scored.fit!.errors[head]!;
    assert.ok(Math.abs(ratio - 1) < 0.02, `${ratio}`);
  }
  const set = {
    model: { name: "test", digest: "test" },
    keySpace: "pre-rope" as const,
    provenance: { source: "", tokens: TOKENS, seed: 1, iterations: 8 },
    codebooks: [turned],
  };
  assert.equal(checkDrift(set, [before]).drifted.length, 0);
  assert.throws(() => checkDrift(set, [MIXED]), { code: "samples", message: /no rope/ });
});

Deno.test("calibrate() weighs errors, and a scale counts as its square", async () => {
  const weights = MIXED.values.map((_, i) => i % HEAD_DIM < 16 ? 16 : 1);
  const scale = Float32Array.from(
    { length: HEADS * HEAD_DIM },
    (_, i) => i % HEAD_DIM < 16 ? 4 : 1,
  );
  const weighted = await learn({ ...MIXED, weights });
  const scaled = await learn({ ...MIXED, scale });
  assert.deepEqual(scaled, weighted);
  assert.notDeepEqual(weighted.centroids, (await learn(MIXED)).centroids);
});

Deno.test("calibrate() on a device chooses what it chooses on the CPU, with nearly the same error", async () => {
  const device = await requestTestDevice();
  const [cpu, gpu] = [await learn(MIXED), await learn(MIXED, { device, kernels: manifest })];
  for (const head of [0, 1]) {
    const ratio = gpu.fit!.errors[head]! / cpu.fit!.errors[head]!;
    assert.ok(Math.abs(ratio - 1) < 0.05, `${ratio}`);
  }
  device.destroy();
});

Deno.test("calibrate() says what samples lack", async () => {
  const cases: [Partial<CalibrationSamples>, string, RegExp][] = [
    [{}, "samples", /codes keys with their rotary embedding, and the samples have no rope/],
    [{ rope: ROPE }, "samples", /have no positions/],
    [{ rope: ROPE, positions: [1, 2] }, "shape", /2 positions for 640 tokens/],
    [
      { rope: ROPE, positions: [0], values: MIXED.values.subarray(0, HEADS * HEAD_DIM) },
      "samples",
      /8 samples for the 256 centroids of v4b8.*at least 32 tokens/,
    ],
  ];
  for (const [change, code, message] of cases) {
    await assert.rejects(learn({ ...MIXED, ...change }, { keySpace: "pre-rope" }), {
      code,
      message,
    });
  }
});

/** Samples of which every number is its token's, weights as well. */
function tokensOf(tokens: number): CalibrationSamples {
  const numbers = Float32Array.from(
    { length: tokens * HEADS * HEAD_DIM },
    (_, i) => Math.floor(i / (HEADS * HEAD_DIM)),
  );
  return {
    layer: 0,
    side: "keys",
    keyValueHeads: HEADS,
    headDim: HEAD_DIM,
    values: numbers,
    weights: numbers,
  };
}

/** The tokens that a shared codebook is learned from, with the transform that changes nothing, and their weights. */
function learnedOf(tokens: number) {
  const { points, transforms, compared } = shareGroups(tokensOf(tokens), SCHEME, undefined);
  const columns = transforms.flat().length;
  const groups = HEAD_DIM / 4;
  const row = (at: number) => at * groups * columns;
  const count = points.values.length / (4 * groups * columns);
  const rows = Array.from({ length: count }, (_, at) => at);
  return {
    learned: rows.map((at) => points.values[4 * row(at)]!),
    weights: rows.map((at) => points.weights![row(at)]!),
    compared,
  };
}

Deno.test("shareGroups() learns from all tokens where they are few, and compares on them", () => {
  const all = Array.from({ length: 300 }, (_, token) => token);
  const { learned, weights, compared } = learnedOf(300);
  assert.deepEqual(learned, all);
  assert.deepEqual(weights, all);
  assert.deepEqual(compared, Array.from({ length: 256 }, (_, i) => Math.floor(i * 300 / 256)));
});

Deno.test("shareGroups() of many tokens compares on every eighth, and learns from others, evenly spread", () => {
  const { learned, weights, compared } = learnedOf(6000);
  assert.equal(learned.length, 4096);
  assert.deepEqual(weights, learned);
  assert.ok(learned.every((token) => token % 8 !== 7));
  assert.ok(learned.at(-1)! > 5990);
  assert.ok(learned.every((token, i) => i === 0 || [1, 2, 3].includes(token - learned[i - 1]!)));
  assert.equal(compared.length, 256);
  assert.ok(compared.every((token) => token % 8 === 7));
  assert.ok(compared.at(-1)! > 5950 && compared[0]! === 7);
});

Deno.test("shareGroups() weighs a group by its own errors, and rotated ones by all of a token's, in units of the factors", () => {
  const plain = tokensOf(40);
  // Weights of two levels, by group; keys whose channels are smoothed by 1 and 4.
  const weights = plain.values.map((_, i) => i % HEAD_DIM < 8 ? 3 : 1);
  const values = plain.values.map((_, i) => (i % HEAD_DIM < 16 ? 1 : 16) * (i % 3 - 1));
  const { points, transforms } = shareGroups({ ...plain, values, weights }, SCHEME, undefined);
  const columns = transforms.flat().length;
  const weightsOf = (column: number) =>
    Array.from({ length: 8 }, (_, group) => points.weights![group * columns + column]!);
  const [unrotated, rotated] = [0, 2].map(weightsOf);
  assert.deepEqual(transforms[0]!.map((own) => own[0] !== 0), [false, false, true, true]);
  assert.deepEqual(unrotated, [3, 3, 1, 1, 1, 1, 1, 1]);
  // The mean of 8 x 3, 8 x 1 and 16 x 1 x 4^2.
  assert.deepEqual(rotated, new Array(8).fill(9));
});

Deno.test("chooseTransforms() keeps the transform whose errors weigh least, by weights or by a scale", () => {
  // Half of each vector is 1, half is 3, and either is coded exactly.
  const values = Float32Array.from(
    { length: 64 * HEAD_DIM },
    (_, i) => i % HEAD_DIM < 16 ? 1 : 3,
  );
  const samples = { ...MIXED, keyValueHeads: 1, values };
  const none = new Float64Array(2 * HEAD_DIM);
  const shared = {
    points: samples,
    transforms: [[none, none]],
    compared: Array.from({ length: 64 }, (_, token) => token),
  };
  const centroids = [1, 3].map((number) => new Float64Array(256 * 4).fill(number));
  const chosen = (more: Partial<CalibrationSamples>) => {
    const found = chooseTransforms(shared, { ...samples, ...more }, SCHEME, undefined, centroids);
    return centroidNumbers({ scheme: SCHEME, ...found })[0];
  };
  const heavy = (half: number, factor: number) => (_: unknown, i: number) =>
    Math.floor(i % HEAD_DIM / 16) === half ? factor : 1;
  const ones = new Float32Array(HEAD_DIM).fill(1);
  for (const [half, number] of [[0, 1], [1, 3]] as const) {
    assert.equal(chosen({ weights: values.map(heavy(half, 2)) }), number);
    assert.equal(chosen({ scale: ones.map(heavy(half, 2)) }), number);
  }
  // Of equal ones, the first.
  assert.equal(chosen({}), 1);
});
