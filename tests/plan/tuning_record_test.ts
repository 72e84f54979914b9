/** Which of a tuning record's measurements a layer takes, and which records no plan takes. */
import assert from "node:assert/strict";
import type { CacheOptions, MeasuredCandidate, TunedAttention, TuningRecord } from "../../mod.ts";
import { VERSION } from "../../src/base/version.ts";
import { resolveOptions } from "../../src/plan/options.ts";
import { checkTuning, findTuned, layerKind, tunedShape } from "../../src/plan/tuning_record.ts";
import { refuses } from "../helpers/refusals.ts";

const SHAPE: CacheOptions["shape"] = { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 };
const ROPE = { layout: "half", theta: 10000 } as const;
const POLICY: CacheOptions["policy"] = { keys: "c8b8", values: "c8b8" };

const BASE: CacheOptions = {
  shape: SHAPE,
  policy: POLICY,
  keys: { space: "pre-rope", rope: ROPE },
  tiers: { sinks: 2, window: 4 },
  capacity: { sequences: 1, tokens: 512, sequenceTokens: 512, stepTokens: 8, appendTokens: 4 },
};

function candidate(name: string): MeasuredCandidate {
  return { kernels: [name], span: 4, workgroups: 64, milliseconds: 1 };
}

/** What was measured for the layers of some options: one candidate, which tells whose it is. */
function measured(options: CacheOptions, name: string): TunedAttention {
  return {
    ...layerKind(resolveOptions(options).layers[0]!),
    way: "decode",
    sequences: 1,
    context: 384,
    tokens: 1,
    candidates: [candidate(name)],
  };
}

function recordOf(...attention: readonly TunedAttention[]): TuningRecord {
  return {
    version: VERSION,
    adapter: { vendor: "a", architecture: "b", device: "c", description: "d" },
    shape: tunedShape(resolveOptions(BASE)),
    clock: "timestamps",
    attention,
  };
}

function found(record: TuningRecord, options: CacheOptions): string {
  const [layer] = resolveOptions(options).layers;
  return findTuned(record, layer!, "decode", new Set()).kernels[0]!;
}

const KINDS: readonly [what: string, change: Partial<CacheOptions>][] = [
  ["schemes of keys", { policy: { ...POLICY, keys: "c4b8" } }],
  ["schemes of values", { policy: { ...POLICY, values: "c4b8" } }],
  ["query heads", { shape: { ...SHAPE, queryHeads: 8 } }],
  ["KV heads", { shape: { ...SHAPE, keyValueHeads: 1 } }],
  ["channels per head", { shape: { ...SHAPE, headDim: 128 } }],
  ["channels of values", { shape: { ...SHAPE, valueHeadDim: 128 } }],
  ["sliding windows", { shape: { ...SHAPE, slidingWindow: 64 } }],
  ["layouts of rotary pairs", {
    keys: { space: "pre-rope", rope: { ...ROPE, layout: "interleaved" } },
  }],
  ["rotary dimensions", { keys: { space: "pre-rope", rope: { ...ROPE, rotaryDim: 32 } } }],
];

for (const [what, change] of KINDS) {
  Deno.test(`findTuned() tells layers apart by their ${what}`, () => {
    const other: CacheOptions = { ...BASE, ...change };
    const [own, others] = [measured(BASE, "own"), measured(other, "other")];
    for (const record of [recordOf(own, others), recordOf(others, own)]) {
      assert.equal(found(record, BASE), "own");
      assert.equal(found(record, other), "other");
    }
    refuses("tuning", () => found(recordOf(own), other));
    refuses("tuning", () => found(recordOf(others), BASE));
  });
}

Deno.test("layerKind() has a rotary embedding where kernels rotate keys, of all channels unless it says fewer", () => {
  const kind = (keys: CacheOptions["keys"]) =>
    layerKind(resolveOptions({ ...BASE, keys }).layers[0]!);
  const whole = kind({ space: "pre-rope", rope: ROPE });
  assert.deepEqual(kind({ space: "pre-rope", rope: { ...ROPE, rotaryDim: 64 } }), whole);
  assert.deepEqual([whole.layout, whole.rotaryDim], ["half", 64]);
  const scored = kind({ space: "as-scored" });
  assert.ok(!("layout" in scored) && !("rotaryDim" in scored) && !("valueHeadDim" in scored));
});

