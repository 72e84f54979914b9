/** Rotary embeddings as published, beside an independent script's values, and what kernels can apply. */
import assert from "node:assert/strict";
import { CoupletError, inverseFrequencies, planCache, rotate } from "../../mod.ts";
import { PUBLISHED } from "../../tools/models/published.ts";
import { kernels } from "../../generated/f16/f16_d128.ts";
import { planOptions } from "../../src/models/mod.ts";
import values from "../fixtures/rope_values.json" with { type: "json" };

/** A small model with heads of so many channels. */
function llama(headDim: number, entries: object = {}) {
  return {
    model_type: "llama",
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: headDim,
    ...entries,
  };
}

for (const { name, theta, headDim, maxPositions, length, parameters, ...expected } of values) {
  const title = `${name}${
    length === null ? "" : ` for ${length} tokens`
  }, theta ${theta}, ${expected.attentionFactor}`;
  Deno.test(`planOptions() has the published frequencies: ${title}`, () => {
    const config = llama(headDim, {
      rope_theta: theta,
      rope_scaling: parameters,
      max_position_embeddings: maxPositions,
    });
    const { layers: [layer], scale, keys } = planOptions(config, length === null ? {} : { length });
    const { rotaryDim, attentionFactor, ...rope } = layer!.rope!;
    assert.equal(rotaryDim, headDim);
    assert.ok(Math.abs(attentionFactor / expected.attentionFactor - 1) < 1e-12);
    const found = inverseFrequencies(rope, headDim);
    assert.equal(found.length, expected.frequencies.length);
    found.forEach((one, i) => {
      const wanted = expected.frequencies[i]!;
      assert.ok(Math.abs(one - wanted) <= 1e-12 * wanted, `pair ${i}: ${one} for ${wanted}`);
    });
    assert.equal(keys.space, "pre-rope");
    assert.ok(
      Math.abs(scale as number / (headDim ** -0.5 * expected.attentionFactor ** 2) - 1) < 1e-12,
    );
  });
}

Deno.test("scores before the rotary embedding have the square of the attention factor", () => {
  const config = llama(8, {
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 64 },
  });
  const before = planOptions(config);
  const after = planOptions(config, { space: "as-scored" });
  assert.ok(before.keys.space === "pre-rope" && "theta" in before.keys.rope);
  const { rope } = before.keys;
  const scales = [before, after].map(({ scale }) => scale as number);
  const factor = before.layers[0]!.rope!.attentionFactor;
  const [key, query] = [1, 2].map((seed) =>
    Array.from({ length: 8 }, (_, i) => Math.sin(i + seed))
  );
  const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
    Array.from(a).reduce((sum, one, i) => sum + one * b[i]!, 0);
  const [turnedKey, turnedQuery] = [rotate(key!, 3, rope), rotate(query!, 9, rope)];
  // A host that rotates multiplies both, as transformers does.
  const scored = dot(turnedKey.map((x) => x * factor), turnedQuery.map((x) => x * factor));
  assert.ok(Math.abs(scales[0]! * dot(turnedKey, turnedQuery) - scales[1]! * scored) < 1e-12);
  assert.match(after.notes.join(), /multiplies rotated channels of keys and queries by 1\.138/);
  assert.equal(before.notes.join(), "");
});

/** Widths of partial rotary embeddings, and how many channels kernels rotate then. */
const PARTIAL: readonly {
  readonly family: string;
  readonly rotary: number;
  readonly rotated?: number;
}[] = [
  { family: "llama", rotary: 128, rotated: 128 },
  { family: "llama", rotary: 96, rotated: 96 },
  { family: "llama", rotary: 40 },
  { family: "glm", rotary: 64, rotated: 64 },
  { family: "glm", rotary: 40, rotated: 48 },
  { family: "glm", rotary: 120, rotated: 128 },
];

