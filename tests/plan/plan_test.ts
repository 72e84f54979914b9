import assert from "node:assert/strict";
import {
  CoupletError,
  type CoupletErrorCode,
  type KeyOptions,
  parseKernelName,
  planCache,
  type PlanOptions,
  requiredFeatures,
  requiredLimits,
  type SchemeId,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { BASE_LIMITS } from "../../src/plan/limits.ts";

const preRope: KeyOptions = { space: "pre-rope", rope: { layout: "half", theta: 10000 } };

const base: PlanOptions = {
  kernels: manifest,
  shape: { layers: 2, queryHeads: 32, keyValueHeads: 8, headDim: 128 },
  policy: { keys: "c4b8", values: "c8b8" },
  keys: preRope,
  tiers: { sinks: 4, window: 64 },
  capacity: {
    sequences: 1,
    tokens: 8192,
    sequenceTokens: 8192,
    stepTokens: 64,
    appendTokens: 64,
  },
};

Deno.test("planCache() gives each layer its own schemes", () => {
  const plan = planCache({
    ...base,
    policy: { ...base.policy, layers: { 1: { keys: "f16", values: "c2b8" } } },
  });
  assert.deepEqual(plan.layers.map(({ keys, values }) => `${keys}/${values}`), [
    "c4b8/c8b8",
    "f16/c2b8",
  ]);
  assert.equal(plan.nominalBits, (2 + 1 + 16 + 4) / 4);
  const text = plan.describe();
  for (const part of ["keys c4b8: ", "encode_f16_d128", "mix_c2b8_d128", "bytes: "]) {
    assert.ok(text.includes(part), text);
  }
});

Deno.test("planCache() counts everything resident", () => {
  const { bytes, effectiveBits } = planCache(base);
  const tokens = 8192;
  const channels = 8 * 128;
  assert.equal(bytes.codes, 2 * (tokens * channels * 2 / 8 + tokens * channels / 8));
  assert.equal(bytes.exact, 2 * 2 * (4 + 64 + 64) * channels * 2);
  assert.equal(bytes.codebooks, 2 * 2 * channels * (256 + 4));
  const kept = bytes.codes + bytes.exact + bytes.codebooks + bytes.tables;
  assert.equal(bytes.total, kept + bytes.scratch);
  assert.equal(effectiveBits, 8 * kept / (2 * 2 * channels * tokens));
});

Deno.test("requiredLimits() is what planCache() asks for, and no more than WebGPU's defaults where they do", () => {
  assert.deepEqual(requiredLimits(base), {
    maxStorageBufferBindingSize: BASE_LIMITS.maxStorageBufferBindingSize,
    maxBufferSize: BASE_LIMITS.maxBufferSize,
  });
  const large: PlanOptions = {
    ...base,
    policy: { keys: "f16", values: "f16" },
    capacity: { ...base.capacity, tokens: 131072, sequenceTokens: 131072 },
  };
  const limits = requiredLimits(large);
  assert.equal(limits.maxStorageBufferBindingSize, 131072 * 8 * 128 * 2);
  const [whole] = planCache({ ...large, limits: { ...BASE_LIMITS, ...limits } }).layers;
  assert.deepEqual(whole!.parts, [{ first: 0, count: 8 }]);
});

Deno.test("planCache() divides a layer by KV heads where one binding cannot hold it", () => {
  const large: PlanOptions = {
    ...base,
    policy: { keys: "f16", values: "f16" },
    capacity: { ...base.capacity, tokens: 131072, sequenceTokens: 131072 },
  };
  const perHead = 131072 * 128 * 2;
  const parts = (bound: number) =>
    planCache({ ...large, limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: bound } })
      .layers[0]!.parts.map(({ first, count }) => [first, count]);
  assert.deepEqual(parts(4 * perHead), [[0, 4], [4, 4]]);
  assert.deepEqual(parts(4 * perHead - 1), [[0, 2], [2, 3], [5, 3]]);
  assert.deepEqual(parts(perHead), Array.from({ length: 8 }, (_, head) => [head, 1]));
  refuses("limits", "one head's keys of layer 0", {
    ...large,
    limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: perHead - 1 },
  });
  const { maxStorageBufferBindingSize } = requiredLimits({
    ...large,
    limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: 4.5 * perHead },
  });
  assert.equal(maxStorageBufferBindingSize, 4 * perHead);
});

