import { deepStrictEqual, ok, rejects, strictEqual, throws } from "node:assert/strict";
import { calibrate, type CalibrationSamples } from "../../src/calibrate/calibrate.ts";
import type {
  CalibrationOptions,
  CalibrationProgress,
} from "../../src/calibrate/calibrate_options.ts";
import { kernels } from "../../generated/kmeans/kmeans.ts";
import { seededRandom } from "../../src/base/random.ts";
import { groupInput, samplesOfHeads } from "../../src/calibrate/samples.ts";
import { centroidNumbers } from "../../src/codebooks/grid.ts";
import { decodeCodebooks, encodeCodebooks } from "../../src/codebooks/file.ts";
import { findCodebook } from "../../src/codebooks/find.ts";
import type { CodebookSet } from "../../src/codebooks/codebook.ts";
import { CoupletError, type CoupletErrorCode } from "../../src/base/errors.ts";
import { createReferenceCache } from "../../src/reference/reference_cache.ts";
import { parseScheme } from "../../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../../src/schemes/scheme.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { correlated, samplesOf } from "../helpers/kmeans.ts";
import { roundTrip } from "../../src/schemes/round_trip.ts";

/** Mean squared error per channel and head of `values`, coded with the keys' codebook of layer 0. */
function codingErrors(
  set: CodebookSet,
  id: SchemeId,
  values: Float32Array,
  heads: number,
): number[] {
  const codebook = findCodebook(set, 0, "keys", id);
  const { headDim } = codebook;
  const scheme = parseScheme(id);
  const all = centroidNumbers(codebook);
  const perHead = all.length / heads;
  const tokens = values.length / heads / headDim;
  return Array.from({ length: heads }, (_, head) => {
    const centroids = all.subarray(head * perHead, (head + 1) * perHead);
    let sum = 0;
    for (let token = 0; token < tokens; token++) {
      const at = (token * heads + head) * headDim;
      const vector = values.subarray(at, at + headDim);
      const decoded = roundTrip(scheme, [vector], { centroids })[0]!;
      for (let i = 0; i < headDim; i++) sum += (decoded[i]! - vector[i]!) ** 2;
    }
    return sum / tokens / headDim;
  });
}

/** Gaussian channels that correlate by 0, 0.6 and 0.9: mean squared error by scheme, as known from elsewhere. */
const RATE_DISTORTION = {
  c1b1: [0.366, 0.362, 0.359],
  c4b4: [0.344, 0.236, 0.096],
  c8b8: [0.326, 0.215, 0.074],
  c1b2: [0.118, 0.118, 0.118],
  c2b4: [0.109, 0.086, 0.046],
  c4b8: [0.099, 0.070, 0.027],
};

/** The figures have three digits behind the point. */
const HALF_DIGIT = 0.0005;

Deno.test("calibrate reaches the known distortion of correlated Gaussian channels, within 3 %", async (t) => {
  const device = await requestTestDevice();
  const random = seededRandom("rate and distortion");
  const correlations = [0, 0.6, 0.9];
  const schemes = Object.keys(RATE_DISTORTION) as (keyof typeof RATE_DISTORTION)[];
  const set = await calibrate({
    ...BASE,
    samples: [samplesOf(correlated(32768, correlations, 8, random), 3, 8)],
    schemes: { keys: schemes, values: [] },
    device,
    kernels,
  });
  const fresh = correlated(32768, correlations, 8, random);
  for (const scheme of schemes) {
    const known = RATE_DISTORTION[scheme];
    await t.step(scheme, () => {
      codingErrors(set, scheme, fresh, 3).forEach((error, i) => {
        ok(
          Math.abs(error - known[i]!) < 0.03 * known[i]! + HALF_DIGIT,
          `${error.toFixed(5)} at correlation ${correlations[i]}, not ${known[i]}`,
        );
      });
    });
  }
  device.destroy();
});

const BASE = {
  keySpace: "pre-rope",
  model: { name: "test", digest: "0" },
  seed: 11,
} as const satisfies Partial<CalibrationOptions>;

/** Two layers, keys and values, small enough for the CPU. */
function smallSamples(): CalibrationSamples[] {
  return [0, 1].flatMap((layer) =>
    (["keys", "values"] as const).map((side) =>
      samplesOf(correlated(150, [0.2, 0.7], 8, seededRandom(layer, side)), 2, 8, { layer, side })
    )
  );
}

const SMALL: CalibrationOptions = {
  ...BASE,
  samples: smallSamples(),
  schemes: { keys: ["c4b4", "f16", "c2b4"], values: ["c8b5", "c8b5"] },
};

