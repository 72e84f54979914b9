import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type KernelInfo,
  type KeyOptions,
  type LayerPlan,
  type ModelShape,
  parseKernelName,
  planCache,
  type PlanOptions,
  type Precision,
  type SchemeId,
  spanKinds,
  type TuningRecord,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import {
  type AttentionCandidate,
  attentionCost,
  attentionWork,
} from "../../src/plan/attention_cost.ts";
import { type ResolvedOptions, resolveOptions } from "../../src/plan/options.ts";
import type { StepSize } from "../../src/plan/steps.ts";
import { candidateNames, fittingCandidates } from "../../src/plan/choose_attention.ts";
import { TUNED_WORKGROUPS } from "../../src/kernels/constants.ts";
import { obstacle } from "../../src/kernels/select.ts";
import { BASE_LIMITS } from "../../src/plan/limits.ts";
import { layerKind, tunedShape } from "../../src/plan/tuning_record.ts";
import { VERSION } from "../../src/base/version.ts";
import { refuses } from "../helpers/refusals.ts";

const rotary: KeyOptions = { space: "pre-rope", rope: { layout: "half", theta: 500000 } };
const scored: KeyOptions = { space: "as-scored" };

/** Attention of real models. */
const MODELS: Readonly<Record<string, Omit<ModelShape, "layers">>> = {
  "Llama-3.2-1B": { queryHeads: 32, keyValueHeads: 8, headDim: 64 },
  "Llama-3.1-8B": { queryHeads: 32, keyValueHeads: 8, headDim: 128 },
  "Qwen3-0.6B": { queryHeads: 16, keyValueHeads: 8, headDim: 128 },
  "Phi-4-mini": { queryHeads: 24, keyValueHeads: 8, headDim: 128 },
  "Gemma-3-1B": { queryHeads: 4, keyValueHeads: 1, headDim: 256 },
  "SmolLM2-135M": { queryHeads: 9, keyValueHeads: 3, headDim: 64 },
};

function optionsOf(
  model: string,
  [keys, values]: readonly [SchemeId, SchemeId],
  space: KeyOptions,
  tokens: number,
  more: Partial<PlanOptions> = {},
): PlanOptions {
  return {
    kernels: manifest,
    shape: { layers: 1, ...MODELS[model]! },
    policy: { keys, values },
    keys: space,
    tiers: { sinks: 4, window: 64 },
    capacity: { sequences: 1, tokens, sequenceTokens: tokens, stepTokens: 64, appendTokens: 64 },
    ...more,
  };
}

/** What is expected of decoding and of prefill: kernels without their schemes and head dimension, and pages of a tile. */
type Golden = readonly [
  model: string,
  schemes: readonly [SchemeId, SchemeId],
  space: KeyOptions,
  tokens: number,
  decode: string,
  prefill: string,
  more?: Partial<PlanOptions>,
];

/** A device with room for every table, and one with room for hardly any. */
const wide = { ...BASE_LIMITS, maxStorageBufferBindingSize: 2 ** 31, maxBufferSize: 2 ** 31 };
const narrow = { ...BASE_LIMITS, maxStorageBufferBindingSize: 2 ** 23 };

