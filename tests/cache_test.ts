import assert from "node:assert/strict";
import {
  type CacheOptions,
  CoupletError,
  type CoupletErrorCode,
  createCache,
  planCache,
} from "../mod.ts";
import { seededRandom } from "../src/calibrate/random.ts";
import { requestTestDevice } from "../tools/adapter.ts";
import { compareWithReference, gridCodebooks, type Move, type Scenario } from "./cache_oracle.ts";

const device = await requestTestDevice();

const TOLERANCE = 2e-5;

const base: CacheOptions = {
  shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "c8b8", values: "c4b8" },
  keys: { space: "pre-rope", rope: { layout: "half", theta: 10000 } },
  tiers: { sinks: 4, window: 16 },
  capacity: {
    sequences: 2,
    tokens: 400,
    sequenceTokens: 300,
    stepTokens: 128,
    appendTokens: 100,
  },
};

/** One token, then prompts in chunks that end on, before and behind page edges, and rollbacks. */
const PROMPTS: readonly Move[] = [
  { tokens: { 0: 1 } },
  { tokens: { 0: 99, 1: 29 } },
  { tokens: { 0: 48, 1: 35 } },
  { tokens: { 0: 1, 1: 1 } },
  { truncate: 0, length: 83 },
  { tokens: { 0: 65, 1: 63 } },
  { truncate: 1, length: 0 },
  { tokens: { 0: 1, 1: 7 } },
];

/** What a host may ask for, beyond the defaults; each with prompts of many tokens and single ones. */
const SCENARIOS: Readonly<Record<string, Partial<CacheOptions> & Partial<Scenario>>> = {
  "codes alone": { tiers: { sinks: 0, window: 0 } },
  "sinks without a window": { tiers: { sinks: 7, window: 0 } },
  "a window without sinks": { tiers: { sinks: 0, window: 33 } },
  "sinks and window beyond the sequence": { tiers: { sinks: 90, window: 250 } },
  "sinks beyond a tile": { tiers: { sinks: 70, window: 5 } },
  "one query head a KV head": {
    shape: { layers: 1, queryHeads: 2, keyValueHeads: 2, headDim: 64 },
  },
  "one KV head for eight query heads": {
    shape: { layers: 1, queryHeads: 8, keyValueHeads: 1, headDim: 64 },
  },
  "three query heads a KV head": {
    shape: { layers: 1, queryHeads: 6, keyValueHeads: 2, headDim: 64 },
  },
  "twelve query heads a KV head": {
    shape: { layers: 1, queryHeads: 12, keyValueHeads: 1, headDim: 64 },
  },
  "interleaved rotary pairs": {
    keys: { space: "pre-rope", rope: { layout: "interleaved", theta: 500000 } },
  },
  "partial rotary embedding": {
    keys: { space: "pre-rope", rope: { layout: "half", theta: 10000, rotaryDim: 24 } },
  },
  "partial interleaved rotary embedding": {
    keys: { space: "pre-rope", rope: { layout: "interleaved", theta: 100, rotaryDim: 16 } },
  },
  "explicit frequencies": {
    keys: {
      space: "pre-rope",
      rope: {
        layout: "half",
        theta: 1,
        inverseFrequencies: Array.from({ length: 32 }, (_, i) => 2 / (i + 1)),
      },
    },
  },
  "a softcap": { softcap: 3 },
  "a softmax scale": { scale: 0.31 },
  "channel scales": { scaled: true },
  "keys as scored": { keys: { space: "as-scored" } },
  "a scheme of each kind by layer": {
    shape: { layers: 3, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
    policy: {
      keys: "c8b10",
      values: "c2b2",
      layers: { 1: { keys: "f16", values: "c16b12" }, 2: { keys: "c1b1", values: "f16" } },
    },
  },
  "records of eight tokens": {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 80 },
    policy: { keys: "c8b10", values: "c16b12" },
  },
  "single bits": { policy: { keys: "c1b1", values: "c1b1" } },
  "tables of q.centroid": {
    keys: { space: "as-scored" },
    policy: { keys: "c1b4", values: "c1b2" },
  },
};

for (const [name, { moves = PROMPTS, scaled = false, ...options }] of Object.entries(SCENARIOS)) {
  Deno.test(`Cache agrees with float64 with ${name}`, async () => {
    const { error } = await compareWithReference(device, {
      options: { ...base, ...options },
      moves,
      scaled,
    });
    assert.ok(error < TOLERANCE, `the largest difference is ${error}`);
  });
}
