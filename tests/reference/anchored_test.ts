/** The reference with keys that have anchors, against attention written another way. */
import assert from "node:assert/strict";
import {
  type CodebookSet,
  CoupletError,
  createReferenceCache,
  parseScheme,
  type ReferenceCacheOptions,
  type RopeParameters,
} from "../../mod.ts";
import { headCodebooks } from "../../src/codebooks/head_codebooks.ts";
import { roundToGrid } from "../../src/codebooks/grid.ts";
import { roundToFloat16 } from "../../src/base/float16.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";
import { close, naiveAttention, numbers } from "../helpers/reference.ts";

const shape = { layers: 1, queryHeads: 2, keyValueHeads: 1, headDim: 48 };
const TOKENS = 61;
const TIERS = { sinks: 3, window: 6 };

/** Bands of eight pairs without anchors, with some of 16 tokens and with some of 64. */
function ropeOf(layout: RopeParameters["layout"], rotaryDim: 32 | 48): RopeParameters {
  const frequencies = [1, 0.03, 0.008].flatMap((frequency) =>
    Array.from({ length: 8 }, (_, i) => frequency / (1 + i / 10))
  );
  return {
    layout,
    theta: 10000,
    rotaryDim,
    positionOffset: 5,
    inverseFrequencies: frequencies.slice(0, rotaryDim / 2),
  };
}
const ANCHORS = [0, 16, 64];

function codebooks(anchors: readonly number[]): CodebookSet {
  return {
    model: { name: "none", digest: "0" },
    keySpace: "anchored",
    anchors,
    provenance: { source: "random", tokens: 0, seed: 0, iterations: 0 },
    codebooks: (["keys", "values"] as const).map((side, i) => ({
      layer: 0,
      side,
      scheme: "c4b8",
      keyValueHeads: 1,
      headDim: shape.headDim,
      ...roundToGrid(numbers(7 + i, shape.headDim * 256), "c4b8"),
    })),
  };
}

function optionsOf(rope: RopeParameters, anchors = ANCHORS): ReferenceCacheOptions {
  return {
    shape,
    policy: { keys: "c4b8", values: "c4b8" },
    keys: { space: "anchored", rope },
    tiers: TIERS,
    capacity: { appendTokens: TOKENS },
    codebooks: codebooks(anchors),
  };
}

/** Each pair as a complex number, times e^(i angle). */
function turnedBy(x: ArrayLike<number>, rope: RopeParameters, angles: readonly number[]): number[] {
  const result = Array.from(x);
  angles.forEach((angle, pair) => {
    const [a, b] = rope.layout === "half" ? [pair, pair + angles.length] : [2 * pair, 2 * pair + 1];
    result[a] = x[a]! * Math.cos(angle) - x[b]! * Math.sin(angle);
    result[b] = x[a]! * Math.sin(angle) + x[b]! * Math.cos(angle);
  });
  return result;
}

/** Coded vectors of one side, `[tokens][headDim]`, with keys turned by what they are off their anchors' middles. */
function codedForm(
  side: "keys" | "values",
  vectors: Float32Array,
  rope: RopeParameters,
): Float64Array<ArrayBuffer> {
  const { headDim } = shape;
  const scheme = parseScheme("c4b8");
  const book = codebooks(ANCHORS).codebooks.find((one) => one.side === side)!;
  const [own] = headCodebooks(scheme, book, 1, headDim);
  const decoded = new Float64Array(vectors.length);
  for (let token = TIERS.sinks; token < TOKENS; token++) {
    const coded = token - TIERS.sinks;
    const angles = rope.inverseFrequencies!.map((frequency, pair) => {
      const tokens = ANCHORS[Math.floor(pair / 8)]!;
      return tokens === 0 || side === "values" ? 0 : frequency * (coded % tokens - tokens / 2);
    });
    const exact = Array.from(
      { length: headDim },
      (_, i) => roundToFloat16(vectors[token * headDim + i]!),
    );
    const [found] = roundTrip(scheme, [turnedBy(exact, rope, angles)], own!);
    decoded.set(turnedBy(found!, rope, angles.map((angle) => -angle)), token * headDim);
  }
  return decoded;
}

/** Queries and keys with their rotary embedding, and values. */
function scoredForms(
  queries: Float32Array,
  keys: Float32Array,
  values: Float32Array,
  rope: RopeParameters,
) {
  const turned = (all: ArrayLike<number>, heads: number) =>
    Array.from({ length: all.length / 48 }, (_, row) => {
      const angles = rope.inverseFrequencies!.map((one) => one * Math.floor(row / heads));
      return turnedBy(Array.from(all).slice(row * 48, (row + 1) * 48), rope, angles);
    }).flat();
  return {
    queries: turned(queries, 2),
    exact: {
      keys: turned(Float64Array.from(keys, roundToFloat16), 1),
      values: Float64Array.from(values, roundToFloat16),
    },
    coded: {
      keys: turned(codedForm("keys", keys, rope), 1),
      values: codedForm("values", values, rope),
    },
  };
}

for (const layout of ["half", "interleaved"] as const) {
  for (const rotaryDim of [32, 48] as const) {
    Deno.test(`ReferenceCache codes keys by their anchors, ${layout} over ${rotaryDim} of 48 channels`, () => {
      const rope = ropeOf(layout, rotaryDim);
      const options = optionsOf(rope, ANCHORS.slice(0, rotaryDim / 16));
      const cache = createReferenceCache(options);
      const sequence = cache.createSequence();
      const [keys, values] = [numbers(1, TOKENS * 48), numbers(2, TOKENS * 48)];
      const queries = numbers(3, TOKENS * 2 * 48);
      const output: number[] = [];
      // Positions go on after a rollback and in a fork.
      for (const [from, to, back] of [[0, 40, 38], [38, 55, 55], [55, TOKENS, TOKENS]] as const) {
        const step = cache.beginStep([{ sequence, tokens: to - from }]);
        cache.append(step, 0, {
          keys: keys.subarray(from * 48, to * 48),
          values: values.subarray(from * 48, to * 48),
        });
        const found = cache.attend(step, 0, { queries: queries.subarray(from * 96, to * 96) });
        output.push(...found.subarray(0, (back - from) * 96));
        cache.truncate(sequence, back);
      }
      const expected = naiveAttention({
        ...shape,
        ...scoredForms(queries, keys, values, rope),
        firstPosition: 0,
        tiers: TIERS,
      });
      close(output, expected, 1e-6);
    });
  }
}

Deno.test("createReferenceCache() refuses codebooks of another space, and of other anchors", () => {
  const rope = ropeOf("half", 48);
  createReferenceCache(optionsOf(rope));
  const cases: readonly [ReferenceCacheOptions, RegExp][] = [
    [
      optionsOf(rope, [0, 16, 32]),
      /anchored \(0,16,32 tokens\) keys and the cache gets anchored \(0,16,64 tokens\)/,
    ],
    [
      { ...optionsOf(rope), keys: { space: "anchored", rope, anchor: { radians: 0.6 } } },
      /\(0,16,64 tokens\) keys and the cache gets anchored \(0,32,128 tokens\)/,
    ],
    [
      { ...optionsOf(rope), keys: { space: "pre-rope", rope } },
      /learned on anchored \(0,16,64 tokens\) keys/,
    ],
    [
      { ...optionsOf(rope), keys: { space: "as-scored" } },
      /learned on anchored \(0,16,64 tokens\) keys/,
    ],
  ];
  for (const [options, why] of cases) {
    assert.throws(
      () => createReferenceCache(options),
      (error) =>
        error instanceof CoupletError && error.code === "codebook" && why.test(error.message),
    );
  }
});