Deno.test("findTuned() takes the measurements of a layer's own phase, and refuses where there are none", () => {
  const [layer] = resolveOptions(BASE).layers;
  const decode = measured(BASE, "decode");
  const prefill: TunedAttention = { ...measured(BASE, "prefill"), way: "prefill" };
  for (const way of ["decode", "prefill"] as const) {
    const { kernels } = findTuned(recordOf(prefill, decode), layer!, way, new Set());
    assert.deepEqual(kernels, [way]);
  }
  assert.throws(
    () => findTuned(recordOf(decode), layer!, "prefill", new Set()),
    { code: "tuning", message: /no prefill of layers with keys c8b8/ },
  );
});

Deno.test("findTuned() passes over what rounds more than a plan may, and refuses where all does", () => {
  const [layer] = resolveOptions(BASE).layers;
  const own = measured(BASE, "first");
  const record = recordOf({ ...own, candidates: ["first", "second", "third"].map(candidate) });
  const chosen = (...rounding: string[]) =>
    findTuned(record, layer!, "decode", new Set(rounding)).kernels[0];
  assert.equal(chosen(), "first");
  assert.equal(chosen("first"), "second");
  assert.equal(chosen("second", "first"), "third");
  assert.throws(() => chosen("first", "second", "third"), {
    code: "tuning",
    message: /rounds more than the plan's precision allows/,
  });
});

const GOOD = recordOf(measured(BASE, "own"));
const [FIRST] = GOOD.attention as [TunedAttention];

const REFUSED: readonly [what: string, record: unknown, why: RegExp][] = [
  ["of another version", { ...GOOD, version: "0.0.1" }, /version "0\.0\.1"/],
  ["of no version", { ...GOOD, version: undefined }, /version/],
  ["without measurements", { ...GOOD, attention: undefined }, /missing or of another type/],
  ["with nothing measured of a kind", {
    ...GOOD,
    attention: [FIRST, { ...FIRST, candidates: [] }],
  }, /missing or of another type/],
  ["with a candidate that is none", {
    ...GOOD,
    attention: [{ ...FIRST, candidates: [candidate("a"), { ...candidate("b"), span: "4" }] }],
  }, /missing or of another type/],
  ["of another key space", {
    ...GOOD,
    shape: { ...GOOD.shape, keySpace: "as-scored" },
  }, /another shape: keySpace "as-scored" and not "pre-rope"/],
  ["of another element type", {
    ...GOOD,
    shape: { ...GOOD.shape, dtype: "f16" },
  }, /another shape: dtype "f16" and not "f32"/],
  ["of capped scores", {
    ...GOOD,
    shape: { ...GOOD.shape, softcap: true },
  }, /another shape: softcap true and not false/],
  ["without a part of its shape", {
    ...GOOD,
    shape: { keySpace: "pre-rope", softcap: false },
  }, /another shape: dtype undefined and not "f32"/],
  ["with more in its shape", {
    ...GOOD,
    shape: { ...GOOD.shape, layers: 1 },
  }, /another shape: layers 1/],
];

for (const [what, record, why] of REFUSED) {
  Deno.test(`checkTuning() refuses a record ${what}`, () => {
    const options = resolveOptions(BASE);
    checkTuning(GOOD, options);
    assert.throws(() => checkTuning(record as TuningRecord, options), {
      code: "tuning",
      message: why,
    });
  });
}

Deno.test("tunedShape() is that of the options", () => {
  const shape = (change: Partial<CacheOptions>) =>
    tunedShape(resolveOptions({ ...BASE, ...change }));
  assert.deepEqual(shape({}), { keySpace: "pre-rope", dtype: "f32", softcap: false });
  assert.deepEqual(shape({ softcap: 30, io: { dtype: "f16" }, keys: { space: "as-scored" } }), {
    keySpace: "as-scored",
    dtype: "f16",
    softcap: true,
  });
});
