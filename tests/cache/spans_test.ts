/** Spans beside the float64 reference: schemes, sizes, several at once, rollbacks, and what is refused. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  layerShape,
  planCache,
  type SchemeId,
  spanKinds,
  type SpanPolicies,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithReference } from "../helpers/cache_oracle.ts";
import type { Move } from "../helpers/reference_run.ts";

const device = await requestTestDevice();

/** Largest difference from float64, relative to the outputs' root mean square. */
const TOLERANCE = 2e-5;

function optionsWith(spans: SpanPolicies, change: Partial<CacheOptions> = {}): CacheOptions {
  return {
    shape: { layers: 2, queryHeads: 6, keyValueHeads: [2, 3], headDim: 64 },
    policy: { keys: "c8b8", values: "c8b8" },
    keys: { space: "as-scored" },
    tiers: { sinks: 1, window: 3 },
    capacity: { sequences: 3, tokens: 200, sequenceTokens: 90, stepTokens: 9, appendTokens: 5 },
    spans: spanKinds(spans),
    ...change,
  };
}

/** A span of 150 tokens in one sequence beside another without one; prefill and decoding before and after. */
const MOVES: readonly Move[] = [
  { tokens: { 0: 2, 1: 5 } },
  { span: 0, name: "image", tokens: 150 },
  { tokens: { 0: 5, 1: 2 } },
  { tokens: { 0: 1, 1: 1 } },
  { tokens: { 0: 1 } },
];

const PAIRS: readonly (readonly [keys: SchemeId, values: SchemeId])[] = [
  ["sc1", "sc1"],
  ["sc2", "sc2"],
  ["sc4", "sc4"],
  ["sc1", "sc2"],
  ["sc2", "f16"],
  ["f16", "f16"],
  ["kc2", "kt2"],
  ["u8b8", "u8b8"],
  ["q8", "q8"],
  ["c4b8", "c8b8"],
  ["sc1", "c8b8"],
  ["kc2p8", "kh2"],
  ["kc1p2", "zc3"],
  ["v4b8", "v8b8"],
  ["n8b8", "n16b8x2"],
  ["sc1", "zc3"],
];

for (const [keys, values] of PAIRS) {
  Deno.test(`a span of keys in ${keys} and values in ${values} is seen whole`, async () => {
    const spans = { image: { keys, values, tokens: 150, count: 1 } };
    const { error } = await compareWithReference(device, {
      options: optionsWith(spans),
      moves: MOVES,
    });
    assert.ok(error < TOLERANCE, `the largest difference is ${error}`);
  });
}