const GOLDEN: readonly Golden[] = [
  [
    "Llama-3.1-8B",
    ["f16", "f16"],
    scored,
    8192,
    "attend plain subgroups x8",
    "attend plain subgroups x8",
    {
      features: new Set(["shader-f16", "subgroups"]),
    },
  ],
  ["Llama-3.1-8B", ["f16", "f16"], scored, 512, "attend plain x4", "attend plain x4"],
  ["Llama-3.1-8B", ["f16", "f16"], scored, 8192, "attend plain x8", "attend plain x8"],
  ["Llama-3.1-8B", ["f16", "f16"], rotary, 8192, "attend rope x8", "attend rope x8"],
  [
    "Llama-3.1-8B",
    ["c8b8", "c8b8"],
    scored,
    512,
    "table + attend table x4",
    "attend plain x4",
  ],
  [
    "Llama-3.1-8B",
    ["c8b8", "c8b8"],
    scored,
    8192,
    "table + attend table x8",
    "attend plain x8",
  ],
  [
    "Llama-3.1-8B",
    ["c8b8", "c8b8"],
    scored,
    131072,
    "table + attend table x8",
    "attend plain x8",
  ],
  ["Llama-3.1-8B", ["c8b8", "c8b8"], rotary, 8192, "attend rope x8", "attend rope x8"],
  [
    "Llama-3.1-8B",
    ["c8b8", "c8b8"],
    scored,
    8192,
    "table + attend table x8",
    "table + attend table x8",
    { limits: wide },
  ],
  ["Llama-3.1-8B", ["c8b8", "c8b8"], scored, 8192, "attend plain x8", "attend plain x8", {
    limits: narrow,
  }],
  ["Llama-3.2-1B", ["c4b4", "c4b4"], scored, 8192, "score plain + mix x8", "score lut + mix x4"],
  ["Llama-3.2-1B", ["c2b2", "c8b8"], rotary, 8192, "score rope + mix x8", "score rope + mix x8"],
  [
    "Llama-3.2-1B",
    ["c4b8", "c8b8"],
    scored,
    8192,
    "table + attend table x8",
    "attend plain x8",
  ],
  [
    "Llama-3.2-1B",
    ["c8b10", "f16"],
    scored,
    8192,
    "table + score table + mix x8",
    "score plain + mix x8",
  ],
  ["Llama-3.2-1B", ["c2b8", "c2b8"], rotary, 2048, "attend rope x4", "attend rope x4"],
  [
    "Qwen3-0.6B",
    ["c8b10", "c8b10"],
    scored,
    2048,
    "table + attend table x4",
    "attend plain x4",
  ],
  ["SmolLM2-135M", ["c4b4", "c8b8"], scored, 2048, "score lut + mix x4", "score lut + mix x4"],
  [
    "Phi-4-mini",
    ["c2b8", "c2b8"],
    scored,
    32768,
    "attend plain x8",
    "attend plain x8",
  ],
  ["Phi-4-mini", ["u8b8", "u8b8"], scored, 8192, "attend plain x8", "attend plain x8"],
  ["Phi-4-mini", ["q4", "q4"], scored, 512, "attend plain x4", "attend plain x4"],
  [
    "Llama-3.2-1B",
    ["c2b2", "c2b2"],
    scored,
    8192,
    "score plain + mix x8",
    "score plain + mix x8",
  ],
  ["Gemma-3-1B", ["u8b8", "u8b8"], rotary, 8192, "attend rope x4", "attend rope x4"],
  [
    "Gemma-3-1B",
    ["c8b8", "c8b8"],
    scored,
    2048,
    "table + attend table x4",
    "attend plain x4",
  ],
  [
    "SmolLM2-135M",
    ["c4b8", "c8b8"],
    scored,
    512,
    "table + attend table x4",
    "attend plain x4",
  ],
  [
    "SmolLM2-135M",
    ["c4b8", "c8b8"],
    scored,
    2048,
    "table + attend table x4",
    "attend plain x4",
  ],
  [
    "SmolLM2-135M",
    ["c1b4", "c1b4"],
    scored,
    2048,
    "score plain + mix x4",
    "score plain + mix x4",
  ],
  [
    "Llama-3.1-8B",
    ["c8b8", "c8b8"],
    scored,
    8192,
    "table table16 + attend table16 x8",
    "attend plain x8",
    { precision: "f16" },
  ],
  [
    "SmolLM2-135M",
    ["c4b8", "c8b8"],
    scored,
    2048,
    "table table16 + attend table16 x4",
    "attend plain x4",
    { precision: "f16" },
  ],
  [
    "Llama-3.1-8B",
    ["c8b8", "c8b8"],
    rotary,
    8192,
    "attend rope subgroups x8",
    "attend rope subgroups x8",
    { precision: "f16", features: new Set(["shader-f16", "subgroups"]) },
  ],
];

/** `table + attend table x4` */
function brief(candidate: AttentionCandidate): string {
  const names = candidateNames(candidate.kernels).map((name) => {
    const { family, variant, feature } = parseKernelName(name);
    return [family, variant, feature].filter((part) => part !== undefined).join(" ");
  });
  return `${names.join(" + ")} x${candidate.span}`;
}

