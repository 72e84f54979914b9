/** Whatever a public function is given: it takes it, or refuses it by an error that says what, why and what to do. */
import assert from "node:assert/strict";
import { generateKernels, registerKernels, writeFiles } from "../../codegen/generate.ts";
import { kernels } from "../../generated/f16/f16_d64.ts";
import * as library from "../../mod.ts";
import { gridCodebooks } from "../helpers/grid_numbers.ts";
import { seededRandom } from "../../src/base/random.ts";
import * as ort from "../../src/hosts/ort.ts";
import * as transformers from "../../src/hosts/transformers.ts";
import { planOptions } from "../../src/models/mod.ts";
import { opfsStore } from "../../src/snapshots/stores/opfs.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { type Call, Opaque, opened, tryBadValues } from "../helpers/bad_values.ts";
import { memoryDirectory, memoryLocks } from "../helpers/memory_directory.ts";

const device = await requestTestDevice();

const options = {
  shape: { layers: 2, queryHeads: 2, keyValueHeads: [1, 1], headDim: 64, slidingWindow: [0, 32] },
  policy: { keys: "f16", values: "f16", layers: { 1: { keys: "f16", values: "f16" } } } as const,
  keys: {
    space: "pre-rope" as const,
    rope: { layout: "half" as const, theta: 10000, rotaryDim: 32, positionOffset: 0 },
  },
  tiers: { sinks: 1, window: 8 },
  capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 4, appendTokens: 4 },
  scale: 0.1,
  softcap: 30,
  io: {
    dtype: "f32" as const,
    keys: { token: 64, head: 64 },
    values: { token: 64, head: 64 },
    queries: { token: 128, head: 64 },
    output: { token: 128, head: 64 },
  },
  features: new Set<string>(),
};
const planned = { ...options, limits: { ...library.BASE_LIMITS }, kernels: new Opaque(kernels) };
const plan = library.planCache(opened(planned) as library.PlanOptions);
const cache = await library.createCache({ device, plan });
const sequence = cache.createSequence();
const model = { name: "a model", digest: "a digest" };

const learned = {
  ...options,
  shape: { layers: 1, queryHeads: 1, keyValueHeads: 1, headDim: 8 },
  policy: { keys: "c4b2", values: "c4b2" } as const,
};
const set = gridCodebooks({ ...learned, keys: { space: "as-scored" } }, seededRandom(1), true);
const vectors = Float32Array.from({ length: 256 * 8 }, (_, i) => Math.sin(i * i));
const samples = {
  layer: 0,
  side: "keys" as const,
  keyValueHeads: 1,
  headDim: 8,
  values: vectors,
  weights: vectors.map((x) => x * x + 1),
};
const { weights: _, ...plainSamples } = samples;
const prompt = {
  model,
  planFingerprint: "plan",
  codebookFingerprint: "codebooks",
  tokenIds: [1, 2, 3, 4],
};
const store = opfsStore(memoryDirectory(), memoryLocks());
const layout = {
  codes: 4,
  codeBits: 8,
  tokens: 1,
  words: 1,
  metadata: { sharedBits: 0, tokenBits: 0 },
  sections: [{ name: "codes", per: "token", count: 4, bits: 8, firstBit: 0 }],
};
const { io: _io, features: _features, ...modelOptions } = options;
const reference = library.createReferenceCache({
  ...modelOptions,
  shape: { ...options.shape, headDim: 8 },
  keys: { space: "as-scored" },
});
const referenceSequence = reference.createSequence();

function tensor() {
  const gpuBuffer = device.createBuffer({ size: 4 * 64 * 4, usage: 0x80 | 0x04 });
  return { type: "float32", dims: [1, 1, 4, 64], location: "gpu-buffer", gpuBuffer };
}

