import { deepStrictEqual, ok, strictEqual, throws } from "node:assert/strict";
import { CoupletError, parseScheme, readBits, recordBits, type SchemeId } from "../../mod.ts";
import { type Random, seededRandom } from "../../src/base/random.ts";
import { headCodebooks } from "../../src/codebooks/head_codebooks.ts";
import type { CodingContext, Normalisation } from "../../src/schemes/codec.ts";
import { meanLevel, meanOf } from "../../src/schemes/normalisation.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";
import { schemeCodec } from "../../src/schemes/scheme_codec.ts";
import { addedCodebook, gridVectors } from "../helpers/grid_numbers.ts";

const HEAD_DIM = 64;

const IDS: readonly SchemeId[] = [
  "n8b8",
  "n4b8",
  "n2b8",
  "n16b8x2",
  "n32b8x4",
  "n8b8x2",
  "n16b8x4",
  "n16b4x4",
  "n8b4x4",
  "c16b8x2",
];

function context(id: SchemeId, random: Random): CodingContext {
  const codebook = { ...addedCodebook(id, 1, HEAD_DIM, random), layer: 0, side: "keys" as const };
  return headCodebooks(parseScheme(id), codebook, 1, HEAD_DIM)[0]!;
}

function block(random: Random, tokens = 64): Float32Array[] {
  return Array.from({ length: tokens }, () => gridVectors(random, HEAD_DIM));
}

/** Encodes one block, and returns its record. */
function encoded(
  id: SchemeId,
  vectors: readonly ArrayLike<number>[],
  own: CodingContext,
): Uint32Array {
  const scheme = parseScheme(id);
  const record = new Uint32Array(scheme.layout(HEAD_DIM).words);
  schemeCodec(scheme).encode(vectors, record, 0, own);
  return record;
}

Deno.test("layout of normalised schemes: 4 bits per channel and block, 4 per token, and the codes", () => {
  const bits = (id: SchemeId, headDim: number) =>
    recordBits(parseScheme(id).layout(headDim), headDim);
  const wanted: readonly [SchemeId, number, number][] = [
    ["n8b8", 1.125, 1.09375],
    ["n16b8x2", 1.125, 1.09375],
    ["n32b8x4", 1.125, 1.09375],
    ["n16b4x4", 1.125, 1.09375],
    ["n8b8x2", 2.125, 2.09375],
    ["n16b8x4", 2.125, 2.09375],
    ["n2b8", 4.125, 4.09375],
    ["c16b8x2", 1, 1],
  ];
  for (const [id, d64, d128] of wanted) deepStrictEqual([bits(id, 64), bits(id, 128)], [d64, d128]);
});

Deno.test("parseScheme knows additive schemes of 4 and 8 bits and 2 or 4 stages alone", () => {
  for (const id of ["n8b6", "n16b8x3", "n16b8x1", "n1b8", "n64b8", "c16b8x8", "n8b10"]) {
    throws(() => parseScheme(id), CoupletError);
  }
  throws(() => parseScheme("n32b8x4").layout(48), { code: "shape" });
});

