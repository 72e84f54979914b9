/**
 * Attention to a span that is an image's or a video's, in floats and in integers, beside a span in f16: one decode step of one
 * layer of Llama-3.1-8B's shape. All take turns.
 */
import { type SchemePair, UNCOMPRESSED } from "../examples/demo/scheme_pairs.ts";
import { type CachePlan, createCache, parseKernelName, planCache, spanKinds } from "../mod.ts";
import type { KernelFeature } from "../src/kernels/name.ts";
import { randomCodebooks } from "../src/tuning/random_codebooks.ts";
import { chooseClock, type Work } from "./measure/clock.ts";
import { benchKernels } from "./measure/kernels.ts";
import { LARGE_MODEL as MODEL, modelShape } from "./measure/models.ts";
import { randomTensor } from "./measure/random_tensor.ts";
import { measureRounds } from "./measure/rounds.ts";
import { spread } from "./measure/statistics.ts";

const NUMBERS: readonly (KernelFeature | undefined)[] = [undefined, "int16", "int8"];

/** What is measured. */
export interface SpansChoice {
  readonly schemes: readonly SchemePair[];
  /** Tokens of the span. */
  readonly tokens: number;
  /** Seconds of measuring. */
  readonly seconds: number;
}

/** One way to attend to a span. */
export interface SpansRow {
  /** The kernel that attends. */
  readonly kernel: string;
  /** Milliseconds of one layer's attention, the median. */
  readonly milliseconds: number;
  /** How many times as fast as attention to the span in f16. */
  readonly ratio: number;
  /** The same by CPU time, of all threads: a figure of software adapters alone. */
  readonly cpuRatio: number;
}

/** The plan of a span whose kernels compute in some numbers; undefined where there are none. */
function planSpan(
  device: GPUDevice,
  { keys, values }: SchemePair,
  tokens: number,
  numbers: KernelFeature | undefined,
): CachePlan | undefined {
  const { headDim } = MODEL;
  // The estimate would choose floats: without a kernel that scores alone, it has no choice.
  const kernels = benchKernels([keys, values], headDim).filter(({ name }) => {
    const { family, schemes, feature } = parseKernelName(name);
    return family === "attend"
      ? schemes.join() !== `${keys},${values}` || feature === numbers
      : family !== "score" || schemes[0] !== keys;
  });
  return kernels.some(({ name }) => name.startsWith(`attend_${keys}_${values}_d${headDim}`))
    ? planCache({
      shape: modelShape(MODEL, 1),
      policy: { keys: "f16", values: "f16" },
      keys: { space: "as-scored" },
      tiers: { sinks: 0, window: 0 },
      capacity: { sequences: 1, tokens: 64, sequenceTokens: 64, stepTokens: 1, appendTokens: 1 },
      spans: spanKinds({ image: { keys, values, tokens, count: 1 } }),
      limits: device.limits,
      precision: "int8",
      kernels,
    })
    : undefined;
}

/** A span that is coded, and a step that sees it. */
async function prepare(device: GPUDevice, plan: CachePlan, tokens: number) {
  const { keyValueHeads, queryHeads, headDim } = MODEL;
  const cache = await createCache({ device, plan, codebooks: randomCodebooks(plan) });
  const tensor = (heads: number, count: number) => ({
    buffer: randomTensor(device, count * heads * headDim),
  });
  const sequence = cache.createSequence();
  const span = cache.addSpan(sequence, "image", tokens);
  const given = [tensor(keyValueHeads, tokens), tensor(keyValueHeads, tokens)] as const;
  const own = [tensor(keyValueHeads, 1), tensor(keyValueHeads, 1)] as const;
  const [queries, output] = [tensor(queryHeads, 1), tensor(queryHeads, 1)];
  const step = cache.beginStep([{ sequence, tokens: 1 }]);
  const encoder = device.createCommandEncoder();
  cache.encodeSpan(encoder, span, 0, { keys: given[0], values: given[1] });
  cache.encodeAppend(encoder, step, 0, { keys: own[0], values: own[1] });
  device.queue.submit([encoder.finish()]);
  const work: Work = (pass) => cache.encodeAttend(pass, step, 0, { queries, output });
  return {
    work,
    destroy() {
      cache.destroy();
      for (const { buffer } of [...given, ...own, queries, output]) buffer.destroy();
    },
  };
}

/** Measures attention to a span, the one in f16 first. */
export async function measureSpans(
  device: GPUDevice,
  { schemes, tokens, seconds }: SpansChoice,
): Promise<readonly SpansRow[]> {
  // Of f16 there are no kernels in integers.
  const plans = [UNCOMPRESSED, ...schemes].flatMap((pair) =>
    NUMBERS.flatMap((numbers) => planSpan(device, pair, tokens, numbers) ?? [])
  );
  const ready = [];
  for (const plan of plans) ready.push(await prepare(device, plan, tokens));
  const works = ready.map(({ work }) => work);
  const clock = await chooseClock(device, works[0]!);
  const times = (await measureRounds(works, { clock, seconds })).map(({ samples, cpuSamples }) => ({
    wall: spread(samples).median,
    cpu: spread(cpuSamples).median,
  }));
  for (const one of ready) one.destroy();
  const base = times[0]!;
  return plans.map(({ spans }, i) => ({
    kernel: spans[0]!.layers[0]!.decode.attend!.name,
    milliseconds: times[i]!.wall,
    ratio: base.wall / times[i]!.wall,
    cpuRatio: base.cpu / times[i]!.cpu,
  }));
}

/** A row in a line. */
export function formatSpans({ kernel, milliseconds, ratio, cpuRatio }: SpansRow): string {
  const ratios = [ratio, cpuRatio].map((one) => one.toFixed(2));
  return `${kernel}: ${milliseconds.toPrecision(3)} ms, ` +
    `${ratios[0]} times as fast as f16, ${ratios[1]} by CPU time`;
}