/** Calls by the name that is exported, each with arguments that are right. */
const CALLS: readonly Call[] = [
  { name: "planCache", arguments: [planned], run: library.planCache },
  { name: "requiredLimits", arguments: [planned], run: library.requiredLimits },
  { name: "requiredFeatures", arguments: [{ profile: true }], run: library.requiredFeatures },
  {
    name: "createCache",
    arguments: [{
      device,
      plan: new Opaque(plan),
      codebooks: new Opaque(set),
      sinkLogits: new Float32Array(4),
      model,
      onFault: () => {},
    }],
    run: library.createCache,
  },
  { name: "createProfile", arguments: [device], run: library.createProfile },
  {
    name: "tune",
    // Without kernels nothing is measured.
    arguments: [device, { ...planned, kernels: [], budget: 1, context: 4 }],
    run: library.tune,
  },
  { name: "layerShape", arguments: [options.shape, 1], run: library.layerShape },
  {
    name: "protectedTokens",
    arguments: [{ visual: vectors, text: vectors.slice(0, 8), width: 8, share: 0.5 }],
    run: library.protectedTokens,
  },
  {
    name: "spanKinds",
    arguments: [{ image: { keys: "sc1", values: "sc1", tokens: 9, count: 1, remap: { tau: 3 } } }],
    run: library.spanKinds,
  },
  {
    name: "createReferenceCache",
    arguments: [{ ...planned, sinkLogits: new Float32Array(4), codebooks: new Opaque(set), model }],
    run: library.createReferenceCache,
  },
  {
    name: "attend",
    arguments: [{
      queryHeads: 1,
      keyValueHeads: 1,
      headDim: 8,
      queries: vectors.subarray(0, 8),
      firstPosition: 1,
      exact: { keys: vectors.subarray(0, 16), values: vectors.subarray(0, 16) },
      coded: { keys: vectors.subarray(0, 16), values: vectors.subarray(0, 16) },
      tiers: { sinks: 0, window: 1 },
      keySpace: { space: "as-scored" },
      scale: 1,
      softcap: 3,
      slidingWindow: 4,
      sinkLogits: [0],
      exactFrom: 0,
      block: 1,
    }],
    run: library.attend,
  },
  {
    name: "seesExactly",
    arguments: [{ sinks: 1, window: 2 }, 5, 3, 0, 1],
    run: library.seesExactly,
  },
  {
    name: "inverseFrequencies",
    arguments: [options.keys.rope, 64],
    run: library.inverseFrequencies,
  },
  {
    name: "mropeSections",
    arguments: [[8, 12, 12], { interleaved: true }],
    run: library.mropeSections,
  },
  {
    name: "rotate",
    arguments: [[1, 2, 3, 4], 3, { layout: "half", theta: 10 }],
    run: library.rotate,
  },
  { name: "parseScheme", arguments: ["c4b8"], run: library.parseScheme },
  {
    name: "registerScheme",
    arguments: [{ ...library.parseScheme("kc2"), id: "tried1", family: "tests/tried" }],
    run: library.registerScheme,
  },
  {
    name: "registerCodec",
    arguments: ["tests/tried", library.schemeCodec],
    run: library.registerCodec,
  },
  {
    name: "registerKernels",
    arguments: ["tests/tried", () => {}, { "partials/tried.hbs": "" }],
    run: registerKernels,
  },
  {
    name: "schemeCodec",
    arguments: [new Opaque(library.parseScheme("c4b8"))],
    run: library.schemeCodec,
  },
  {
    name: "parseKernelName",
    arguments: ["attend_c8b8_c8b8_d64_rope"],
    run: library.parseKernelName,
  },
  {
    name: "formatKernelName",
    arguments: [{
      family: "attend",
      schemes: ["c8b8", "c8b8"],
      size: 64,
      variant: "rope",
      feature: "f16",
    }],
    run: library.formatKernelName,
  },
  {
    name: "recordLayout",
    arguments: [4, 8, { sharedBits: 0, tokenBits: 16 }, 2],
    run: library.recordLayout,
  },
  { name: "writeBits", arguments: [new Uint32Array(2), 30, 3, 5], run: library.writeBits },
  { name: "readBits", arguments: [new Uint32Array(2), 30, 3], run: library.readBits },
  {
    name: "sectionedLayout",
    arguments: [
      [{ name: "scale", per: "record", count: 1, bits: 16 }],
      [{ name: "codes", per: "token", count: 4, bits: 2 }],
      2,
    ],
    run: library.sectionedLayout,
  },
  { name: "recordWords", arguments: [layout, 3], run: library.recordWords },
  { name: "recordBits", arguments: [layout, 8], run: library.recordBits },
  {
    name: "packRecords",
    arguments: [new Opaque(layout), [1, 2, 3, 4], 1],
    run: library.packRecords,
  },
  {
    name: "unpackRecords",
    arguments: [new Opaque(layout), new Uint32Array(1), 1],
    run: library.unpackRecords,
  },
  {
    name: "roundToGrid",
    arguments: [vectors.subarray(0, 8 * 4), "c4b2"],
    run: library.roundToGrid,
  },
  {
    name: "centroidNumbers",
    arguments: [new Opaque(set.codebooks[0])],
    run: library.centroidNumbers,
  },
  {
    name: "findCodebook",
    arguments: [new Opaque(set), 0, "keys", "c4b2"],
    run: library.findCodebook,
  },
  { name: "encodeCodebooks", arguments: [set], run: library.encodeCodebooks },
  {
    name: "decodeCodebooks",
    arguments: [library.encodeCodebooks(set), {
      model: set.model,
      keySpace: "as-scored",
      keyValueHeads: 1,
      headDim: 8,
    }],
    run: library.decodeCodebooks,
  },
  {
    name: "readSafetensors",
    arguments: [library.encodeCodebooks(set)],
    run: library.readSafetensors,
  },
  {
    name: "writeSafetensors",
    arguments: [{
      metadata: { a: "b" },
      tensors: new Map([["t", { dtype: "U8", shape: [1], data: new Uint8Array(1) }]]),
    }],
    run: library.writeSafetensors,
  },
  { name: "readSamples", arguments: [library.encodeCodebooks(set)], run: library.readSamples },
  {
    name: "readSampleOrigin",
    arguments: [library.encodeCodebooks(set)],
    run: library.readSampleOrigin,
  },
  {
    name: "writeSamples",
    arguments: [[samples], { model, keySpace: "pre-rope", source: "noise" }],
    run: library.writeSamples,
  },
  { name: "readWeights", arguments: [library.encodeCodebooks(set)], run: library.readWeights },
  { name: "joinSamples", arguments: [[[samples], [samples]]], run: library.joinSamples },
  {
    name: "withWeights",
    arguments: [[samples], [{
      layer: 0,
      side: "keys",
      shape: [256, 1],
      weights: new Float32Array(256),
      scale: undefined,
    }]],
    run: library.withWeights,
  },
  {
    name: "valueRotation",
    arguments: [{ ...plainSamples, side: "values" }],
    run: library.valueRotation,
  },
  {
    name: "queryScale",
    arguments: [{
      queries: vectors.subarray(0, 64),
      queryHeads: 2,
      keyValueHeads: 1,
      headDim: 8,
      lengths: [2, 2],
      rope: { layout: "half", theta: 10 },
    }],
    run: library.queryScale,
  },
  {
    name: "calibrate",
    arguments: [{
      samples: [samples],
      schemes: { keys: ["c4b2"], values: ["f16"] },
      keySpace: "pre-rope",
      model,
      valueRotations: [],
      seed: 1,
      source: "noise",
      iterations: 1,
      kernels: [],
      onProgress: () => {},
      signal: new AbortController().signal,
    }],
    run: library.calibrate,
  },
  {
    name: "choosePolicy",
    arguments: [{
      shape: learned.shape,
      keys: { space: "as-scored" },
      budgetBits: 16,
      tokens: 64,
      sequences: 1,
      tiers: { sinks: 0, window: 0 },
      appendTokens: 1,
      candidates: ["c4b2", "f16"],
      sensitivities: [
        { layer: 0, side: "keys", scheme: "c4b2", loss: 1 },
        { layer: 0, side: "values", scheme: "c4b2", loss: 1 },
      ],
    }],
    run: library.choosePolicy,
  },
  {
    name: "estimateSensitivities",
    arguments: [new Opaque(set), [samples]],
    run: library.estimateSensitivities,
  },
  {
    name: "checkDrift",
    arguments: [new Opaque(set), [plainSamples], { policy: learned.policy, threshold: 2 }],
    run: library.checkDrift,
  },
  { name: "promptKey", arguments: [prompt], run: library.promptKey },
  {
    name: "findLongestPrefix",
    arguments: [new Opaque(store), prompt, 2],
    run: library.findLongestPrefix,
  },
  {
    name: "storePrefix",
    arguments: [new Opaque(cache), new Opaque(store), new Opaque(sequence), []],
    run: library.storePrefix,
  },
  {
    name: "restoreLongestPrefix",
    arguments: [new Opaque(cache), new Opaque(store), [1, 2], 2],
    run: async (...values: Parameters<typeof library.restoreLongestPrefix>) => {
      const found = await library.restoreLongestPrefix(...values);
      cache.freeSequence(found.sequence);
    },
  },
  {
    name: "planOptions",
    arguments: [
      {
        model_type: "gemma2",
        text_config: undefined,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        hidden_size: 128,
        head_dim: 64,
        sliding_window: 8,
        layer_types: ["sliding_attention", "full_attention"],
        rope_scaling: {
          rope_type: "llama3",
          factor: 8,
          low_freq_factor: 1,
          high_freq_factor: 4,
          original_max_position_embeddings: 64,
        },
      },
      { as: "gemma2", space: "pre-rope", length: 64 },
    ],
    run: planOptions,
  },
  { name: "ortLayout", arguments: [64, 4, "f32"], run: ort.ortLayout },
  {
    name: "appendOrtTensors",
    arguments: [device, new Opaque(cache), new Opaque(sequence), [{
      keys: tensor(),
      values: tensor(),
    }]],
    run: ort.appendOrtTensors,
  },
  {
    name: "readOrtTensors",
    arguments: [device, new Opaque(cache), new Opaque(sequence), { fromGpuBuffer: () => {} }],
    run: ort.readOrtTensors,
  },
  {
    name: "appendPastKeyValues",
    arguments: [device, new Opaque(cache), new Opaque(sequence), {
      "past_key_values.0.key": { ort_tensor: tensor() },
    }],
    run: transformers.appendPastKeyValues,
  },
  {
    name: "readPastKeyValues",
    arguments: [
      device,
      new Opaque(cache),
      new Opaque(sequence),
      { fromGpuBuffer: () => {} },
      class {},
    ],
    run: transformers.readPastKeyValues,
  },
  {
    name: "generateKernels",
    arguments: [{ schemes: ["c4b2"], pairs: ["c4b2/f16"], headDims: [16] }],
    run: generateKernels,
  },
  {
    name: "writeFiles",
    arguments: [new Opaque(new URL("file:///nowhere/")), new Map()],
    run: writeFiles,
  },
];