for (const [model, schemes, space, tokens, decode, prefill, more] of GOLDEN) {
  const what = `${schemes.join("/")} ${space.space}, ${tokens} tokens of ${model}`;
  const device = [
    more?.limits && `${more.limits.maxStorageBufferBindingSize} bytes a binding`,
    more?.features && "all features",
    more?.precision && `products in ${more.precision}`,
  ].flatMap((part) => part ? `, ${part}` : "").join("");
  Deno.test(`chooseAttention() takes ${decode} for ${what}${device}`, () => {
    const [layer] = planCache(optionsOf(model, schemes, space, tokens, more)).layers;
    const found = [layer!.decode, layer!.prefill]
      .map(({ span, reason: _, ...kernels }) => brief({ kernels, span }));
    assert.deepEqual(found, [decode, prefill]);
  });
}

/** A record of one kind of layer, decoding and prefill, fastest first. */
function recordOf(options: PlanOptions, variants: readonly string[]): TuningRecord {
  const resolved = resolveOptions(options);
  const kind = layerKind(resolved.layers[0]!);
  const { keys, values } = kind;
  const candidates = variants.map((variant, i) => ({
    kernels: [
      ...(variant.startsWith("plain")
        ? []
        : [`table_${keys}_d128${variant === "table" ? "" : `_${variant}`}`]),
      `attend_${keys}_${values}_d128_${variant}`,
    ],
    span: 8,
    workgroups: 256,
    milliseconds: 1 + i,
  }));
  const step = { ...kind, sequences: 1, context: 8192, tokens: 1, candidates };
  return {
    version: VERSION,
    adapter: { vendor: "", architecture: "", device: "", description: "" },
    shape: tunedShape(resolved),
    clock: "timestamps",
    attention: [{ ...step, way: "decode" }, { ...step, way: "prefill" }],
  };
}

Deno.test("planCache() takes kernels that round products to f16 on request alone, whatever was measured, and says so", () => {
  const options = optionsOf("Llama-3.1-8B", ["c8b8", "c8b8"], scored, 8192, { limits: wide });
  const variants = (precision: "f32" | "f16" | undefined, measured?: readonly string[]) => {
    const plan = planCache({
      ...options,
      ...(precision === undefined ? {} : { precision }),
      ...(measured === undefined ? {} : { tuning: recordOf(options, measured) }),
    });
    const [{ decode, prefill }] = plan.layers as [LayerPlan];
    const [first, second] = [decode, prefill].map(({ attend }) =>
      parseKernelName(attend!.name).variant
    );
    assert.equal(first, second);
    const rounds = first === "table16";
    assert.equal(plan.precision, rounds ? "f16" : "f32");
    assert.match(
      plan.describe(),
      rounds
        ? /precision: f16, outputs within 0.01 of/
        : /precision: f32, outputs within 0.00002 of/,
    );
    return first;
  };
  assert.equal(variants(undefined), "table");
  assert.equal(variants("f32"), "table");
  assert.equal(variants("f16"), "table16");
  assert.equal(variants(undefined, ["table16", "plain", "table"]), "plain");
  assert.equal(variants("f16", ["table16", "plain", "table"]), "table16");
  assert.equal(variants("f16", ["plain", "table16"]), "plain");
  const tuning = recordOf(options, ["table16"]);
  refuses("tuning", () => planCache({ ...options, tuning }));
  refuses("shape", () => planCache({ ...options, precision: "f64" as "f32" }));
});

Deno.test("planCache() has spans attend in the integers that tuning chose for a layer, if there are kernels", () => {
  const options = optionsOf("Llama-3.1-8B", ["c8b8", "c8b8"], scored, 8192, { limits: wide });
  const chosen = (scheme: SchemeId, tuning?: TuningRecord, precision: Precision = "int16") => {
    const { spans } = planCache({
      ...options,
      precision,
      spans: spanKinds({ image: { keys: scheme, values: scheme, tokens: 256, count: 1 } }),
      ...(tuning === undefined ? {} : { tuning }),
    });
    const { decode, prefill } = spans[0]!.layers[0]!;
    return [decode, prefill].map(({ attend, reason }) => {
      const { variant, feature = "floats" } = parseKernelName(attend!.name);
      return `${variant} ${feature}${reason.startsWith("estimated") ? "" : `, ${reason}`}`;
    });
  };
  const tuned = (variant: string) => recordOf(options, [variant]);
  const [floats, integers] = [tuned("plain"), tuned("plain_int16")];
  const reason = "int16, as was measured of a layer";
  assert.deepEqual(chosen("sc4"), ["plain floats", "plain floats"]);
  assert.deepEqual(chosen("sc4", floats), ["plain floats", "plain floats"]);
  assert.deepEqual(chosen("sc4", integers), [`plain int16, ${reason}`, `plain int16, ${reason}`]);
  assert.deepEqual(
    chosen("sc4", { ...integers, attention: [integers.attention[0]!, floats.attention[1]!] }),
    [`plain int16, ${reason}`, "plain floats"],
  );
  assert.deepEqual(
    chosen("sc2", tuned("plain_int8"), "int8").map((one) => one.split(",")[0]),
    ["plain int8", "plain int8"],
  );
  // The estimate chooses among those in integers.
  assert.deepEqual(chosen("c8b8", integers), [`table int16, ${reason}`, `plain int16, ${reason}`]);
  assert.deepEqual(chosen("sc1", integers), ["plain floats", "plain floats"]);
});