Deno.test("calibrate makes one codebook per layer, side and scheme that needs one, and a set that the file keeps", async () => {
  const set = await calibrate({ ...SMALL, source: "noise" });
  deepStrictEqual(
    set.codebooks.map(({ layer, side, scheme }) => `${layer} ${side} ${scheme}`),
    ["0 keys c4b4", "0 keys c2b4", "0 values c8b5", "1 keys c4b4", "1 keys c2b4", "1 values c8b5"],
  );
  deepStrictEqual(set.provenance, { source: "noise", tokens: 150, seed: 11, iterations: 30 });
  const read = decodeCodebooks(encodeCodebooks(set), { model: SMALL.model, headDim: 8 });
  deepStrictEqual(new Set(read.codebooks), new Set(set.codebooks));
});

Deno.test("calibrate learns keys and values of different channels, and a cache of such a shape takes them", async () => {
  const of = { layer: 0, keyValueHeads: 2 };
  const numbers = (headDim: number) => correlated(100, [0, 0.6], headDim, seededRandom(headDim));
  const set = await calibrate({
    ...BASE,
    keySpace: "as-scored",
    schemes: { keys: ["c4b4"], values: ["c4b4"] },
    source: "noise",
    samples: [
      { ...of, side: "keys", headDim: 16, values: numbers(16) },
      { ...of, side: "values", headDim: 8, values: numbers(8) },
    ],
  });
  const codebooks = decodeCodebooks(encodeCodebooks(set));
  const create = (valueHeadDim: number) =>
    createReferenceCache({
      shape: { layers: 1, queryHeads: 2, keyValueHeads: 2, headDim: 16, valueHeadDim },
      policy: { keys: "c4b4", values: "c4b4" },
      keys: { space: "as-scored" },
      tiers: { sinks: 0, window: 1 },
      capacity: { appendTokens: 1 },
      codebooks,
      model: BASE.model,
    });
  create(8);
  throws(() => create(16), { code: "codebook", message: /2 heads of 8 channels/ });
});

Deno.test("calibrate makes a policy's codebooks, and no others", async () => {
  const whole = await calibrate({
    ...SMALL,
    schemes: { keys: ["c4b4", "c2b4"], values: ["c8b5"] },
  });
  const set = await calibrate({
    ...SMALL,
    schemes: { keys: "c4b4", values: "c8b5", layers: { 1: { keys: "c2b4", values: "f16" } } },
  });
  deepStrictEqual(set.codebooks, [
    findCodebook(whole, 0, "keys", "c4b4"),
    findCodebook(whole, 0, "values", "c8b5"),
    findCodebook(whole, 1, "keys", "c2b4"),
  ]);
});

for (const path of ["CPU", "GPU"] as const) {
  Deno.test(`calibrate on the ${path} repeats by seed, whatever else it learns`, async () => {
    const device = path === "GPU" ? await requestTestDevice() : undefined;
    const where = device === undefined ? {} : { device, kernels };
    const set = await calibrate({ ...SMALL, ...where });
    deepStrictEqual(await calibrate({ ...SMALL, ...where }), set);
    const alone = await calibrate({
      ...SMALL,
      ...where,
      samples: [SMALL.samples[2]!],
      schemes: { keys: ["c2b4"], values: [] },
    });
    deepStrictEqual(alone.codebooks, [findCodebook(set, 1, "keys", "c2b4")]);
    const other = await calibrate({ ...SMALL, ...where, seed: 12 });
    const first = other.codebooks[0]!.centroids;
    ok(first.some((level, i) => level !== set.codebooks[0]!.centroids[i]));
    device?.destroy();
  });

  Deno.test(`calibrate on the ${path} reports progress that never falls and ends at 1`, async () => {
    const device = path === "GPU" ? await requestTestDevice() : undefined;
    const seen: CalibrationProgress[] = [];
    await calibrate({
      ...SMALL,
      ...(device === undefined ? {} : { device, kernels }),
      onProgress: (progress) => seen.push(progress),
    });
    ok(seen.length > 10);
    seen.slice(1).forEach(({ fraction }, i) => ok(fraction >= seen[i]!.fraction));
    deepStrictEqual(seen.at(-1), { fraction: 1, secondsLeft: 0 });
    ok(seen.every(({ secondsLeft }) => secondsLeft === undefined || secondsLeft >= 0));
    device?.destroy();
  });

  Deno.test(`calibrate on the ${path} is aborted by its signal, with the signal's reason`, async () => {
    const device = path === "GPU" ? await requestTestDevice() : undefined;
    const controller = new AbortController();
    const reason = new Error("enough");
    let reports = 0;
    const run = calibrate({
      ...SMALL,
      ...(device === undefined ? {} : { device, kernels }),
      signal: controller.signal,
      onProgress() {
        if (++reports === 3) controller.abort(reason);
      },
    });
    await rejects(run, (error) => error === reason);
    ok(reports < 12);
    const late = calibrate({ ...SMALL, signal: AbortSignal.abort(reason) });
    await rejects(late, (error) => error === reason);
    device?.destroy();
  });
}

