/** Options at every depth: unknown names, other types, numbers out of range; and advice that works when it is followed. */
import assert from "node:assert/strict";
import { kernels } from "../../generated/u4b8/u4b8_d64.ts";
import { manifest } from "../../generated/manifest.ts";
import {
  BASE_LIMITS,
  calibrate,
  checkDrift,
  choosePolicy,
  CoupletError,
  createReferenceCache,
  decodeCodebooks,
  encodeCodebooks,
  planCache,
  type PlanOptions,
  queryScale,
  requiredFeatures,
  requiredLimits,
  writeSamples,
} from "../../mod.ts";
import { generateKernels } from "../../codegen/generate.ts";
import { calibrationFields } from "../../src/calibrate/calibrate_options.ts";
import { ORIGIN_FIELDS } from "../../src/calibrate/sample_origin.ts";
import { seededRandom } from "../../src/base/random.ts";
import { queryFields } from "../../src/calibrate/query_energy.ts";
import type { AnyRule } from "../../src/base/check_options.ts";
import { choiceFields } from "../../src/policy/choose_policy.ts";
import { USER_FIELDS } from "../../codegen/rows/user_table.ts";
import { EXPECTED_FIELDS } from "../../src/codebooks/file.ts";
import { DRIFT_FIELDS } from "../../src/calibrate/drift.ts";
import { FEATURE_FIELDS } from "../../src/plan/requirements.ts";
import { PLAN_FIELDS } from "../../src/plan/plan.ts";
import { referenceFields } from "../../src/plan/reference_options.ts";
import { OPTIONS_PAGE, optionsPage } from "../../tools/options_page.ts";
import { failure } from "../helpers/bad_values.ts";
import { gridCodebooks } from "../helpers/grid_numbers.ts";