/** Calls of a reference cache. */
const REFERENCE_CALLS: readonly Call[] = [
  { name: "forkSequence", arguments: [new Opaque(referenceSequence)], run: reference.forkSequence },
  { name: "freeSequence", arguments: [{}], run: reference.freeSequence },
  { name: "length", arguments: [new Opaque(referenceSequence)], run: reference.length },
  { name: "codedTokens", arguments: [new Opaque(referenceSequence)], run: reference.codedTokens },
  { name: "truncate", arguments: [new Opaque(referenceSequence), 0], run: reference.truncate },
  { name: "rollback", arguments: [new Opaque(referenceSequence), 0], run: reference.rollback },
  {
    name: "dropTokens",
    arguments: [new Opaque(referenceSequence), { from: 1, to: 65 }],
    run: reference.dropTokens,
  },
  {
    name: "records",
    arguments: [new Opaque(referenceSequence), 0, "keys", 0],
    run: reference.records,
  },
  {
    name: "beginStep",
    arguments: [[{ sequence: new Opaque(referenceSequence), tokens: 1 }]],
    run: (...values: Parameters<typeof reference.beginStep>) => {
      const before = reference.length(referenceSequence);
      reference.beginStep(...values);
      reference.truncate(referenceSequence, before);
    },
  },
  {
    name: "append",
    arguments: [{}, 0, { keys: new Float32Array(8), values: new Float32Array(8) }],
    run: reference.append,
  },
  { name: "attend", arguments: [{}, 0, { queries: new Float32Array(16) }], run: reference.attend },
  {
    name: "addSpan",
    arguments: [new Opaque(referenceSequence), "image", 3],
    run: reference.addSpan,
  },
  {
    name: "encodeSpan",
    arguments: [{ id: 1, name: "image", tokens: 1 }, 0, {
      keys: new Float32Array(8),
      values: new Float32Array(8),
      indices: [0],
    }],
    run: reference.encodeSpan,
  },
  {
    name: "spanCodes",
    arguments: [{ id: 1, name: "image", tokens: 1 }, 0, "keys"],
    run: reference.spanCodes,
  },
];