for (const id of IDS) {
  Deno.test(`additiveCodec of ${id} decodes what the record's numbers say`, () => {
    const random = seededRandom(1, id);
    const scheme = parseScheme(id);
    const { channels, codeBits, centroids: count, codebookSpec, layout } = scheme;
    const stages = codebookSpec!.stages!;
    const own = context(id, random);
    const vectors = block(random, scheme.block);
    const record = encoded(id, vectors, own);
    const { metadataWords, codes } = layout(HEAD_DIM);
    for (const token of scheme.block === 1 ? [0] : [0, 1, 37, 63]) {
      const decoded = schemeCodec(scheme).decode(record, token, HEAD_DIM, own);
      for (let channel = 0; channel < HEAD_DIM; channel++) {
        let sum = 0;
        for (let stage = 0; stage < stages; stage++) {
          const index = Math.floor(channel / channels) * stages + stage;
          const bit = 32 * metadataWords + (token * codes + index) * codeBits;
          const at = index * count + readBits(record, bit, codeBits);
          sum += own.centroids[at * channels + channel % channels]!;
        }
        const { offsets, meanSteps, sizes } = own.normalisation ??
          { offsets: [], meanSteps: [], sizes: [] } as Normalisation;
        const wanted = own.normalisation === undefined
          ? sum
          : offsets[channel]! + meanSteps[channel]! * (readBits(record, 4 * channel, 4) - 7.5) +
            sizes[readBits(record, 4 * HEAD_DIM + 4 * token, 4)]! * sum;
        strictEqual(decoded[channel], wanted);
      }
    }
  });

  Deno.test(`additiveCodec of ${id} codes sums of centroids without an error`, () => {
    const random = seededRandom(2, id);
    const scheme = parseScheme(id);
    const { channels, centroids: count, codebookSpec } = scheme;
    const stages = codebookSpec!.stages!;
    const own = context(id, random);
    // One stage tells what a beam of one finds; of several stages, all but the first are zero.
    const centroids = Float64Array.from(own.centroids, (value, at) => {
      const stage = Math.floor(at / (count * channels)) % stages;
      return stage === 0 ? value : Math.floor(at / channels) % count === 7 ? 0 : 64;
    });
    const zero = new Float64Array(HEAD_DIM);
    const normalisation = own.normalisation && {
      offsets: zero,
      meanSteps: zero,
      sizes: new Float64Array(16).fill(1),
    };
    const all: CodingContext = { centroids, ...(normalisation && { normalisation }) };
    const vectors = Array.from({ length: scheme.block }, () => {
      const codes = Array.from({ length: HEAD_DIM / channels }, () => random.below(count));
      return Float64Array.from({ length: HEAD_DIM }, (_, channel) => {
        const group = Math.floor(channel / channels);
        const first = (group * stages * count + codes[group]!) * channels;
        return centroids[first + channel % channels]!;
      });
    });
    const decoded = roundTrip(scheme, vectors, all);
    deepStrictEqual(decoded, vectors);
  });
}

Deno.test("additiveCodec has means with which the errors of a block, or of fewer tokens, are least on average", () => {
  const random = seededRandom(3, "few");
  for (const id of IDS.filter((id) => parseScheme(id).block > 1)) {
    const own = context(id, random);
    const { meanSteps } = own.normalisation!;
    for (const tokens of [64, 5, 1]) {
      const vectors = block(random, tokens);
      const record = encoded(id, vectors, own);
      const decoded = vectors.map((_, token) =>
        schemeCodec(parseScheme(id)).decode(record, token, HEAD_DIM, own)
      );
      readMeans(record).forEach((level, channel) => {
        const error = vectors.reduce((sum, vector, token) =>
          sum + vector[channel]! - decoded[token]![channel]!, 0) / tokens;
        const steps = error / meanSteps[channel]!;
        // The least level cannot be less, nor the highest more.
        ok(steps <= 0.5 || level === 15, `${id}, ${tokens} tokens: ${steps} steps`);
        ok(steps >= -0.5 || level === 0, `${id}, ${tokens} tokens: ${steps} steps`);
      });
    }
  }
});

function readMeans(record: Uint32Array): number[] {
  return Array.from({ length: HEAD_DIM }, (_, channel) => readBits(record, 4 * channel, 4));
}

Deno.test("additiveCodec gives a mean half way between two numbers the higher one, and clamps", () => {
  const random = seededRandom(4, "ties");
  const { normalisation, centroids } = context("n8b8", random);
  const { offsets, meanSteps } = normalisation!;
  // Codes stand for nothing, so that means are those of the tokens.
  const own = { normalisation: normalisation!, centroids: new Float64Array(centroids.length) };
  const at = (level: number) =>
    Float64Array.from(offsets, (o, i) => o + meanSteps[i]! * (level - 7.5));
  for (const [level, found] of [[3.5, 4], [3.49, 3], [-2, 0], [15.5, 15], [90, 15]] as const) {
    const means = readMeans(encoded("n8b8", [at(level), at(level)], own));
    deepStrictEqual(means, new Array(HEAD_DIM).fill(found));
  }
});