const rope = { layout: "half", theta: 10000 } as const;
const base: PlanOptions = {
  shape: { layers: 2, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
  policy: { keys: "u4b8", values: "u4b8" },
  keys: { space: "pre-rope", rope },
  tiers: { sinks: 4, window: 64 },
  capacity: { sequences: 1, tokens: 256, sequenceTokens: 256, stepTokens: 8, appendTokens: 8 },
  kernels,
};
const f16 = { keys: "f16", values: "f16" };

/** Options with one entry set, by its path; without it where the value is undefined. */
// deno-lint-ignore no-explicit-any
function having(options: object, path: string, value: unknown): any {
  const [name, ...rest] = path.split(".");
  const own = (options as Record<string, unknown>)[name!];
  const changed = rest.length === 0 ? value : having(own ?? {}, rest.join("."), value);
  const copy: Record<string, unknown> = { ...options, [name!]: changed };
  if (rest.length === 0 && value === undefined) delete copy[name!];
  return copy;
}

/** Names and values that no option has, by the path of the first that the error is to name. */
const WRONG: readonly (readonly [path: string, values: readonly unknown[]])[] = [
  ["shape.sliding_window", [8]],
  ["shape.slidingWindows", [8]],
  ["shape.vHeadDim", [128]],
  ["shape.valueHeadDim", [0, 1025, "64", [64, "64"]]],
  ["shape.numLayers", [2]],
  ["shape.kvHeads", [2]],
  ["shape.layers", [0, -1, 1.5, "2", 4097, 2e5, 2 ** 53 - 1, NaN]],
  ["shape.headDim", [0, 65537, 1e9, Infinity]],
  ["shape.keyValueHeads", [0, "2", [2, "2"], [2, 0], { 0: 2, 1: 2 }]],
  ["shape.slidingWindow", [-1, ["4", 0], [true, 0], 2 ** 31]],
  ["keys.space", ["pre_rope", "PRE-ROPE", "post-rope", "as_scored", undefined, 1]],
  ["keys.ropes", [rope]],
  ["keys.rope", [undefined, null, 10000, [rope]]],
  ["keys.rope.layout", ["neox", "Half", null, undefined]],
  ["keys.rope.rotary_dim", [32]],
  ["keys.rope.scaling", [{ factor: 8 }]],
  ["keys.rope.base", [10000]],
  ["keys.rope.theta", ["10000", 0, -1, Infinity, undefined]],
  ["keys.rope.rotaryDim", [0, 0.5, "32"]],
  ["keys.rope.inverseFrequencies", [1, new Float32Array(32), ["1"], [NaN]]],
  ["keys.rope.sections", [1, [0, 3], [0.5], new Uint8Array(32)]],
  ["policy", [undefined, null, "int4", 4, ["u4b8"]]],
  ["policy.layer", [{ 0: f16 }]],
  ["policy.key", ["f16"]],
  ["policy.keys", [undefined, 4, { id: "f16" }]],
  ["policy.layers", ["f16", new Map([[0, f16]])]],
  ["policy.layers.0.value", ["f16"]],
  ["policy.layers.0.keys", [undefined, 4]],
  ["tiers", [undefined, 4]],
  ["tiers.sink", [4]],
  ["tiers.recent", [64]],
  ["tiers.window", [-1, 2 ** 33, "64"]],
  ["capacity", [undefined, 4096]],
  ["capacity.sequence_tokens", [64]],
  ["capacity.sequenceTokens", [2 ** 33, 2 ** 53, 0, "256", undefined]],
  ["capacity.tokens", [2 ** 31, Infinity]],
  ["io", ["f16", null]],
  ["io.dtype", ["float16", "fp16", "f64", null]],
  ["io.type", ["f16"]],
  ["io.keys.stride", [1]],
  ["io.keys", [64, { token: 128 }]],
  ["scale", [0, -0.1, "0.125", NaN, 1e-300, 1e300]],
  ["softcap", [-1, "50", NaN]],
  ["skip", [20, null]],
  ["skip.below", [0, -20, 101, 12.5, "20", undefined]],
  ["limits", [{}, { ...BASE_LIMITS, maxBufferSize: "1" }, 4, null]],
  ["features", [["shader-f16"], "shader-f16", new Set(["shader_f16"])]],
  ["kernels", [undefined, Promise.resolve(kernels), { kernels }, [{}], kernels[0], "u4b8_d64"]],
  ["tuning", [null]],
  ["windw", [3]],
  ["attentionBias", [1]],
];

for (const [path, values] of WRONG) {
  Deno.test(`planCache() refuses another ${path} than there may be, and names it`, () => {
    for (const value of values) {
      assert.throws(() => planCache(having(base, path, value)), (error) => {
        assert.ok(error instanceof CoupletError, `${path} = ${String(value)}: ${error}`);
        assert.ok(
          error.message.includes(path === "tuning" ? "tuning record" : path),
          error.message,
        );
        return true;
      }, `${path} = ${JSON.stringify(value)}`);
    }
  });
}

for (const layer of ["-1", "0.5", "1e0", "01", "x", "2", "4294967296"]) {
  Deno.test(`planCache() refuses a policy for layer ${layer}`, () => {
    const policy = { ...f16, layers: { [layer]: f16 } };
    assert.throws(() => planCache(having(base, "policy", policy)), /0 to 1|layer/);
  });
}

/** Values that are known, and are planned. */
const KNOWN: readonly (readonly [path: string, value: unknown])[] = [
  ["shape.slidingWindow", [0, 32]],
  ["shape.keyValueHeads", [2, 4]],
  ["keys", { space: "as-scored" }],
  ["keys.rope.rotaryDim", 32],
  ["keys.rope.layout", "interleaved"],
  ["policy.layers", { 1: f16 }],
  ["io", {
    dtype: "f16",
    keys: { token: 512, head: 64 },
    values: { token: 512, head: 64 },
    queries: { token: 256, head: 64 },
    output: { token: 256, head: 64 },
  }],
  ["scale", 0.1],
  ["softcap", 50],
  ["softcap", 0],
  ["skip", { below: 20 }],
  ["features", new Set(["timestamp-query", "chromium-experimental-subgroups"])],
  ["limits", { ...BASE_LIMITS, maxTextureDimension1D: 1 }],
  ["io", undefined],
  ["tiers.sinks", 0],
];

for (const [path, value] of KNOWN) {
  Deno.test(`planCache() plans ${path} = ${JSON.stringify(value)}`, () => {
    planCache(having({ ...base, kernels: manifest }, path, value));
  });
}

Deno.test("planCache() takes an option that is undefined as absent", () => {
  const { scale, options } = planCache({ ...base, scale: undefined } as never) as unknown as {
    scale?: number;
    options: { layers: readonly { scale: number }[] };
  };
  assert.deepEqual([scale, options.layers[0]!.scale], [undefined, 1 / 8]);
});

const set = gridCodebooks(
  {
    ...base,
    shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 8 },
    policy: { keys: "c4b2", values: "c4b2" },
    keys: { space: "as-scored" },
  },
  seededRandom(1),
  true,
);
const samples = {
  layer: 0,
  side: "keys",
  keyValueHeads: 1,
  headDim: 8,
  values: Float32Array.from({ length: 256 * 8 }, (_, i) => Math.sin(i * i)),
} as const;