for (const { family, rotary, rotated } of PARTIAL) {
  Deno.test(`${rotary} of 128 channels of a ${family} rotate ${rotated === undefined ? "outside of kernels" : `as ${rotated}`}`, () => {
    const config = { ...llama(128), model_type: family, partial_rotary_factor: rotary / 128 };
    const { keys, shape, layers, asScored } = planOptions(config);
    assert.equal(layers[0]!.rope!.rotaryDim, rotary);
    if (rotated === undefined) {
      assert.deepEqual(keys, { space: "as-scored" });
      assert.match(asScored!, /40 channels rotate, each with one 20 away/);
      return;
    }
    assert.ok(keys.space === "pre-rope" && "theta" in keys.rope);
    const own = keys.rope;
    assert.equal(own.rotaryDim ?? 128, rotated);
    // The planner takes it, and a vector turns as without the channels that stay still.
    planCache({
      shape,
      keys,
      policy: { keys: "f16", values: "f16" },
      tiers: { sinks: 0, window: 8 },
      capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 8, appendTokens: 8 },
      kernels,
    });
    const vector = Array.from({ length: 128 }, (_, i) => Math.cos(i * i));
    const { attentionFactor: _, ...rope } = layers[0]!.rope!;
    const plain = rotate(vector, 5, rope);
    rotate(vector, 5, own).forEach((x, i) => assert.ok(Math.abs(x - plain[i]!) < 1e-12));
  });
}

Deno.test("planOptions() plans the rotary embedding of each layer where layers differ", () => {
  const rope = (theta: number) => ({ layout: "half", theta });
  const bases = planOptions({
    ...llama(128),
    model_type: "olmo3",
    num_hidden_layers: 2,
    layer_types: ["sliding_attention", "full_attention"],
    rope_parameters: {
      sliding_attention: { rope_type: "default", rope_theta: 10000 },
      full_attention: { rope_type: "default", rope_theta: 500000 },
    },
  });
  assert.deepEqual(bases.keys, { space: "pre-rope", rope: [rope(10000), rope(500000)] });
  const none = llama(128, { num_hidden_layers: 2, no_rope_layers: [1, 0], rope_theta: 10000 });
  assert.deepEqual(planOptions(none).keys, { space: "pre-rope", rope: [rope(10000), null] });
  assert.throws(() => planOptions(none, { space: "anchored" }), /anchored keys have one/);
});

/** Embeddings that no kernel applies, and why keys are as scored. */
const AS_SCORED: readonly [name: string, config: object, why: RegExp][] = [
  [
    "a factor of some channels alone",
    llama(128, {
      partial_rotary_factor: 0.5,
      rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 4096 },
    }),
    /a factor of 1\.13.* is of the 64 channels that rotate alone/,
  ],
  [
    "sections of positions",
    llama(128, { rope_scaling: { type: "mrope", mrope_section: [16, 24, 24] } }),
    /3 positions of a token, in sections of 16, 24, 24 pairs \(mrope_section\)/,
  ],
];

for (const [name, config, why] of AS_SCORED) {
  Deno.test(`keys are planned as they are scored for ${name}, and not before that`, () => {
    const { keys, asScored, notes } = planOptions(config);
    assert.deepEqual(keys, { space: "as-scored" });
    assert.match(asScored!, why);
    assert.match(notes[0]!, /^Keys are planned as they are scored, because /);
    assert.equal(planOptions(config, { space: "as-scored" }).asScored, undefined);
    assert.throws(
      () => planOptions(config, { space: "pre-rope" }),
      (error) => error instanceof CoupletError && why.test(error.parts.why),
    );
  });
}

/** Models whose channels turn by three positions, and the first sections of theirs. */
const SECTIONED = {
  "Qwen2-VL-7B": [64, 0, 0, 0],
  "Qwen2.5-Omni-7B": [64, 0, 0, 0],
  "Qwen3-VL-4B": [64, 0, 1, 2],
  "Qwen3-VL-30B-A3B": [64, 0, 1, 2],
  "Qwen3-Omni-30B-A3B": [64, 0, 1, 2],
  "Qwen3.5-27B": [32, 0, 1, 2],
};