Deno.test("requiredFeatures() asks for timestamps only to profile", () => {
  assert.deepEqual(requiredFeatures(), []);
  assert.deepEqual(requiredFeatures({ profile: true }), ["timestamp-query"]);
});

function refuses(code: CoupletErrorCode, why: string, options: PlanOptions): void {
  assert.throws(() => planCache(options), (error) => {
    assert.ok(error instanceof CoupletError, String(error));
    assert.equal(error.code, code, error.message);
    assert.ok(error.message.includes(why), error.message);
    return true;
  });
}

/** Bad input, and what the error must name. */
const REFUSED: readonly [
  what: string,
  code: CoupletErrorCode,
  why: string,
  change: Partial<PlanOptions>,
][] = [
  ["an unknown scheme", "scheme", '"c3b4"', {
    policy: { keys: "c3b4" as SchemeId, values: "f16" },
  }],
  ["a scheme without rows", "kernel", "--scheme c4b6 --head-dim 128", {
    policy: { keys: "c4b6", values: "c4b6" },
  }],
  ["a head dimension without rows", "kernel", "encode_c4b8_d128", {
    shape: { ...base.shape, headDim: 120 },
  }],
  ["a head dimension that does not divide", "shape", "groups of 16", {
    shape: { ...base.shape, headDim: 104 },
    policy: { keys: "c16b12", values: "c16b12" },
  }],
  ["query heads that do not divide", "shape", "32 query heads", {
    shape: { ...base.shape, keyValueHeads: 5 },
  }],
  ["a fraction of a layer", "shape", "shape.layers", { shape: { ...base.shape, layers: 1.5 } }],
  ["a negative window", "shape", "tiers.window", { tiers: { sinks: 0, window: -1 } }],
  ["no capacity", "shape", "capacity.tokens", { capacity: { ...base.capacity, tokens: 0 } }],
  ["a policy for a layer that is not there", "shape", "layer 2", {
    policy: { ...base.policy, layers: { 2: { keys: "f16", values: "f16" } } },
  }],
  ["rotary channels that kernels cannot rotate", "shape", "24 channels", {
    keys: { space: "pre-rope", rope: { layout: "half", theta: 10000, rotaryDim: 24 } },
  }],
  ["numbers of KV heads for other layers", "shape", "3 numbers of KV heads for 2 layers", {
    shape: { ...base.shape, keyValueHeads: [8, 8, 8] },
  }],
  ["KV heads that do not divide in one layer", "shape", "KV heads of layer 1", {
    shape: { ...base.shape, keyValueHeads: [8, 6] },
  }],
  ["ALiBi", "shape", "adds to scores by position", { alibi: [1, 2] } as object],
  ["an option it does not know", "shape", '"windw"', { windw: 3 } as object],
  ["a softcap below zero", "shape", "softcap", { softcap: -1 }],
  ["overlapping strides", "shape", "the vectors of keys overlap", {
    io: { keys: { token: 64, head: 64 } },
  }],
  ["odd strides of f16", "shape", "two bytes", {
    io: { dtype: "f16", keys: { token: 1025, head: 128 } },
  }],
  ["too little workgroup memory", "limits", "workgroup memory", {
    limits: { ...BASE_LIMITS, maxComputeWorkgroupStorageSize: 1024 },
  }],
  ["too few storage buffers", "limits", "storage buffers", {
    limits: { ...BASE_LIMITS, maxStorageBuffersPerShaderStage: 4 },
  }],
  ["tables that are too large where only tables are left", "limits", "tables of q.centroid", {
    keys: { space: "as-scored" },
    kernels: manifest.filter(({ name }) => !/^attend_|^score_.*_plain$/.test(name)),
  }],
  ["bindings that are too small", "limits", "the device binds at most 65536", {
    limits: { ...BASE_LIMITS, maxStorageBufferBindingSize: 65536 },
  }],
];

for (const [what, code, why, change] of REFUSED) {
  Deno.test(`planCache() refuses ${what}`, () => refuses(code, why, { ...base, ...change }));
}

Deno.test("planCache() uses rows a user registers", () => {
  const shape = { ...base.shape, headDim: 64 };
  const own = manifest.filter(({ name }) => [64, undefined].includes(parseKernelName(name).size));
  const plan = planCache({ ...base, shape, kernels: own });
  assert.ok(own.includes(plan.layers[0]!.storeKeys));
  refuses("kernel", "the nearest are", { ...base, kernels: own });
});