/** Functions with options: right ones, and the table that says what they may be. */
const TABLES: readonly {
  readonly name: string;
  readonly fields: unknown;
  readonly options: object;
  // deno-lint-ignore no-explicit-any
  readonly run: (options: any) => unknown;
}[] = [
  {
    name: "planCache",
    fields: PLAN_FIELDS,
    options: {
      ...base,
      policy: { ...base.policy, layers: { 0: base.policy } },
      io: { keys: { token: 128, head: 64 } },
    },
    run: planCache,
  },
  { name: "requiredLimits", fields: PLAN_FIELDS, options: base, run: requiredLimits },
  {
    name: "requiredFeatures",
    fields: FEATURE_FIELDS,
    options: { profile: true },
    run: requiredFeatures,
  },
  {
    name: "createReferenceCache",
    fields: referenceFields(),
    options: base,
    run: createReferenceCache,
  },
  {
    name: "decodeCodebooks",
    fields: EXPECTED_FIELDS,
    options: { headDim: 8 },
    run: (options) => decodeCodebooks(encodeCodebooks(set), options),
  },
  {
    name: "calibrate",
    fields: calibrationFields(),
    options: {
      samples: [samples],
      schemes: { keys: "c4b2", values: "f16", layers: { 0: { keys: "c4b2", values: "f16" } } },
      keySpace: "as-scored",
      model: { name: "a", digest: "b" },
      seed: 1,
      iterations: 1,
    },
    run: calibrate,
  },
  {
    name: "writeSamples",
    fields: ORIGIN_FIELDS,
    options: { model: { name: "a", digest: "b" }, keySpace: "pre-rope", source: "a text" },
    run: (options) => writeSamples([samples], options),
  },
  {
    name: "queryScale",
    fields: queryFields(),
    options: { queries: samples.values, queryHeads: 1, keyValueHeads: 1, headDim: 8, rope },
    run: queryScale,
  },
  {
    name: "choosePolicy",
    fields: choiceFields(),
    options: {
      shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 64 },
      keys: { space: "pre-rope", rope },
      budgetBits: 16,
      tokens: Infinity,
      sequences: 1,
      tiers: { sinks: 0, window: 0 },
      candidates: ["f16"],
      sensitivities: [],
    },
    run: choosePolicy,
  },
  {
    name: "checkDrift",
    fields: DRIFT_FIELDS,
    options: { policy: { keys: "c4b2", values: "c4b2" }, threshold: 2 },
    run: (options) =>
      checkDrift({ ...set, codebooks: [withFit(set.codebooks[0]!)] }, [samples], options),
  },
  {
    name: "generateKernels",
    fields: USER_FIELDS,
    options: { schemes: ["c4b2"], headDims: [16] },
    run: generateKernels,
  },
];

function withFit(codebook: (typeof set.codebooks)[number]) {
  return { ...codebook, fit: { errors: Float32Array.of(1), variances: Float32Array.of(2) } };
}

/** Paths of the objects in options whose names a table knows. */
function tablesWithin(rule: AnyRule, value: unknown, path = ""): string[] {
  const own = typeof rule === "function" ? rule(value) : rule;
  if (Array.isArray(own) || value === undefined) return [];
  return [
    path,
    ...Object.entries(own).flatMap(([key, inner]) => {
      const name = key.replace("?", "");
      const within = path === "" ? name : `${path}.${name}`;
      return tablesWithin(inner, (value as Record<string, unknown>)[name], within);
    }),
  ];
}