Deno.test("chooseAttention() says what it estimated", () => {
  const { decode } = planCache(optionsOf("Llama-3.1-8B", ["c8b8", "c8b8"], scored, 8192))
    .layers[0]!;
  assert.match(decode.reason, /^estimated: least of \d+ at 8192 tokens, \d+ % less than .*_c8b8/);
});

/** The only rows that score are those of the given variants. */
function scoringBy(...variants: string[]): KernelInfo[] {
  return manifest.filter(({ name }) => {
    const { family, variant } = parseKernelName(name);
    return !["attend", "score"].includes(family) || variants.includes(variant!);
  });
}

Deno.test("chooseAttention() refuses tables that exceed the limits where nothing else scores", () => {
  const options = optionsOf("Llama-3.1-8B", ["c8b8", "c8b8"], scored, 8192, {
    kernels: scoringBy("table", "table16"),
  });
  assert.throws(
    () => planCache(options),
    /tables of q\.centroid would take \d+ bytes, more than/,
  );
  refuses("limits", () => planCache(options));
  const small = { ...options.capacity, stepTokens: 1, appendTokens: 1 };
  assert.ok(planCache({ ...options, capacity: small }).layers[0]!.decode.table);
});

Deno.test("chooseAttention() refuses kernels that read tables where none fills them", () => {
  const kernels = scoringBy("table16").filter(({ name }) =>
    parseKernelName(name).family !== "table"
  );
  const options = optionsOf("Llama-3.1-8B", ["c8b8", "c8b8"], scored, 8192, { kernels });
  const small = { ...options.capacity, stepTokens: 1, appendTokens: 1 };
  refuses("kernel", () => planCache({ ...options, capacity: small }));
});

Deno.test("fittingCandidates() offers a table only with the kernel that fills it", () => {
  const options = resolveOptions(optionsOf("Llama-3.1-8B", ["c8b8", "c8b8"], scored, 8192));
  const step = { tokens: 1, entries: 1 };
  const found = fittingCandidates(options, manifest, BASE_LIMITS, options.layers[0]!, step);
  assert.ok(found.some(({ kernels }) => kernels.table));
  for (const { kernels: { attend, table, score } } of found) {
    const read = (attend ?? score)!.bindings.filter((name) => /^table/.test(name));
    const written = (table?.bindings ?? []).filter((name) => /^table/.test(name));
    assert.deepEqual(written, read.map((name) => `${name}_written`));
  }
});

/** Shapes, schemes and steps that plans may have, and their candidates. */
const cases: fc.Arbitrary<
  { options: ResolvedOptions; step: StepSize; candidates: readonly AttentionCandidate[] }
> = fc.record({
  model: fc.constantFrom(...Object.keys(MODELS)),
  keys: fc.constantFrom("f16", "c8b8", "c4b8", "c8b10", "c2b8"),
  values: fc.constantFrom("f16", "c8b8", "c4b8"),
  space: fc.constantFrom(rotary, scored),
  slidingWindow: fc.constantFrom(0, 0, 1024),
  sequences: fc.integer({ min: 1, max: 8 }),
  tokens: fc.integer({ min: 1, max: 16 }),
}).map(({ model, keys, values, space, slidingWindow, sequences, tokens }) => {
  const capacity = {
    sequences,
    tokens: 1 << 20,
    sequenceTokens: 1 << 17,
    stepTokens: 128,
    appendTokens: 16,
  };
  const shape = { layers: 1, ...MODELS[model]!, slidingWindow };
  const options = resolveOptions(
    optionsOf(model, [keys, values], space, 1024, { shape, capacity }),
  );
  const step = { tokens: sequences * tokens, entries: sequences };
  const [layer] = options.layers;
  const candidates = fittingCandidates(options, manifest, BASE_LIMITS, layer!, step);
  return { options, step, candidates };
});

