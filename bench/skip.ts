/**
 * What the option `skip` saves where a sink has most of the weight, and costs where scores are flat: one decode step of
 * one layer of Llama-3.1-8B's shape, keys as scored. With and without it take turns, and the CPU's time is taken, so a
 * software adapter is needed and a busy machine does no harm.
 *
 * @module
 */
import { cpuUsage } from "node:process";
import { runProgram } from "../examples/command_line.ts";
import { createCache, planCache, type PlanOptions, type SchemeId } from "../mod.ts";
import { seededRandom } from "../src/base/random.ts";
import { describeDevice } from "../tools/adapter.ts";
import { tunedPlan } from "../tests/helpers/tuned_plan.ts";
import { readBuffer } from "../tools/read_buffer.ts";
import type { Work } from "./measure/clock.ts";
import { randomCodebooks } from "./measure/codebooks.ts";
import { requestBenchDevice } from "./measure/device.ts";
import { benchKernels } from "./measure/kernels.ts";
import { MODELS, modelShape } from "./measure/models.ts";
import { spread } from "./measure/statistics.ts";

const MODEL = MODELS.find(({ name }) => name === "Llama-3.1-8B")!;
const SCHEMES: readonly SchemeId[] = ["f16", "c8b8"];
const CONTEXTS: readonly number[] = [8192, 32768];

const BELOW = 20;
const CHUNK = 256;
const WORKGROUPS: readonly number[] = [16, 256];
const REPEATS = 3;
const ROUNDS = 7;

/** Scores of the first token; all others lie around 0 with a deviation of about 1. */
const DISTRIBUTIONS = { flat: 0, peaked: 30 } as const;

interface Prepared {
  readonly work: Work;
  /** What attention comes to, and the tiles that it skipped and considered, after one run. */
  run(): Promise<{ readonly output: Float32Array; readonly tiles: readonly [number, number] }>;
  destroy(): void;
}

async function prepare(
  device: GPUDevice,
  scheme: SchemeId,
  context: number,
  sinkScore: number,
  workgroups: number,
  below: number | undefined,
): Promise<Prepared> {
  const { keyValueHeads, queryHeads, headDim } = MODEL;
  const options: PlanOptions = {
    shape: modelShape(MODEL, 1),
    policy: { keys: scheme, values: scheme },
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
    kernels: benchKernels([scheme], headDim),
    scale: 1,
    ...(below === undefined ? {} : { skip: { below } }),
  };
  const cache = await createCache({
    device,
    plan: planCache({ ...options, tuning: tunedPlan(device, options, () => ({ workgroups })) }),
    codebooks: randomCodebooks(options),
  });
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
  const [keys, values] = [between(CHUNK * size), between(CHUNK * size)];
  const sink = Float32Array.from(
    { length: size },
    (_, i) => sinkScore * one[i % headDim]! / (headDim * 0.15 ** 2),
  );
  const append = async (first: number, tokens: number) => {
    const given = keys.slice(0, tokens * size);
    if (first === 0) given.set(sink);
    const buffers = [upload(given), upload(values.slice(0, tokens * size))] as const;
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

async function main(): Promise<void> {
  const device = await requestBenchDevice();
  console.log(`${describeDevice(device).name}, CPU time, tiles ${BELOW} below are skipped`);
  for (const scheme of SCHEMES) {
    for (const context of CONTEXTS) {
      for (const [name, sinkScore] of Object.entries(DISTRIBUTIONS)) {
        for (const workgroups of WORKGROUPS) {
          const ways = [
            await prepare(device, scheme, context, sinkScore, workgroups, undefined),
            await prepare(device, scheme, context, sinkScore, workgroups, BELOW),
          ] as const;
          const [plain, skipping] = [await ways[0].run(), await ways[1].run()];
          const moved = Math.max(
            ...skipping.output.map((found, i) => Math.abs(found - plain.output[i]!)),
          );
          const [skipped, considered] = skipping.tiles;
          const ratios: number[] = [];
          for (let round = 0; round < ROUNDS; round++) {
            const without = await cpuTime(device, ways[0].work);
            ratios.push(without / await cpuTime(device, ways[1].work));
          }
          console.log(
            `${scheme} ${context} ${name}, ${workgroups} workgroups: skipped ${skipped} of ` +
              `${considered}, ${spread(ratios).median.toFixed(2)} times as fast, ` +
              `moved by ${moved.toExponential(1)}`,
          );
          for (const { destroy } of ways) destroy();
        }
      }
    }
  }
  device.destroy();
}

if (import.meta.main) await runProgram(main);