const encoder = device.createCommandEncoder();
const target = new Opaque(encoder);
const known = new Opaque(sequence);
const buffer = device.createBuffer({ size: 4096, usage: 0x80 | 0x08 });

/** Calls of a cache on a device. */
const CACHE_CALLS: readonly Call[] = [
  { name: "length", arguments: [known], run: cache.length.bind(cache) },
  { name: "codedTokens", arguments: [known], run: cache.codedTokens.bind(cache) },
  { name: "truncate", arguments: [known, 0], run: cache.truncate.bind(cache) },
  { name: "freeSequence", arguments: [{}], run: cache.freeSequence.bind(cache) },
  { name: "pages", arguments: [known, 0], run: cache.pages.bind(cache) },
  { name: "buffers", arguments: [0], run: cache.buffers.bind(cache) },
  {
    name: "beginStep",
    arguments: [[{ sequence: known, tokens: 1 }]],
    run: (...values: Parameters<typeof cache.beginStep>) => {
      cache.beginStep(...values);
      cache.truncate(sequence, 0);
    },
  },
  { name: "addSpan", arguments: [known, "image", 3], run: cache.addSpan.bind(cache) },
  {
    name: "encodeSpan",
    arguments: [target, {}, 0, {
      keys: { buffer, offset: 0 },
      values: { buffer, offset: 1024 },
      indices: [0],
    }],
    run: cache.encodeSpan.bind(cache),
  },
  { name: "encodeFork", arguments: [target, known], run: cache.encodeFork.bind(cache) },
  {
    name: "encodeReorder",
    arguments: [target, [{}], [0]],
    run: cache.encodeReorder.bind(cache),
  },
  {
    name: "encodeAppend",
    arguments: [target, {}, 0, { keys: { buffer, offset: 0 }, values: { buffer, offset: 1024 } }],
    run: cache.encodeAppend.bind(cache),
  },
  {
    name: "encodeAttend",
    arguments: [target, {}, 0, { queries: { buffer }, output: { buffer, offset: 1024 } }],
    run: cache.encodeAttend.bind(cache),
  },
  {
    name: "encodeRead",
    arguments: [target, known, 0, { side: "keys", first: 0, count: 1, output: { buffer } }],
    run: cache.encodeRead.bind(cache),
  },
];

