/**
 * What the option `skip` saves where a sink has most of the weight, and costs where scores are flat: one decode step of
 * one layer of Llama-3.1-8B's shape, keys as scored. With and without it take turns, and the CPU's time is taken, so a
 * software adapter is needed and a busy machine does no harm.
 */
import { cpuUsage } from "node:process";
import type { SchemePair } from "../examples/demo/scheme_pairs.ts";
import { createCache, planCache, type PlanOptions } from "../mod.ts";
import { seededRandom } from "../src/base/random.ts";
import { randomCodebooks } from "../src/tuning/random_codebooks.ts";
import { tunedPlan } from "../tests/helpers/tuned_plan.ts";
import { readBuffer } from "../tools/read_buffer.ts";
import type { Work } from "./measure/clock.ts";
import { benchKernels } from "./measure/kernels.ts";
import { LARGE_MODEL as MODEL, modelShape } from "./measure/models.ts";
import { spread } from "./measure/statistics.ts";

/** Tiles of which no score is this near to a row's maximum are skipped. */
const BELOW = 20;
const CHUNK = 256;
const WORKGROUPS: readonly number[] = [16, 256];
const REPEATS = 3;
const ROUNDS = 7;

/** Scores of the first token; all others lie around 0 with a deviation of about 1. */
const DISTRIBUTIONS = { flat: 0, peaked: 30 } as const;

/** What is measured. */
export interface SkipChoice {
  readonly schemes: readonly SchemePair[];
  /** Tokens that a query attends to. */
  readonly contexts: readonly number[];
}

/** One row of what was measured. */
export interface SkipRow {
  /** A pair's id. */
  readonly scheme: string;
  readonly context: number;
  readonly distribution: string;
  readonly workgroups: number;
  readonly skipped: number;
  readonly considered: number;
  /** How many times as fast attention is with the option: medians of rounds. */
  readonly ratio: number;
  /** The largest change of a number of the output. */
  readonly moved: number;
}

interface Prepared {
  readonly work: Work;
  /** What attention comes to, and the tiles that it skipped and considered, after one run. */
  run(): Promise<{ readonly output: Float32Array; readonly tiles: readonly [number, number] }>;
  destroy(): void;
}

