/** Caches of keys that have anchors, with everything that turns: beside the reference, and their plans and snapshots. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  CoupletError,
  createCache,
  type KernelInfo,
  planCache,
  type Precision,
  restoreSequence,
  type RopeParameters,
  type SchemeId,
  snapshotSequence,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { seededRandom } from "../../src/base/random.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { compareWithReference } from "../helpers/cache_oracle.ts";
import { gridCodebooks } from "../helpers/grid_numbers.ts";
import type { Move } from "../helpers/reference_run.ts";
import { TOLERANCES } from "../helpers/tolerances.ts";
import { feed, gridCache } from "../helpers/snapshots.ts";

const device = await requestTestDevice();

interface Case {
  readonly keys: SchemeId;
  readonly values: SchemeId;
  readonly headDim: 64 | 128;
  readonly rope: RopeParameters;
  readonly radians?: number;
  /** The tokens of anchors that this makes. */
  readonly anchors: string;
  /** Whether tiles have eight pages; else four. */
  readonly long?: boolean;
  readonly slidingWindow?: number;
  /** The kernel that attends, or that scores. */
  readonly kernel: string;
  /** Its precision, where it is not chosen by itself. */
  readonly precision?: Precision;
  /** Whether channels have scales. */
  readonly scaled?: boolean;
}

function optionsOf(
  { keys, values, headDim, rope, radians, long = false, slidingWindow = 0 }: Case,
): CacheOptions {
  const tokens = long ? 4100 : 700;
  return {
    shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim, slidingWindow },
    policy: { keys, values },
    keys: {
      space: "anchored",
      rope,
      ...(radians === undefined ? {} : { anchor: { radians } }),
    },
    tiers: { sinks: 3, window: 5 },
    capacity: {
      sequences: 2,
      tokens: tokens + 200,
      sequenceTokens: tokens,
      stepTokens: 205,
      appendTokens: 200,
    },
  };
}

/** Growth over the edges of anchors, pages and tiles, a rollback that the exact tier covers, and steps of one token. */
const MOVES: readonly Move[] = [
  ...Array.from({ length: 3 }, () => ({ tokens: { 0: 199 }, silent: true })),
  { tokens: { 0: 2, 1: 5 } },
  { truncate: 0, length: 590 },
  { tokens: { 0: 20 } },
  { tokens: { 0: 1 } },
];