const context = fc.integer({ min: 1, max: 1 << 17 });

/** Runs a property on the same 200 cases each time. */
function holds<T extends [unknown, ...unknown[]]>(property: fc.IPropertyWithHooks<T>): void {
  fc.assert(property, { seed: 6, numRuns: 200 });
}

Deno.test("attentionCost() is positive and never falls with more tokens, or more new ones", () => {
  holds(fc.property(cases, context, context, ({ options, step, candidates }, a, b) => {
    const [layer] = options.layers;
    const [fewer, more] = [Math.min(a, b), Math.max(a, b)];
    const larger = { ...step, tokens: step.tokens + step.entries };
    for (const candidate of candidates) {
      const cost = attentionCost(options, layer!, step, fewer, candidate);
      assert.ok(cost > 0 && Number.isFinite(cost));
      assert.ok(attentionCost(options, layer!, step, more, candidate) >= cost);
      assert.ok(attentionCost(options, layer!, larger, fewer, candidate) >= cost);
    }
  }));
});

Deno.test("attentionCost() never turns from a table to gathering as tokens become more", () => {
  holds(fc.property(cases, context, context, ({ options, step, candidates }, a, b) => {
    const [layer] = options.layers;
    const [fewer, more] = [Math.min(a, b), Math.max(a, b)];
    const cost = (tokens: number, candidate: AttentionCandidate) =>
      attentionCost(options, layer!, step, tokens, candidate);
    const fused = (variant: string, span: number) =>
      candidates.find(({ kernels, ...one }) =>
        one.span === span && kernels.attend &&
        parseKernelName(kernels.attend.name).variant === variant
      );
    for (const span of [4, 8]) {
      const plain = fused("plain", span);
      for (const table of [fused("table", span), fused("table16", span)]) {
        if (plain === undefined || table === undefined) continue;
        if (cost(fewer, table) <= cost(fewer, plain)) {
          assert.ok(cost(more, table) <= cost(more, plain));
        }
      }
    }
  }));
});

Deno.test("attentionWork() shares the same tiles among any number of workgroups", () => {
  holds(fc.property(cases, context, ({ options, step, candidates }, tokens) => {
    const [layer] = options.layers;
    for (const candidate of candidates) {
      const { span } = candidate;
      const works = [...TUNED_WORKGROUPS].sort((a, b) => a - b).map((workgroups) =>
        attentionWork(options, layer!, step, tokens, candidate, { workgroups, span })
      );
      works.forEach((work, i) => {
        assert.equal(work.tiles, works[0]!.tiles);
        assert.ok(work.share * work.workgroups >= work.tiles);
        assert.ok(work.share <= works[Math.max(0, i - 1)]!.share);
      });
    }
  }));
});

Deno.test("attentionCost() of the chosen candidate never rises with a device's limits", () => {
  holds(fc.property(cases, context, ({ options, step, candidates }, tokens) => {
    const [layer] = options.layers;
    const least = (among: readonly AttentionCandidate[]) =>
      Math.min(...among.map((one) => attentionCost(options, layer!, step, tokens, one)));
    const limits = { ...BASE_LIMITS, maxStorageBufferBindingSize: 2 ** 32 };
    const larger = fittingCandidates(options, manifest, limits, layer!, step);
    assert.ok(larger.length >= candidates.length);
    assert.ok(least(larger) <= least(candidates));
  }));
});

Deno.test("obstacle() lets a kernel take all that a device offers, and no more", () => {
  const kernel = manifest.find(({ workgroupBytes }) => workgroupBytes > 0)!;
  const bytes = { maxComputeWorkgroupStorageSize: kernel.workgroupBytes };
  assert.equal(obstacle(kernel, { ...BASE_LIMITS, ...bytes }), undefined);
  bytes.maxComputeWorkgroupStorageSize--;
  assert.match(obstacle(kernel, { ...BASE_LIMITS, ...bytes })!, /workgroup memory/);
});
