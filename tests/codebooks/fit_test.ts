/** How well codebooks code samples, and what that costs a model: by definition, on centroids that are easy to see. */
import assert from "node:assert/strict";
import {
  type CalibrationSamples,
  type Codebook,
  type CodebookSet,
  estimateSensitivities,
  type Side,
} from "../../mod.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";
import { seededRandom } from "../../src/base/random.ts";
import { roundToGrid } from "../../src/codebooks/grid.ts";
import { measureFit, visitCoded } from "../../src/codebooks/fit.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";
import { addedCodebook } from "../helpers/grid_numbers.ts";

const HEADS = 2;
const HEAD_DIM = 4;
const CHANNELS = HEADS * HEAD_DIM;

/** Two centroids for each channel of each head: the channel's number, and that and `distance`. */
function codebookOf(layer: number, side: Side, distance: number): Codebook {
  const numbers = Array.from(
    { length: CHANNELS },
    (_, channel) => [channel, channel + distance],
  ).flat();
  return {
    layer,
    side,
    scheme: "c1b1",
    keyValueHeads: HEADS,
    headDim: HEAD_DIM,
    ...roundToGrid(numbers, "c1b1"),
  };
}

function samplesOf(layer: number, side: Side, tokens: number): CalibrationSamples {
  const random = seededRandom("fit", layer, side);
  return {
    layer,
    side,
    keyValueHeads: HEADS,
    headDim: HEAD_DIM,
    values: Float32Array.from(
      { length: tokens * CHANNELS },
      // Larger from token to token, so that no part of them stands for all.
      (_, i) => (i % CHANNELS) + random.next() * (1 + i / CHANNELS / tokens),
    ),
    weights: Float32Array.from({ length: tokens * CHANNELS }, () => random.next()),
  };
}

/** Squared distance of a number to the nearer of its channel's centroids. */
function squaredError(value: number, channel: number, distance: number): number {
  return Math.min((value - channel) ** 2, (value - channel - distance) ** 2);
}

function near(found: number, wanted: number): void {
  assert.ok(Math.abs(found / wanted - 1) < 1e-3, `${found}, not ${wanted}`);
}

/** The tokens that are looked at: at most so many, spread evenly. */
function spread(tokens: number, most: number): number[] {
  const count = Math.min(tokens, most);
  return Array.from({ length: count }, (_, i) => Math.floor((i * tokens) / count));
}

for (const tokens of [300, 512, 1300]) {
  Deno.test(`measureFit() of ${tokens} tokens gives each head's errors and variances by channel`, () => {
    const { values } = samplesOf(0, "keys", tokens);
    const fit = measureFit(codebookOf(0, "keys", 0.5), values);
    const seen = spread(tokens, 512);
    for (let head = 0; head < HEADS; head++) {
      let error = 0;
      let variance = 0;
      for (let i = 0; i < HEAD_DIM; i++) {
        const channel = head * HEAD_DIM + i;
        const own = seen.map((token) => values[token * CHANNELS + channel]!);
        const mean = own.reduce((sum, x) => sum + x, 0) / own.length;
        for (const value of own) {
          error += squaredError(value, channel, 0.5) / (own.length * HEAD_DIM);
          variance += (value - mean) ** 2 / (own.length * HEAD_DIM);
        }
      }
      near(fit.errors[head]!, error);
      near(fit.variances[head]!, variance);
    }
  });
}

Deno.test("visitCoded() codes whole blocks of neighbours, each token turned by its own place", () => {
  const headDim = 32;
  const scheme = parseScheme("u4b8");
  const codebook = {
    scheme: "u4b8" as const,
    centroids: scheme.codebookSpec!.definition!(headDim),
    keyValueHeads: HEADS,
    headDim,
  };
  const random = seededRandom("blocks");
  const values = Float32Array.from({ length: 300 * HEADS * headDim }, () => random.next() - 0.5);
  // A shift by a token's number in place of an angle.
  const turn = (vector: ArrayLike<number>, token: number, direction: 1 | -1) =>
    Float64Array.from(vector, (_, i) => vector[(i + headDim + direction * (token % 7)) % headDim]!);
  const centroids = fromFloat16Array(codebook.centroids);
  for (const context of [{}, { turn }, { scored: true }]) {
    const seen: number[][] = [[], []];
    const found = new Map<number, Float64Array>();
    const count = visitCoded(codebook, values, 150, (head, vector, decoded, at) => {
      assert.deepEqual(vector, values.subarray(at, at + headDim));
      seen[head]!.push((at / headDim - head) / HEADS);
      found.set(at, decoded);
    }, context);
    // Of four whole blocks and a rest, two that are spread.
    const tokens = [0, 128].flatMap((first) => Array.from({ length: 64 }, (_, i) => first + i));
    assert.equal(count, 128);
    assert.deepEqual(seen, [tokens, tokens]);
    for (let head = 0; head < HEADS; head++) {
      const places = tokens.slice(64).map((token) => (token * HEADS + head) * headDim);
      const wanted = roundTrip(scheme, places.map((at) => values.subarray(at, at + headDim)), {
        centroids,
        ...context,
        ...("turn" in context
          ? { turn: (vector, token, direction) => turn(vector, 128 + token, direction) }
          : {}),
      });
      places.forEach((at, i) => assert.deepEqual(found.get(at), wanted[i]));
    }
  }
});