/** Functions that are given a cache on a device. */
const FUNCTION_CALLS: readonly Call[] = [
  {
    name: "dropGranularity",
    arguments: [new Opaque(plan)],
    run: library.dropGranularity,
  },
  {
    name: "encodeDrop",
    arguments: [new Opaque(cache), target, known, { from: 1, to: 65 }],
    run: library.encodeDrop,
  },
  {
    name: "encodeRollback",
    arguments: [new Opaque(cache), target, known, 0],
    run: library.encodeRollback,
  },
];

/** Tried with the files that they read, and the stores that they use. */
const ELSEWHERE = new Set([
  "CoupletError",
  "cacheIdentity",
  "inspectSnapshot",
  "restoreSequence",
  "snapshotSequence",
]);

Deno.test("every public function has a row, or is tried elsewhere", () => {
  const tried = new Set([...[...CALLS, ...FUNCTION_CALLS].map(({ name }) => name), ...ELSEWHERE]);
  const exported = [library, ort, transformers].flatMap((module) =>
    Object.entries(module).flatMap(([name, value]) => typeof value === "function" ? [name] : [])
  );
  assert.deepEqual(exported.filter((name) => !tried.has(name)), []);
});

for (const call of [...CALLS, ...FUNCTION_CALLS]) {
  Deno.test(`${call.name}() takes what it is given, or refuses it with what, why and a remedy`, async () => {
    assert.ok(await tryBadValues(call) > 0);
  });
}

for (const call of REFERENCE_CALLS) {
  Deno.test(`ReferenceCache.${call.name}() takes what it is given, or refuses it with what, why and a remedy`, async () => {
    assert.ok(await tryBadValues(call) > 0);
  });
}

for (const call of CACHE_CALLS) {
  Deno.test(`Cache.${call.name}() takes what it is given, or refuses it with what, why and a remedy`, async () => {
    assert.ok(await tryBadValues(call) > 0);
    assert.equal(cache.length(sequence), 0);
  });
}

Deno.test("what a cache refused left its encoder as it was", async () => {
  device.pushErrorScope("validation");
  device.queue.submit([encoder.finish()]);
  assert.equal((await device.popErrorScope())?.message, undefined);
});