const CASES: readonly Case[] = [
  {
    keys: "c8b8",
    values: "c8b8",
    headDim: 64,
    rope: { layout: "half", theta: 10000 },
    anchors: "0,0,32,512",
    long: true,
    scaled: true,
    kernel: "attend_c8b8_c8b8_d64_anchored",
  },
  {
    keys: "c4b8",
    values: "c4b8",
    headDim: 128,
    rope: { layout: "half", theta: 500000 },
    anchors: "0,0,8,64,256,512,512,512",
    kernel: "attend_c4b8_c4b8_d128_anchored",
  },
  {
    keys: "c8b8",
    values: "c8b8",
    headDim: 128,
    rope: { layout: "interleaved", theta: 10000, rotaryDim: 96, positionOffset: 3 },
    anchors: "0,0,8,32,256,512",
    kernel: "attend_c8b8_c8b8_d128_anchored",
  },
  {
    keys: "c4b8",
    values: "c8b8",
    headDim: 64,
    rope: { layout: "interleaved", theta: 1e6 },
    radians: 1.5,
    anchors: "0,64,512,512",
    slidingWindow: 300,
    kernel: "attend_c4b8_c8b8_d64_anchored",
  },
  {
    keys: "c2b8",
    values: "c2b8",
    headDim: 64,
    rope: { layout: "half", theta: 10000, rotaryDim: 32 },
    anchors: "0,32",
    scaled: true,
    kernel: "attend_c2b8_c2b8_d64_anchored",
  },
  {
    keys: "c2b8",
    values: "f16",
    headDim: 128,
    rope: { layout: "interleaved", theta: 10000, rotaryDim: 16 },
    radians: 40,
    anchors: "64",
    long: true,
    kernel: "score_c2b8_d128_anchored",
  },
  {
    keys: "c16b8",
    values: "c8b8",
    headDim: 64,
    rope: { layout: "half", theta: 100000, inverseFrequencies: Array(32).fill(0.001) },
    anchors: "512,512,512,512",
    kernel: "score_c16b8_d64_anchored",
  },
  {
    keys: "n16b8x2",
    values: "n16b8x2",
    headDim: 64,
    rope: { layout: "half", theta: 10000 },
    anchors: "0,0,32,512",
    long: true,
    kernel: "attend_n16b8x2_n16b8x2_d64_anchored",
  },
  {
    keys: "n8b8x2",
    values: "n8b8x2",
    headDim: 128,
    rope: { layout: "interleaved", theta: 10000, rotaryDim: 96, positionOffset: 3 },
    anchors: "0,0,8,32,256,512",
    kernel: "attend_n8b8x2_n8b8x2_d128_anchored",
  },
  {
    keys: "u8b8",
    values: "c8b8",
    headDim: 64,
    rope: { layout: "half", theta: 10000 },
    anchors: "0,0,32,512",
    kernel: "score_u8b8_d64_rope",
  },
  {
    keys: "f16",
    values: "f16",
    headDim: 64,
    rope: { layout: "half", theta: 10000 },
    anchors: "0,0,32,512",
    kernel: "attend_f16_f16_d64_rope",
  },
  {
    keys: "c8b8",
    values: "c8b8",
    headDim: 64,
    rope: { layout: "half", theta: 10000 },
    anchors: "0,0,32,512",
    long: true,
    kernel: "attend_c8b8_c8b8_d64_anchored_int16",
    precision: "int16",
  },
  {
    keys: "c4b8",
    values: "c4b8",
    headDim: 128,
    rope: { layout: "interleaved", theta: 10000, rotaryDim: 96, positionOffset: 3 },
    anchors: "0,0,8,32,256,512",
    kernel: "attend_c4b8_c4b8_d128_anchored_int16",
    precision: "int16",
  },
  {
    keys: "c8b8",
    values: "c8b8",
    headDim: 128,
    rope: { layout: "half", theta: 500000 },
    anchors: "0,0,8,64,256,512,512,512",
    long: true,
    slidingWindow: 300,
    kernel: "attend_c8b8_c8b8_d128_anchored_int8",
    precision: "int8",
  },
  {
    keys: "c4b8",
    values: "c4b8",
    headDim: 64,
    rope: { layout: "half", theta: 100000, inverseFrequencies: Array(32).fill(0.001) },
    anchors: "512,512,512,512",
    kernel: "attend_c4b8_c4b8_d64_anchored_int8",
    precision: "int8",
  },
  {
    keys: "n16b8x2",
    values: "n16b8x2",
    headDim: 128,
    rope: { layout: "half", theta: 500000 },
    anchors: "0,0,8,64,256,512,512,512",
    long: true,
    kernel: "attend_n16b8x2_n16b8x2_d128_anchored_int16",
    precision: "int16",
  },
  {
    keys: "n16b8x2",
    values: "n16b8x2",
    headDim: 64,
    rope: { layout: "interleaved", theta: 10000, rotaryDim: 32 },
    anchors: "0,32",
    slidingWindow: 300,
    kernel: "attend_n16b8x2_n16b8x2_d64_anchored_int8",
    precision: "int8",
  },
];

/** All kernels, or where a case needs one that is not chosen by itself, that and those that do not attend. */
function kernelsOf({ kernel, precision }: Case): readonly KernelInfo[] {
  return precision === undefined
    ? manifest
    : manifest.filter(({ name }) => name === kernel || !/^(attend|score)_/.test(name));
}

for (const one of CASES) {
  const { keys, values, headDim, rope, slidingWindow } = one;
  const where = `${rope.layout} over ${rope.rotaryDim ?? headDim} channels`;
  const seen = slidingWindow === undefined ? "" : `, the last ${slidingWindow} tokens`;
  const by = one.precision === undefined ? "" : `, in ${one.precision}`;
  Deno.test(`${keys} keys, ${values} values at d${headDim}, ${where}${seen}${by}: the cache agrees with float64`, async () => {
    const { plan, error } = await compareWithReference(device, {
      options: optionsOf(one),
      moves: MOVES,
      kernels: kernelsOf(one),
      scaled: one.scaled ?? false,
      ...(one.precision === undefined ? {} : { precision: one.precision }),
    });
    const { attend, score } = plan.layers[0]!.decode;
    assert.equal((attend ?? score)!.name, one.kernel);
    assert.ok(
      plan.describe().includes(`keys: anchored (${one.anchors} tokens)\n`),
    );
    assert.ok(error < TOLERANCES[one.precision ?? "f32"], `the largest difference is ${error}`);
  });
}