Deno.test("additiveCodec gives what it codes the length of the token without the tokens' mean", () => {
  const random = seededRandom(5, "sizes");
  // Neighbours are near each other, so that choosing one of them shows.
  const ratio = 1.15;
  const sizes = Float64Array.from({ length: 16 }, (_, i) => 0.8 * ratio ** i);
  for (const id of IDS.filter((id) => parseScheme(id).block > 1)) {
    const own = context(id, random);
    const fine = { ...own, normalisation: { ...own.normalisation!, sizes } };
    const vectors = block(random);
    // What codes are of, and what they are read with.
    const { offsets, meanSteps } = fine.normalisation;
    const means = Float64Array.from(offsets, (offset, channel) => {
      const sum = vectors.reduce((sum, vector) => sum + vector[channel]!, 0);
      const level = meanLevel(sum, vectors.length, offset, meanSteps[channel]!);
      return meanOf(level, offset, meanSteps[channel]!);
    });
    const read = vectorsOfMeans(encoded(id, vectors, fine), fine.normalisation);
    roundTrip(parseScheme(id), vectors, fine).forEach((decoded, token) => {
      const parts = squared(vectors[token]!, means) / squared(decoded, read);
      ok(Math.abs(Math.log(parts)) <= Math.log(ratio) * 1.001, `${id}: ${parts} of its square`);
    });
  }
});

function vectorsOfMeans(record: Uint32Array, { offsets, meanSteps }: Normalisation): Float64Array {
  return Float64Array.from(
    readMeans(record),
    (level, i) => offsets[i]! + meanSteps[i]! * (level - 7.5),
  );
}

function squared(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum;
}

Deno.test("additiveCodec's beam loses no more than the nearest centroid stage by stage", () => {
  const random = seededRandom(6, "beam");
  const scheme = parseScheme("c16b8x2");
  const { channels, centroids: count, codebookSpec } = scheme;
  const stages = codebookSpec!.stages!;
  const own = context(scheme.id, random);
  const centroids = Float64Array.from(own.centroids);
  let better = 0;
  for (const vector of block(random)) {
    const rest = Float64Array.from(vector);
    for (let place = 0; place < (HEAD_DIM / channels) * stages; place++) {
      const first = Math.floor(place / stages) * channels;
      const choices = Array.from({ length: count }, (_, code) => {
        const at = (place * count + code) * channels;
        return centroids.subarray(at, at + channels);
      });
      const target = rest.subarray(first, first + channels);
      const distances = choices.map((centroid) => squared(target, centroid));
      const nearest = choices[distances.indexOf(Math.min(...distances))]!;
      nearest.forEach((value, i) => target[i]! -= value);
    }
    const [decoded] = roundTrip(scheme, [vector], own);
    const left = squared(rest, new Float64Array(HEAD_DIM));
    ok(squared(vector, decoded!) <= left);
    if (squared(vector, decoded!) < left) better++;
  }
  ok(better > 32, `${better} of 64 are better`);
});

Deno.test("one number out of range spoils its own token, and means of its block by no more than their grids", () => {
  const random = seededRandom(7, "outlier");
  const own = context("n8b8", random);
  const vectors = block(random);
  const spoiled = vectors.map((vector) => vector.slice());
  spoiled[9]![3] = 65504;
  const [before, after] = [vectors, spoiled].map((all) => roundTrip(parseScheme("n8b8"), all, own));
  const ranges = Float64Array.from(own.normalisation!.meanSteps, (step) => 15 * step);
  before!.forEach((vector, token) => {
    if (token === 9) return;
    vector.forEach((number, channel) => {
      if (channel >= 8) ok(Math.abs(after![token]![channel]! - number) <= ranges[channel]!);
    });
    ok(
      Math.sqrt(squared(vectors[token]!, after![token]!)) <
        Math.sqrt(squared(vectors[token]!, vector)) + 3 * Math.hypot(...ranges),
    );
  });
});