Deno.test("estimateSensitivities() is half the weighted squared error of a token, for each side's own codebooks", () => {
  const distances = { keys: [0.5, 0.25], values: [0.75, 0.3] } as const;
  const places = ([0, 1] as const).flatMap((layer) =>
    (["keys", "values"] as const).map((side) => ({ layer, side }))
  );
  const set: CodebookSet = {
    model: { name: "none", digest: "0" },
    keySpace: "as-scored",
    provenance: { source: "by hand", tokens: 0, seed: 0, iterations: 0 },
    codebooks: places.map(({ layer, side }) => codebookOf(layer, side, distances[side][layer])),
  };
  const samples = places.map(({ layer, side }) => samplesOf(layer, side, 200));
  const found = estimateSensitivities(set, samples);
  assert.equal(found.length, 4);
  found.forEach(({ layer, side, scheme, loss }, i) => {
    const { values, weights } = samples[i]!;
    assert.deepEqual({ layer, side, scheme }, { ...places[i]!, scheme: "c1b1" });
    const distance = distances[side][layer as 0 | 1];
    const wanted = values.reduce(
      (sum, value, at) => sum + weights![at]! * squaredError(value, at % CHANNELS, distance) / 2,
      0,
    );
    near(loss, wanted / 200);
  });
});

Deno.test("estimateSensitivities() takes keys for scored ones, and never values", () => {
  const headDim = 32;
  // Waves, as constants of scored keys become.
  const values = Float32Array.from({ length: 128 * headDim }, (_, i) => {
    const [token, channel] = [Math.floor(i / headDim), i % headDim];
    return 8 * Math.cos(token / (1 + channel % 16) + (channel < 16 ? 0 : Math.PI / 2));
  });
  const random = seededRandom("scored");
  const of = (side: Side): CalibrationSamples => ({
    ...{ layer: 0, side, keyValueHeads: 1, headDim },
    values: values.map((value) => value + random.next()),
    weights: new Float32Array(values.length).fill(1),
    positions: Array.from({ length: 128 }, (_, token) => token),
    rope: { layout: "half", theta: 10000 },
  });
  const set: CodebookSet = {
    model: { name: "none", digest: "0" },
    keySpace: "as-scored",
    provenance: { source: "by hand", tokens: 0, seed: 0, iterations: 0 },
    codebooks: [],
  };
  const vectors = of("keys");
  const losses = (keySpace: CodebookSet["keySpace"]) =>
    estimateSensitivities({ ...set, keySpace }, [vectors, { ...vectors, side: "values" }], ["u8b8"])
      .map(({ loss }) => loss);
  const [scoredKeys, values1] = losses("as-scored");
  const [plainKeys, values2] = losses("pre-rope");
  assert.equal(values1, values2);
  assert.equal(new Set([scoredKeys, plainKeys, values1]).size, 3);
});

Deno.test("estimateSensitivities() says where KV heads share centroids, and refuses weights that are not one a channel", () => {
  const own: Codebook = {
    ...{ layer: 0, side: "keys" },
    ...addedCodebook("n8b8x2", HEADS, 32, seededRandom("shared")),
  };
  const shared = { ...own, centroids: own.centroids.slice(0, own.centroids.length / HEADS) };
  const set = (codebook: Codebook): CodebookSet => ({
    model: { name: "none", digest: "0" },
    keySpace: "as-scored",
    provenance: { source: "by hand", tokens: 0, seed: 0, iterations: 0 },
    codebooks: [codebook],
  });
  const random = seededRandom("weights");
  const values = Float32Array.from({ length: 64 * HEADS * 32 }, () => random.next());
  const samples = {
    ...{ layer: 0, side: "keys" as const, keyValueHeads: HEADS, headDim: 32, values },
    weights: values.map(() => random.next()),
  };
  assert.equal(estimateSensitivities(set(shared), [samples])[0]!.shareHeads, true);
  assert.ok(!("shareHeads" in estimateSensitivities(set(own), [samples])[0]!));
  const refused: [Partial<CalibrationSamples>, string, RegExp][] = [
    [{ weights: samples.weights.slice(0, 64 * HEADS) }, "shape", /128 weights for 4096 values/],
    [{ weights: samples.weights.slice(1) }, "shape", /4095 weights/],
    [{ headDim: 64, keyValueHeads: 1 }, "codebook", /2 heads of 32 channels.*have 1 of 64/],
    [{ keyValueHeads: 1 }, "codebook", /2 heads of 32 channels.*have 1 of 32/],
  ];
  for (const [change, code, message] of refused) {
    assert.throws(() => estimateSensitivities(set(own), [{ ...samples, ...change }]), {
      code,
      message,
    });
  }
  const { weights: _, ...unweighted } = samples;
  assert.throws(() => estimateSensitivities(set(own), [unweighted]), { code: "samples" });
});
