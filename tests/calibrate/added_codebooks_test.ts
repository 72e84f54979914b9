import { deepStrictEqual, notDeepStrictEqual, ok, rejects, strictEqual } from "node:assert/strict";
import {
  calibrate,
  type CalibrationSamples,
  type Codebook,
  decodeCodebooks,
  encodeCodebooks,
  parseScheme,
  type Policy,
  type SchemeId,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { seededRandom } from "../../src/base/random.ts";
import { fromFloat16Array } from "../../src/base/float16.ts";
import {
  blockMeans,
  blocksOf,
  learnMeans,
  learnSizes,
  onGrid,
} from "../../src/calibrate/normalised_samples.ts";
import { learnAdded, stageIterations } from "../../src/calibrate/added_codebooks.ts";
import { cpuSearch } from "../../src/calibrate/stage_search.ts";
import { searchStages, type StagePoints, updateStages } from "../../src/calibrate/refine.ts";
import { normal } from "../helpers/normal.ts";
import { requestTestDevice } from "../../tools/adapter.ts";

const TOKENS = 512;
const HEADS = 2;
const HEAD_DIM = 32;

/** Vectors that lie near a few directions, with a constant in each channel; every fourth is `size` times as large. */
function samples(bias = 0, size = 1): CalibrationSamples {
  const random = seededRandom(1, "samples");
  const axes = Array.from({ length: HEADS * 4 * HEAD_DIM }, () => normal(random));
  const constants = Array.from({ length: HEADS * HEAD_DIM }, () => bias * (2 * random.next() - 1));
  const values = new Float32Array(TOKENS * HEADS * HEAD_DIM);
  for (let token = 0; token < TOKENS; token++) {
    for (let head = 0; head < HEADS; head++) {
      const factors = Array.from(
        { length: 4 },
        () => (token % 4 === 0 ? size : 1) * normal(random),
      );
      for (let i = 0; i < HEAD_DIM; i++) {
        const sum = factors.reduce(
          (sum, f, axis) => sum + f * axes[(head * 4 + axis) * HEAD_DIM + i]!,
          0.1 * normal(random),
        );
        // Numbers that binary16 holds beside the constant, so that only codes lose.
        values[(token * HEADS + head) * HEAD_DIM + i] = Math.round(8 * sum) / 8 +
          Math.round(constants[head * HEAD_DIM + i]!);
      }
    }
  }
  return { layer: 0, side: "keys", keyValueHeads: HEADS, headDim: HEAD_DIM, values };
}

async function learned(
  scheme: SchemeId,
  options: {
    bias?: number;
    size?: number;
    shareHeads?: boolean;
    ofPolicy?: Pick<Policy, "shareHeads">;
    device?: GPUDevice;
    more?: Partial<CalibrationSamples>;
  } = {},
): Promise<Codebook> {
  const { bias = 0, size, ofPolicy, more, ...others } = options;
  const set = await calibrate({
    samples: [{ ...samples(bias, size), ...more }],
    schemes: ofPolicy
      ? { keys: scheme, values: "f16", ...ofPolicy }
      : { keys: [scheme], values: [] },
    keySpace: "as-scored",
    model: { name: "a", digest: "b" },
    seed: 1,
    ...others,
    ...(options.device && { kernels: manifest }),
  });
  deepStrictEqual(decodeCodebooks(encodeCodebooks(set)), set);
  return set.codebooks[0]!;
}

/** Mean squared error of a codebook on its samples, as a part of the variance. */
function loss({ fit }: Codebook): number {
  return fit!.errors.reduce((sum, error, head) => sum + error / fit!.variances[head]!, 0) / HEADS;
}

Deno.test("calibrate learns sums of centroids that lose less than single ones at the same bits", async () => {
  const [one, two, four] = await Promise.all(
    (["n8b4", "n16b4x2", "n32b4x4"] as const).map((id) => learned(id)),
  );
  ok(loss(two!) < 0.9 * loss(one!), `${loss(two!)} beside ${loss(one!)}`);
  ok(loss(four!) < 0.9 * loss(two!), `${loss(four!)} beside ${loss(two!)}`);
});

Deno.test("calibrate learns normalised codes to which a constant of a channel costs nothing", async () => {
  const [plain, biased] = await Promise.all([learned("n8b4x2"), learned("n8b4x2", { bias: 1000 })]);
  ok(loss(biased) < 1.02 * loss(plain), `${loss(biased)} beside ${loss(plain)}`);
});

Deno.test("calibrate learns stages from what those before them leave: four lose far less than two at the same bits", async () => {
  const [two, four] = await Promise.all([learned("n8b4x2"), learned("n16b4x4")]);
  ok(loss(four) < 0.3 * loss(two), `${loss(four)} beside ${loss(two)}`);
});

Deno.test("calibrate learns added centroids in units of a scale, and keeps them in the vectors' own", async () => {
  const scale = Float32Array.from({ length: HEADS * HEAD_DIM }, (_, i) => i % 2 === 0 ? 1 : 4);
  for (const id of ["n8b4x2", "c8b4x2"] as const) {
    const [plain, scaled] = await Promise.all([learned(id), learned(id, { more: { scale } })]);
    ok(loss(scaled) < 3 * loss(plain), `${loss(scaled)} beside ${loss(plain)}`);
  }
  // Steps stay above 0 however small they become; the codebook could not be written otherwise.
  const values = samples().values.map((value) => value * 2 ** -27);
  await learned("n8b4x2", {
    more: { values, scale: new Float32Array(HEADS * HEAD_DIM).fill(2 ** 13) },
  });
});

Deno.test("calibrate weighs the errors of large vectors, which are normalised, as what they are", async () => {
  const [alike, uneven] = await Promise.all([learned("n8b4x2"), learned("n8b4x2", { size: 10 })]);
  ok(loss(uneven) < 0.85 * loss(alike), `${loss(uneven)} beside ${loss(alike)}`);
});

Deno.test("stageIterations() are fewer for each of several stages, and never more than given", () => {
  deepStrictEqual([5, 30].map((most) => stageIterations("n8b4x2", most)), [5, 10]);
  deepStrictEqual([5, 30].map((most) => stageIterations("n8b4", most)), [5, 30]);
});

Deno.test("learnAdded() closes every search that it opens, also where one fails", async () => {
  for (const failing of [Infinity, 2, 4]) {
    let [opened, closed, searched] = [0, 0, 0];
    const open = cpuSearch(() => Promise.resolve());
    const learning = learnAdded(samples(), "n8b4x4", {
      shareHeads: false,
      cluster: ({ values, keyValueHeads, headDim }) =>
        Promise.resolve(
          Array.from({ length: (keyValueHeads * headDim) / 8 }, (_, group) => ({
            // The first sixteen tokens' own groups.
            centroids: Float64Array.from(
              { length: 16 * 8 },
              (_, i) => values[Math.floor(i / 8) * HEADS * HEAD_DIM + group * 8 + i % 8]!,
            ),
            iterations: 1,
            error: 0,
          } as never)),
        ),
      async openSearch(points, channels) {
        const search = await open(points, channels);
        opened++;
        return {
          search: (stages, report) => {
            if (++searched === failing) throw new Error("lost");
            return search.search(stages, report);
          },
          close: () => void closed++,
        };
      },
      report() {},
      pause: () => Promise.resolve(),
    });
    await (failing === Infinity ? learning : rejects(learning, /lost/));
    strictEqual(closed, opened);
    ok(opened > 0);
  }
});

Deno.test("calibrate gives levels that add up to at most 255, and steps above 0", async () => {
  for (const id of ["n8b4x2", "n16b4x4"] as const) {
    const { centroids, grid } = await learned(id);
    const { centroids: count, channels, codebookSpec } = parseScheme(id);
    const stages = codebookSpec!.stages!;
    for (let row = 0; row < HEADS * HEAD_DIM; row++) {
      let sum = 0;
      for (let stage = 0; stage < stages; stage++) {
        const first = (Math.floor(row / channels) * stages + stage) * count * channels +
          row % channels;
        sum += Math.max(
          ...Array.from({ length: count }, (_, code) => centroids[first + code * channels]!),
        );
      }
      ok(sum > 200 && sum <= 255, `${sum} in channel ${row}`);
    }
    const numbers = fromFloat16Array(grid);
    ok(numbers.every((number, i) => i % (stages + 1) !== stages || number > 0));
  }
});

Deno.test("calibrate lets KV heads share centroids that are added", async () => {
  const apart = await learned("n8b4x2");
  const together = await learned("n8b4x2", { shareHeads: true });
  strictEqual(together.centroids.length, apart.centroids.length / HEADS);
  deepStrictEqual(together.grid.length, apart.grid.length);
  ok(loss(together) > loss(apart) && loss(together) < 3 * loss(apart));
});

for (
  const [name, ofPolicy, option, shared] of [
    ["shares as the policy does", { shareHeads: true }, {}, true],
    ["does not share as the policy does not", { shareHeads: false }, {}, false],
    ["does not share where the policy does not say", {}, {}, false],
    ["shares as the option says where the policy does not", {}, { shareHeads: true }, true],
    ["takes an option that says the same", { shareHeads: true }, { shareHeads: true }, true],
  ] as const
) {
  Deno.test(`calibrate ${name}`, async () => {
    const { centroids } = await learned("n8b4x2", { ofPolicy, ...option });
    strictEqual(centroids.length, (shared ? 1 : HEADS) * HEAD_DIM * 2 * 16);
  });
}

for (const shareHeads of [false, true]) {
  Deno.test(`calibrate refuses shareHeads ${shareHeads} where the policy contradicts it`, async () => {
    await rejects(learned("n8b4x2", { ofPolicy: { shareHeads: !shareHeads }, shareHeads }), {
      code: "usage",
      message: new RegExp(
        `shareHeads is ${shareHeads}, .* ${!shareHeads}.*Leave shareHeads out`,
        "s",
      ),
    });
  });
}

Deno.test("calibrate learns the same sums on the device and on the CPU, as far as rounding lets it", async () => {
  const device = await requestTestDevice();
  try {
    const [cpu, gpu] = [await learned("n8b4x2"), await learned("n8b4x2", { device })];
    ok(Math.abs(loss(gpu) / loss(cpu) - 1) < 0.02, `${loss(gpu)} beside ${loss(cpu)}`);
    deepStrictEqual(await learned("n8b4x2", { device }), gpu);
  } finally {
    device.destroy();
  }
});

Deno.test("calibrate refuses a device without the kernel that searches sums, and names its entry", async () => {
  const device = await requestTestDevice();
  try {
    await rejects(
      calibrate({
        samples: [samples()],
        schemes: { keys: ["n8b4x2"], values: [] },
        keySpace: "as-scored",
        model: { name: "a", digest: "b" },
        seed: 1,
        device,
        kernels: manifest.filter(({ name }) => name !== "kmeans_search_c8"),
      }),
      { code: "kernel", message: /kmeans_search_c8 .*"@couplet\/kv\/kernels\/kmeans"/ },
    );
  } finally {
    device.destroy();
  }
});

Deno.test("calibrate refuses fewer than 16 samples for a centroid of a stage", async () => {
  const few = samples();
  const values = few.values.subarray(0, 200 * HEADS * HEAD_DIM);
  await rejects(
    calibrate({
      samples: [{ ...few, values }],
      schemes: { keys: ["n8b4x2"], values: [] },
      keySpace: "as-scored",
      model: { name: "a", digest: "b" },
      seed: 1,
    }),
    { code: "samples", message: /256 tokens/ },
  );
});

/** Sums of one of 8 and one of 8 vectors, exactly. */
function planted(): { readonly points: StagePoints; readonly stages: Float64Array[] } {
  const random = seededRandom(2, "planted");
  const stages = [4, 1].map((size) =>
    Float64Array.from({ length: 8 * 4 }, () => size * normal(random))
  );
  const count = 640;
  const points = new Float64Array(count * 4);
  for (let point = 0; point < count; point++) {
    for (const own of stages) {
      const code = random.below(8);
      for (let i = 0; i < 4; i++) points[point * 4 + i]! += own[code * 4 + i]!;
    }
  }
  return { points: { points, weights: new Float64Array(count).fill(1), channels: 4 }, stages };
}

Deno.test("searchStages finds sums that are exact, and their error is 0", () => {
  const { points, stages } = planted();
  ok(Math.abs(searchStages(points, stages, 8).error) < 1e-9);
});

Deno.test("updateStages never makes the error of its codes larger, and finds exact sums", () => {
  const { points, stages } = planted();
  const random = seededRandom(3, "moved");
  const moved = stages.map((own) => own.map((value) => value + 0.1 * normal(random)));
  const { codes } = searchStages(points, stages, 8);
  const error = () => {
    let sum = 0;
    for (let at = 0; at < points.points.length; at++) {
      const point = Math.floor(at / 4);
      const coded = moved.reduce(
        (total, own, stage) => total + own[codes[point * 2 + stage]! * 4 + at % 4]!,
        0,
      );
      sum += (points.points[at]! - coded) ** 2;
    }
    return sum;
  };
  let before = error();
  for (let turn = 0; turn < 40; turn++) {
    updateStages(points, codes, moved, 1, 0);
    ok(error() <= before + 1e-12);
    before = error();
  }
  ok(before < 1e-9, `${before}`);
});

Deno.test("updateStages draws centroids to 0 as points of the ridge's weight would", () => {
  const { points } = planted();
  const weights = points.weights.map((_, point) => 1 + point % 3);
  const codes = Uint16Array.from(weights, (_, point) => point % 7);
  const cases = [{ ridge: 0 }, { ridge: 5 }, { ridge: 1e9 }];
  for (const { ridge } of cases) {
    const stage = new Float64Array(8 * 4).fill(3);
    updateStages({ ...points, weights }, codes, [stage], 1, ridge);
    for (let code = 0; code < 7; code++) {
      let sum = 0;
      let total = ridge;
      weights.forEach((weight, point) => {
        if (codes[point] !== code) return;
        sum += weight * points.points[point * 4]!;
        total += weight;
      });
      ok(Math.abs(stage[code * 4]! - sum / total) < 1e-12, `${code} with ${ridge}`);
    }
    deepStrictEqual([...stage.subarray(28)], [3, 3, 3, 3], "one without points stays");
  }
});

Deno.test("updateStages moves centroids to weighted means of what the others leave, sweep by sweep, and no points", () => {
  const given = [Float64Array.of(0, 50), Float64Array.of(1, 70)];
  const codes = Uint16Array.of(0, 0, 0, 0, 0, 0);
  const points = {
    points: Float64Array.of(2, 4, 10),
    weights: Float64Array.of(3, 1, 0),
    channels: 1,
  };
  // Each stage's first centroid gets what the other leaves of 2.5; the others have no points.
  const stages = given.map((own) => own.slice());
  updateStages(points, codes, stages, 1, 0);
  deepStrictEqual(stages.map((own) => [...own]), [[1.5, 50], [1, 70]]);
  deepStrictEqual([...points.points], [2, 4, 10]);
  // Where two stages' centroids meet in a point, a sweep leaves something to the next.
  const moved = [1, 3].map((sweeps) => {
    const own = [new Float64Array(2), new Float64Array(2)];
    const even = { ...points, weights: Float64Array.of(1, 1, 1) };
    updateStages(even, Uint16Array.of(0, 0, 0, 1, 1, 1), own, sweeps, 0);
    return own.map((stage) => [...stage]);
  });
  notDeepStrictEqual(moved[0], moved[1]);
});

Deno.test("blocksOf divides samples where a sequence ends, and every so many tokens", () => {
  deepStrictEqual(blocksOf(5, undefined, 2), [0, 0, 1, 1, 2]);
  deepStrictEqual(blocksOf(7, [3, 4, 5, 0, 1, 2, 4], 2), [0, 0, 1, 2, 2, 3, 4]);
  deepStrictEqual(
    blockMeans([[1], [3], [5], [7], [9]], [0, 0, 1, 1, 2]).flatMap((mean) => [...mean]),
    [2, 6, 9],
  );
});

Deno.test("learnMeans and onGrid keep a mean within half a step inside the grid", () => {
  const random = seededRandom(4, "means");
  const means = Array.from({ length: 200 }, () => [100 + normal(random), 5]);
  const [moving, constant] = learnMeans(means);
  deepStrictEqual(constant, { offset: 5, step: 0 });
  strictEqual(onGrid(7, constant!), 5);
  const { offset, step } = moving!;
  for (const mean of [offset, offset + 3 * step, offset - 7.2 * step]) {
    ok(Math.abs(onGrid(mean, moving!) - mean) <= step / 2 + 1e-12);
  }
  strictEqual(onGrid(1e4, moving!), offset + 7.5 * step);
});

Deno.test("learnMeans takes the range of least error, and no step where f16 holds none", () => {
  const random = seededRandom(6, "ranges");
  // Most lie within 0.4 of what two span.
  const means = Array.from({ length: 1000 }, () => [0.8 * random.next() - 0.4]);
  const [grid] = learnMeans([...means, [1], [-1]]);
  ok(grid!.step < 0.7 * 2 / 15, `${grid!.step}`);
  deepStrictEqual(learnMeans([[5], [5 + 1e-6]])[0]!.step, 0);
});

Deno.test("learnSizes gives positive sizes, whatever the vectors'", () => {
  for (const sizes of [[0, 0, 0], [0, 1e-9, 1]]) {
    ok(learnSizes(sizes).every((size) => size >= 2 ** -14));
  }
});

Deno.test("learnSizes gives sixteen ascending sizes that are near those of all tokens", () => {
  const random = seededRandom(5, "sizes");
  const sizes = Float64Array.from({ length: 1000 }, () => Math.exp(normal(random)));
  const found = learnSizes(sizes);
  strictEqual(found.length, 16);
  ok(found.every((size, i) => i === 0 || size >= found[i - 1]!));
  const error = sizes.reduce(
    (sum, size) => sum + Math.min(...found.map((own) => (own - size) ** 2)),
    0,
  );
  const energy = sizes.reduce((sum, size) => sum + size ** 2, 0);
  ok(error < 0.01 * energy, `${error / energy}`);
});