const SCENES: readonly {
  readonly what: string;
  readonly spans: SpanPolicies;
  readonly moves: readonly Move[];
  readonly change?: Partial<CacheOptions>;
}[] = [
  {
    what: "spans of 1, 64 and 65 tokens, several in a sequence and one before all tokens",
    spans: { image: { keys: "sc1", values: "sc1", tokens: 200, count: 4 } },
    moves: [
      { span: 1, name: "image", tokens: 1 },
      { tokens: { 0: 2, 1: 4, 2: 1 } },
      { span: 0, name: "image", tokens: 64 },
      { span: 0, name: "image", tokens: 65 },
      { tokens: { 2: 3, 0: 3, 1: 2 } },
      { tokens: { 0: 1, 1: 1, 2: 1 } },
    ],
  },
  {
    what: "spans whose values have other channels than keys, beside such tokens",
    spans: { image: { keys: "c8b8", values: "f16", tokens: 150, count: 1 } },
    moves: MOVES,
    change: {
      shape: {
        layers: 2,
        queryHeads: 6,
        keyValueHeads: [2, 3],
        headDim: [96, 64],
        valueHeadDim: [64, 128],
      },
    },
  },
  {
    what: "several spans in a sequence, scored and mixed by a kernel each",
    spans: { image: { keys: "sc2", values: "sc1", tokens: 200, count: 3 } },
    moves: [
      { span: 1, name: "image", tokens: 30 },
      { span: 0, name: "image", tokens: 70 },
      { span: 0, name: "image", tokens: 100 },
      { tokens: { 0: 3, 1: 4 } },
      { tokens: { 0: 1, 1: 1 } },
    ],
  },
  {
    what:
      "spans of two kinds, of which a sequence has one or both, and more tokens than the one before",
    spans: {
      image: { keys: "sc1", values: "sc1", tokens: 200, count: 2 },
      text: { keys: "c8b8", values: "c8b8", tokens: 50, count: 1 },
    },
    moves: [
      { span: 0, name: "image", tokens: 70 },
      { span: 1, name: "text", tokens: 40 },
      { span: 1, name: "image", tokens: 100 },
      { tokens: { 0: 1, 1: 5 } },
      { tokens: { 1: 1, 0: 1 } },
    ],
  },
  {
    what: "spans of two kinds, protected tokens and the rest",
    spans: {
      protected: { keys: "sc4", values: "sc4", tokens: 32, count: 1 },
      rest: { keys: "sc1", values: "sc1", tokens: 68, count: 1 },
    },
    moves: [
      {
        span: 0,
        name: "protected",
        tokens: 32,
        indices: Array.from({ length: 32 }, (_, i) => 3 * i + 1),
      },
      {
        span: 0,
        name: "rest",
        tokens: 68,
        indices: Array.from({ length: 100 }, (_, i) => i).filter((i) => i % 3 !== 1 || i > 94),
      },
      { tokens: { 0: 4 } },
      { tokens: { 0: 1 } },
    ],
  },
  {
    what: "layers of other schemes, coded in blocks and with learned codebooks",
    spans: {
      image: {
        keys: "sc1",
        values: "sc2",
        tokens: 150,
        count: 1,
        layers: { 0: { keys: "kc2", values: "c8b8" } },
      },
    },
    moves: MOVES,
  },
  {
    what: "a range of scores narrowed by 3",
    spans: { image: { keys: "sc1", values: "sc1", tokens: 100, count: 1, remap: { tau: 3 } } },
    moves: MOVES.map((move) => "span" in move ? { ...move, tokens: 100 } : move),
  },
  {
    what: "a rollback to before a span drops it, and another takes its place",
    spans: { image: { keys: "sc2", values: "sc1", tokens: 100, count: 1 } },
    moves: [
      { tokens: { 0: 3, 1: 2 } },
      { span: 0, name: "image", tokens: 100 },
      { tokens: { 0: 2 } },
      { truncate: 0, length: 3 },
      { tokens: { 0: 1 } },
      { truncate: 0, length: 2 },
      { span: 1, name: "image", tokens: 70 },
      { tokens: { 0: 2, 1: 2 } },
    ],
  },
  {
    what: "learned sinks, capped scores, f16 alone and one KV head",
    spans: { image: { keys: "sc1", values: "sc1", tokens: 150, count: 1 } },
    moves: MOVES,
    change: {
      shape: { layers: 1, queryHeads: 4, keyValueHeads: 1, headDim: 128 },
      policy: { keys: "f16", values: "f16" },
      softcap: 5,
    },
  },
];

for (const { what, spans, moves, change } of SCENES) {
  Deno.test(`spans beside float64: ${what}`, async () => {
    const options = optionsWith(spans, change);
    const { error } = await compareWithReference(device, {
      options,
      moves,
      sinkLogits: new Float32Array(options.shape.layers * layerShape(options.shape, 0).queryHeads)
        .fill(0.5),
    });
    assert.ok(error < TOLERANCE, `the largest difference is ${error}`);
  });
}

Deno.test("planCache() refuses spans that fit levels where values have other channels than keys", () => {
  const shape = { ...optionsWith({}).shape, valueHeadDim: 128 };
  const plan = (keys: SchemeId, values: SchemeId) =>
    planCache({
      ...optionsWith({ image: { keys, values, tokens: 150, count: 1 } }, { shape }),
      kernels: manifest,
    });
  assert.throws(() => plan("f16", "sc2"), {
    code: "shape",
    message: /levels of sc2.*keys of 64 channels and values of 128.*c8b8 or f16/s,
  });
  plan("c8b8", "f16");
});