for (const { name, fields, options, run } of TABLES) {
  Deno.test(`${name}() refuses a name that it does not know, wherever it stands`, async () => {
    assert.equal(await failure(() => run(options)), undefined);
    const paths = tablesWithin(fields as AnyRule, options);
    for (const path of paths) {
      const unknown = path === "" ? "misspelt" : `${path}.misspelt`;
      const changed = path.startsWith("samples")
        ? { ...options, samples: [{ ...samples, misspelt: 1 }] }
        : having(options, unknown, 1);
      const error = await failure(() => run(changed));
      assert.ok(error instanceof CoupletError, `${unknown}: ${error}`);
      assert.match(error.parts.why, /misspelt|a list of samples/, unknown);
    }
  });
}

Deno.test("requiredLimits() and planCache() say what to give in place of a plan", () => {
  const plan = planCache(base);
  for (const run of [requiredLimits, planCache]) {
    assert.throws(
      () => run(plan as unknown as PlanOptions),
      /a plan was given.*options that it was made of/,
    );
  }
});

/** What a refusal advises, and the same options with the advice followed. */
const ADVICE:
  readonly (readonly [what: string, path: string, wrong: unknown, says: RegExp, right: unknown])[] =
    [
      ["an entry of kernels", "kernels", undefined, /@couplet\/kv\/kernels\/u8b8_d128/, manifest],
      ["a space", "keys", { space: "pre_rope" }, /Use "pre-rope" or "anchored" or "as-scored"/, {
        space: "as-scored",
      }],
      [
        "keys as they are scored",
        "keys.rope.rotaryDim",
        24,
        /\{ space: "as-scored" \}/,
        undefined,
      ],
      ["an element type", "io", { dtype: "float16" }, /Use "f32" or "f16"/, { dtype: "f16" }],
      ["the id of a scheme", "policy.keys", 4, /such as "u8b8"/, "u8b8"],
      ["an id in the right form", "policy.keys", "int4", /"u8b8", "u4b8"/, "u4b8"],
      ["layers there are", "policy.layers", { 2: f16 }, /Name layers 0 to 1/, { 0: f16, 1: f16 }],
      ["names", "tiers", { sink: 4, window: 64 }, /Use sinks, window/, { sinks: 4, window: 64 }],
      ["a range", "capacity.sequenceTokens", 2 ** 33, /from 1 to 2147483647/, 1],
      ["one number for each layer", "shape.slidingWindow", [8], /one for each/, [8, 8]],
      ["even strides", "io", { dtype: "f16", keys: { token: 129, head: 64 } }, /Use even strides/, {
        dtype: "f16",
        keys: { token: 130, head: 64 },
      }],
      ["limits", "limits", {}, /a device's limits/, BASE_LIMITS],
      ["features", "features", ["subgroups"], /a device's features/, new Set(["subgroups"])],
    ];

for (const [what, path, wrong, says, right] of ADVICE) {
  Deno.test(`planCache() advises ${what}, which works when followed`, () => {
    const options = { ...base, kernels: manifest };
    assert.throws(() => planCache(having(options, path, wrong)), says);
    planCache(having(options, path, right));
  });
}

Deno.test("planCache() advises what works where there is no kernel for a head dimension", () => {
  const at = (headDim: number, more: Partial<PlanOptions> = {}): PlanOptions => ({
    ...base,
    kernels: manifest,
    shape: { ...base.shape, headDim },
    policy: { keys: "c4b8", values: "c4b8" },
    keys: { space: "as-scored" },
    ...more,
  });
  const remedy = (headDim: number) => {
    try {
      planCache(at(headDim));
    } catch (error) {
      if (error instanceof CoupletError) return error.parts.remedy;
    }
    throw new Error(`head dimension ${headDim} is planned`);
  };
  for (const headDim of [40, 72, 528]) {
    assert.match(remedy(headDim), /zeros to a multiple of 16 channels up to 512/);
  }
  // Filled up to 80, as advised.
  planCache(at(80, { scale: 72 ** -0.5 }));
  for (const headDim of [48, 160]) {
    const [, scheme, size] = /couplet generate --scheme (\S+) --head-dim (\d+)/.exec(
      remedy(headDim),
    )!;
    const files = generateKernels({ schemes: [scheme!], headDims: [Number(size)] });
    assert.ok(files.has("manifest.ts"));
  }
});

Deno.test("docs/options.md is what the tables of options and their interfaces say", () => {
  assert.equal(
    Deno.readTextFileSync(OPTIONS_PAGE),
    optionsPage(),
    "Run `deno run -A tools/options_page.ts`, and commit the page",
  );
});