Deno.test("calibrate splits heads that exceed the device's buffers, to the same codebooks", async () => {
  const device = await requestTestDevice();
  const samples = [samplesOf(
    correlated(400, [0.1, 0.5, 0.9], 8, seededRandom(1)),
    3,
    8,
    {
      weights: Float32Array.from({ length: 400 * 3 }, (_, i) => 1 + (i % 5)),
      scale: Float32Array.from({ length: 24 }, (_, i) => 1 + (i % 3)),
    },
  )];
  const schemes = { keys: ["c4b4"], values: [] } as const;
  const options = { ...BASE, samples, schemes };
  const whole = await calibrate({ ...options, device, kernels });
  // Two heads' planes of 1024 padded samples fit, three do not.
  const small = new Proxy(device, {
    get(target, name) {
      if (name === "limits") {
        return { maxStorageBufferBindingSize: 70000, maxBufferSize: 2 ** 28 };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  deepStrictEqual(
    (await calibrate({ ...options, device: small, kernels })).codebooks,
    whole.codebooks,
  );

  const tiny = new Proxy(device, {
    get: (target, name) =>
      name === "limits"
        ? { maxStorageBufferBindingSize: 1000, maxBufferSize: 1000 }
        : Reflect.get(target, name, target),
  });
  await rejects(
    calibrate({ ...options, device: tiny, kernels }),
    isError("limits", "1000"),
  );
  device.destroy();
});

Deno.test("samplesOfHeads cuts values, weights and scale", () => {
  const count = (length: number) => Float32Array.from({ length }, (_, i) => i);
  const samples = samplesOf(count(12), 3, 2, { weights: count(6), scale: count(6) });
  deepStrictEqual(
    samplesOfHeads(samples, 1, 2),
    samplesOf(Float32Array.of(2, 3, 4, 5, 8, 9, 10, 11), 2, 2, {
      weights: Float32Array.of(1, 2, 4, 5),
      scale: Float32Array.of(2, 3, 4, 5),
    }),
  );
});

Deno.test("calibrate takes weights per channel, per group and per vector, in any unit", async () => {
  const [one] = smallSamples();
  const perGroup = Float32Array.from({ length: 150 * 4 }, (_, i) => 1 + (i % 7));
  const perChannel = Float32Array.from({ length: 150 * 16 }, (_, i) => perGroup[i >> 2]! / 4);
  async function centroids(more: Partial<CalibrationSamples>): Promise<Float32Array> {
    const set = await calibrate({
      ...BASE,
      samples: [{ ...one!, ...more }],
      schemes: { keys: ["c4b4"], values: [] },
    });
    return centroidNumbers(set.codebooks[0]!);
  }
  const weighted = await centroids({ weights: perGroup });
  deepStrictEqual(await centroids({ weights: perChannel }), weighted);
  deepStrictEqual(await centroids({ weights: perGroup.map((w) => w * 4096) }), weighted);
  const unweighted = await centroids({});
  ok(weighted.some((number, i) => number !== unweighted[i]));
  deepStrictEqual(await centroids({ weights: new Float32Array(300).fill(3) }), unweighted);
});

Deno.test("weights per channel count in the values' own space, whatever the scale", () => {
  const weights = Float32Array.of(3, 5, 7, 11, 13, 17, 19, 23);
  const scale = Float32Array.of(2, 0.5, 1, 4);
  const samples = samplesOf(new Float32Array(8), 1, 4, { weights, scale });
  // sum of weight / scale^2 over the channels of the group
  deepStrictEqual(Array.from(groupInput(samples, 2, 0).weights!), [3 / 4 + 20, 13 / 4 + 68]);
  deepStrictEqual(Array.from(groupInput(samples, 2, 1).weights!), [7 + 11 / 16, 19 + 23 / 16]);
  const perGroup = samplesOf(new Float32Array(8), 1, 4, { weights: weights.subarray(0, 4), scale });
  deepStrictEqual(Array.from(groupInput(perGroup, 2, 1).weights!), [5, 11]);
});

Deno.test("calibrate keeps the scale in the codebook, and codes better by it", async () => {
  const values = correlated(600, [0], 8, seededRandom(1));
  const scale = Float32Array.from({ length: 8 }, (_, i) => i % 2 === 0 ? 4 : 0.25);
  const schemes = { keys: ["c2b4"], values: [] } as const;
  const plain = await calibrate({ ...BASE, samples: [samplesOf(values, 1, 8)], schemes });
  const scaled = await calibrate({
    ...BASE,
    samples: [samplesOf(values, 1, 8, { scale })],
    schemes,
  });
  strictEqual(plain.codebooks[0]!.scale, undefined);
  deepStrictEqual(scaled.codebooks[0]!.scale, scale);
  const scheme = parseScheme("c2b4");
  function weightedError(set: CodebookSet): number {
    const codebook = set.codebooks[0]!;
    const centroids = centroidNumbers(codebook);
    let sum = 0;
    for (let at = 0; at < values.length; at += 8) {
      const vector = values.subarray(at, at + 8);
      const [decoded] = roundTrip(scheme, [vector], {
        centroids,
        ...(codebook.scale === undefined ? {} : { scale: codebook.scale }),
      });
      decoded!.forEach((x, i) => sum += ((x - vector[i]!) * scale[i]!) ** 2);
    }
    return sum;
  }
  ok(weightedError(scaled) < 0.5 * weightedError(plain));
});

function isError(code: CoupletErrorCode, ...parts: string[]): (error: unknown) => boolean {
  return (error) => {
    if (!(error instanceof CoupletError)) return false;
    strictEqual(error.code, code, error.message);
    for (const part of parts) ok(error.message.includes(part), error.message);
    return true;
  };
}

/** Small samples with one value, weight or option changed. */
function spoiled(
  change: (one: { -readonly [K in keyof CalibrationSamples]: CalibrationSamples[K] }) => void,
): Partial<CalibrationOptions> {
  const samples = smallSamples().map((one) => ({ ...one }));
  change(samples[1]!);
  return { samples };
}

const BAD_INPUT: readonly [string, Partial<CalibrationOptions>, CoupletErrorCode, ...string[]][] = [
  [
    "a NaN",
    spoiled(({ values }) => values[16 * 5 + 8 + 3] = NaN),
    "samples",
    "values of layer 0",
    "token 5, head 1, channel 3",
    "NaN",
  ],
  ["an infinity", spoiled(({ values }) => values[0] = -Infinity), "samples", "-Infinity"],
  ["a value beyond binary16", spoiled(({ values }) => values[0] = 70000), "samples", "binary16"],
  [
    "fewer samples than centroids",
    { schemes: { keys: ["c8b8"], values: [] } },
    "samples",
    "150",
    "256",
    "c8b8",
  ],
  ["no samples at all", spoiled((one) => one.values = new Float32Array(0)), "samples", "0 samples"],
  ["values that do not divide", spoiled((one) => one.values = new Float32Array(17)), "shape", "17"],
  ["channels that do not divide", { schemes: { keys: ["c16b4"], values: [] } }, "shape", "16"],
  [
    "weights of no shape",
    spoiled((one) => one.weights = new Float32Array(7)),
    "shape",
    "7 weights",
  ],
  [
    "weights that are all zero",
    spoiled((one) => one.weights = new Float32Array(300)),
    "samples",
    "zero",
  ],
  [
    "a negative weight",
    spoiled((one) => one.weights = new Float32Array(300).fill(-1, 3, 4)),
    "samples",
    "weight 1 of token 1",
    "-1",
  ],
  [
    "fewer weighted samples than centroids",
    spoiled((one) => one.weights = new Float32Array(300).fill(1, 0, 20)),
    "samples",
    "10 of the 150",
    "head 0, group 0",
  ],
  ["a scale of no shape", spoiled((one) => one.scale = new Float32Array(3)), "shape", "3 values"],
  ["a scale of zero", spoiled((one) => one.scale = new Float32Array(16)), "samples", "scale"],
  ["an unknown scheme", { schemes: { keys: ["c3b3" as SchemeId], values: [] } }, "scheme", "c3b3"],
  [
    "a layer and side twice",
    { samples: [...smallSamples(), smallSamples()[0]!] },
    "usage",
    "twice",
  ],
  ["a layer that is no number", spoiled((one) => one.layer = -1), "shape", "layer"],
  ["a seed that is no integer", { seed: 0.5 }, "usage", "0.5"],
  ["no iterations", { iterations: 0 }, "usage", "iterations 0"],
];

for (const [name, options, code, ...parts] of BAD_INPUT) {
  Deno.test(`calibrate refuses ${name}`, async () => {
    await rejects(calibrate({ ...SMALL, ...options }), isError(code, ...parts));
  });
}

Deno.test("calibrate refuses a device without the kernels of k-means, and names their entry", async () => {
  const device = await requestTestDevice();
  for (const given of [{}, { kernels: kernels.filter(({ name }) => !name.includes("_c4")) }]) {
    await rejects(
      calibrate({ ...SMALL, device, ...given }),
      isError("kernel", "kmeans_assign_c4", "@couplet/kv/kernels/kmeans"),
    );
  }
  device.destroy();
});

Deno.test("calibrate on a device that was lost throws a device error", async () => {
  const device = await requestTestDevice();
  device.destroy();
  await device.lost;
  await rejects(calibrate({ ...SMALL, device, kernels }), isError("device"));
});