for (const [name, [pairs, ...first]] of Object.entries(SECTIONED)) {
  Deno.test(`planOptions() has the sections of ${name} where keys are asked for before its rotary embedding`, () => {
    const { config } = PUBLISHED.find(({ model }) => model === name)!;
    const { keys, asScored, notes } = planOptions(config, { space: "pre-rope" });
    assert.ok(keys.space === "pre-rope" && "theta" in keys.rope);
    assert.equal(keys.rope.sections!.length, pairs);
    assert.deepEqual(keys.rope.sections!.slice(0, 3), first);
    assert.equal(asScored, undefined);
    assert.match(notes.join(" "), /The host gives the positions of images/);

    assert.equal(planOptions(config).keys.space, "as-scored");
    assert.match(planOptions(config).notes.join(" "), /space: "pre-rope"/);
    assert.throws(() => planOptions(config, { space: "anchored" }), CoupletError);
  });
}

Deno.test("planOptions() refuses sections that do not share all pairs", () => {
  const { config } = PUBLISHED.find(({ model }) => model === "Qwen2-VL-7B")!;
  for (const mrope_section of [[16, 24], [16, 24, 23], []]) {
    assert.throws(
      () => planOptions({ ...config, rope_scaling: { type: "mrope", mrope_section } }),
      (error) => error instanceof CoupletError && /mrope_section is/.test(error.message),
    );
  }
});

/** Scalings that make no sense, and what is said of them. */
const REFUSED: readonly [scaling: unknown, why: RegExp][] = [
  [{ rope_type: "unheard-of" }, /rope_scaling\.rope_type is "unheard-of"/],
  [{ rope_type: "toString" }, /"toString", a scaling that is not known/],
  [{ type: "linear" }, /rope_scaling\.factor is missing/],
  [{ type: "linear", factor: 0 }, /rope_scaling\.factor is 0/],
  [{ type: "linear", factor: 2, twist: 3 }, /rope_scaling\.twist may change the attention/],
  [{
    rope_type: "llama3",
    factor: 8,
    low_freq_factor: 4,
    high_freq_factor: 1,
    original_max_position_embeddings: 8,
  }, /high_freq_factor 1 is below low_freq_factor 4/],
  [{ rope_type: "yarn", original_max_position_embeddings: 8 }, /factor is missing/],
  [
    { rope_type: "longrope", factor: 2, original_max_position_embeddings: 8, short_factor: [1] },
    /short_factor has 1 factors for 64 pairs/,
  ],
  [{
    rope_type: "longrope",
    factor: 2,
    original_max_position_embeddings: 8,
    short_factor: Array(64).fill(1),
  }, /long_factor has no factors/],
  [{ rope_theta: 5, partial_rotary_factor: 0.01 }, /1 of 128 channels rotate/],
  [4, /rope_scaling is 4/],
];

for (const [scaling, why] of REFUSED) {
  Deno.test(`planOptions() refuses a rotary scaling: ${why.source}`, () => {
    assert.throws(
      () => planOptions(llama(128, { rope_scaling: scaling })),
      (error) => error instanceof CoupletError && why.test(error.parts.why),
    );
  });
}

Deno.test("a rotary embedding that depends on the length says so", () => {
  const dynamic = llama(128, {
    max_position_embeddings: 4096,
    rope_scaling: { type: "dynamic", factor: 2 },
  });
  assert.match(planOptions(dynamic).notes.join(), /up to 4096 tokens/);
  assert.match(planOptions(dynamic, { length: 8192 }).notes.join(), /sequences of 8192 tokens/);
  const factors = { short_factor: Array(64).fill(1), long_factor: Array(64).fill(2) };
  const long = llama(128, {
    max_position_embeddings: 8192,
    original_max_position_embeddings: 4096,
    rope_scaling: { type: "su", ...factors },
  });
  assert.match(
    planOptions(long).notes.join(),
    /up to 4096 tokens; longer ones have others \(rope_scaling.long_factor\)/,
  );
  assert.match(planOptions(long, { length: 4097 }).notes.join(), /more than 4096 tokens; shorter/);
});