async function prepare(
  device: GPUDevice,
  { keys, values }: SchemePair,
  context: number,
  sinkScore: number,
  workgroups: number,
  below: number | undefined,
): Promise<Prepared> {
  const { keyValueHeads, queryHeads, headDim } = MODEL;
  const options: PlanOptions = {
    shape: modelShape(MODEL, 1),
    policy: { keys, values },
    keys: { space: "as-scored" },
    tiers: { sinks: 4, window: 64 },
    capacity: {
      sequences: 1,
      tokens: context,
      sequenceTokens: context,
      stepTokens: CHUNK,
      appendTokens: CHUNK,
    },
    limits: device.limits,
    kernels: benchKernels([keys, values], headDim),
    scale: 1,
    ...(below === undefined ? {} : { skip: { below } }),
  };
  const plan = planCache({
    ...options,
    tuning: tunedPlan(device, options, () => ({ workgroups })),
  });
  const cache = await createCache({ device, plan, codebooks: randomCodebooks(plan) });
  const random = seededRandom("skip");
  const between = (count: number) =>
    Float32Array.from({ length: count }, () => 2 * random.next() - 1);
  const upload = (data: Float32Array<ArrayBuffer>) => {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
    const buffer = device.createBuffer({ size: data.byteLength, usage });
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  const one = Float32Array.from({ length: headDim }, () => random.next() < 0.5 ? -0.15 : 0.15);
  const queries = upload(
    Float32Array.from({ length: queryHeads * headDim }, (_, i) => one[i % headDim]!),
  );
  const output = upload(new Float32Array(queryHeads * headDim));
  const size = keyValueHeads * headDim;
  const sequence = cache.createSequence();
  // One chunk's vectors again and again, but for the sink.
  const [keyNumbers, valueNumbers] = [between(CHUNK * size), between(CHUNK * size)];
  const sink = Float32Array.from(
    { length: size },
    (_, i) => sinkScore * one[i % headDim]! / (headDim * 0.15 ** 2),
  );
  const append = async (first: number, tokens: number) => {
    const given = keyNumbers.slice(0, tokens * size);
    if (first === 0) given.set(sink);
    const buffers = [upload(given), upload(valueNumbers.slice(0, tokens * size))] as const;
    const encoder = device.createCommandEncoder();
    const step = cache.beginStep([{ sequence, tokens }]);
    cache.encodeAppend(encoder, step, 0, {
      keys: { buffer: buffers[0] },
      values: { buffer: buffers[1] },
    });
    device.queue.submit([encoder.finish()]);
    await device.queue.onSubmittedWorkDone();
    for (const buffer of buffers) buffer.destroy();
    return step;
  };
  for (let first = 0; first < context - CHUNK; first += CHUNK) await append(first, CHUNK);
  await append(context - CHUNK, CHUNK - 1);
  const step = await append(context - 1, 1);
  const work: Work = (pass) =>
    cache.encodeAttend(pass, step, 0, { queries: { buffer: queries }, output: { buffer: output } });
  return {
    work,
    async run() {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      work(pass);
      pass.end();
      device.queue.submit([encoder.finish()]);
      const { skippedTiles, consideredTiles } = await cache.readCounters();
      return {
        output: new Float32Array(await readBuffer(device, output)),
        tiles: [skippedTiles, consideredTiles],
      };
    },
    destroy() {
      cache.destroy();
      for (const buffer of [queries, output]) buffer.destroy();
    },
  };
}

/** Milliseconds of CPU time, of all threads, of one run. */
async function cpuTime(device: GPUDevice, work: Work): Promise<number> {
  await device.queue.onSubmittedWorkDone();
  const before = cpuUsage();
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (let i = 0; i < REPEATS; i++) work(pass);
  pass.end();
  device.queue.submit([encoder.finish()]);
  await device.queue.onSubmittedWorkDone();
  const { user, system } = cpuUsage(before);
  return (user + system) / REPEATS / 1000;
}

/** Measures attention with and without the option, row by row. */
export async function* measureSkip(
  device: GPUDevice,
  { schemes, contexts }: SkipChoice,
): AsyncGenerator<SkipRow, void, void> {
  for (const scheme of schemes) {
    for (const context of contexts) {
      for (const [distribution, sinkScore] of Object.entries(DISTRIBUTIONS)) {
        for (const workgroups of WORKGROUPS) {
          const [plain, skipping] = [
            await prepare(device, scheme, context, sinkScore, workgroups, undefined),
            await prepare(device, scheme, context, sinkScore, workgroups, BELOW),
          ];
          const [exact, found] = [await plain.run(), await skipping.run()];
          const [skipped, considered] = found.tiles;
          const ratios: number[] = [];
          for (let round = 0; round < ROUNDS; round++) {
            const without = await cpuTime(device, plain.work);
            ratios.push(without / await cpuTime(device, skipping.work));
          }
          yield {
            scheme: scheme.id,
            context,
            distribution,
            workgroups,
            skipped,
            considered,
            ratio: spread(ratios).median,
            moved: Math.max(
              ...found.output.map((number, i) => Math.abs(number - exact.output[i]!)),
            ),
          };
          plain.destroy();
          skipping.destroy();
        }
      }
    }
  }
}

/** A row in a line. */
export function formatSkip(row: SkipRow): string {
  const { scheme, context, distribution, workgroups, skipped, considered, ratio, moved } = row;
  return `${scheme} ${context} ${distribution}, ${workgroups} workgroups: ` +
    `skipped ${skipped} of ${considered} tiles ${BELOW} below, ` +
    `${ratio.toFixed(2)} times as fast, moved by ${moved.toExponential(1)}`;
}