Deno.test("planCache() takes kernels of plain keys for anchored ones of schemes that turn keys themselves", () => {
  for (const keys of ["v4b8", "u8b8", "t1b2"] as const) {
    const [layer] = planCache({
      ...optionsOf({ ...CASES[0]!, keys, values: "c8b8" }),
      kernels: manifest,
    }).layers;
    for (const { attend, score } of [layer!.decode, layer!.prefill]) {
      assert.match((attend ?? score)!.name, /_rope$/);
    }
  }
});

Deno.test("planCache() takes encoders and decoders of anchored keys for schemes that are coded by them", () => {
  for (
    const [scheme, variant] of [["c8b8", "_anchored"], ["u8b8", "_rope"], ["f16", ""]] as const
  ) {
    const { layers: [layer] } = planCache({
      ...optionsOf({ ...CASES[0]!, keys: scheme }),
      kernels: manifest,
    });
    assert.equal(layer!.encodeKeys.name, `encode_${scheme}_d64${variant}`);
    assert.equal(layer!.decodeKeys.name, `decode_${scheme}_d64${variant}`);
    assert.equal(layer!.encodeValues.name, "encode_c8b8_d64");
  }
});

Deno.test("planCache() refuses anchored keys of a scheme without kernels for them, and names those it needs", () => {
  for (const scheme of ["c8b10", "n8b8"] as const) {
    assert.throws(
      () => planCache({ ...optionsOf({ ...CASES[0]!, keys: scheme }), kernels: manifest }),
      (error) =>
        error instanceof CoupletError && error.code === "kernel" &&
        /for anchored keys.*couplet generate /s.test(error.message),
    );
  }
});

Deno.test("createCache() refuses codebooks of keys that have no anchors, or others", async () => {
  const [one] = CASES;
  const plan = planCache({ ...optionsOf(one!), kernels: manifest });
  const before: CacheOptions = { ...optionsOf(one!), keys: { space: "pre-rope", rope: one!.rope } };
  const wider = optionsOf({ ...one!, radians: 0.6 });
  for (
    const [options, why] of [[before, /pre-rope keys/], [
      wider,
      /anchored \(0,8,64,512 tokens\) keys/,
    ]] as const
  ) {
    await assert.rejects(
      createCache({ device, plan, codebooks: gridCodebooks(options, seededRandom(1)) }),
      (error) =>
        error instanceof CoupletError && error.code === "codebook" && why.test(error.message),
    );
  }
});

Deno.test("a snapshot of anchored keys is restored bit for bit, and refused where anchors are others", async () => {
  const options = optionsOf(CASES[0]!);
  const [source, target] = [await gridCache(device, options), await gridCache(device, options)];
  const sequence = source.createSequence();
  for (const tokens of [40, 121, 33]) await feed(device, source, sequence, tokens);
  const file = await snapshotSequence(source, sequence);
  const restored = await restoreSequence(target, file);
  assert.deepEqual(await snapshotSequence(target, restored), file);
  // A fork and the restored sequence go on alike.
  const encoder = device.createCommandEncoder();
  const fork = source.encodeFork(encoder, sequence);
  device.queue.submit([encoder.finish()]);
  const outputs = [
    await feed(device, source, fork, 9, { attend: true }),
    await feed(device, target, restored, 9, { attend: true }),
  ];
  assert.deepEqual(outputs[0], outputs[1]);
  const other = await gridCache(device, optionsOf({ ...CASES[0]!, radians: 0.6 }));
  await assert.rejects(
    restoreSequence(other, file),
    (error) => error instanceof CoupletError && error.code === "snapshot",
  );
  for (const cache of [source, target, other]) cache.destroy();
});
