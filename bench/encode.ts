/** The encode suite: what appending costs beside attention, and a prefill's attention to codes beside that to f16. */
import { type SchemePair, UNCOMPRESSED } from "../examples/demo/scheme_pairs.ts";
import { candidateNames } from "../src/plan/choose_attention.ts";
import { outputWidth } from "../cli/output_width.ts";
import { wrapLines } from "../cli/table.ts";
import { type ColumnGroup, explainColumns, formatTable } from "../examples/tables/grouped.ts";
import { type KeySpace, planCache, type PlanOptions, tune } from "../mod.ts";
import type { EncodeChoice } from "./arguments.ts";
import { describeEnvironmentLines } from "./attention/table.ts";
import { formatTime } from "./measure/figures.ts";
import { createCopyProbe } from "./measure/bandwidth.ts";
import { chooseClock, type Clock, type Work } from "./measure/clock.ts";
import { describeEnvironment, type Environment } from "./measure/device.ts";
import { createFilledCache } from "./measure/filled_cache.ts";
import { benchKernels } from "./measure/kernels.ts";
import { type BenchModel, modelKeys, modelShape } from "./measure/models.ts";
import { randomTensor } from "./measure/random_tensor.ts";
import { measureRounds } from "./measure/rounds.ts";
import { speedup, spread } from "./measure/statistics.ts";

/** Times of one scheme's step of one layer. */
export interface EncodeRow {
  readonly model: string;
  /** Tokens before the step. */
  readonly context: number;
  /** New tokens: 1 to decode, more to prefill. */
  readonly tokens: number;
  readonly scheme: string;
  readonly space: KeySpace;
  /** The kernels that attend. */
  readonly kernels: readonly string[];
  /** Milliseconds of the appends, by round. */
  readonly append: readonly number[];
  /** Milliseconds of the attention, by round. */
  readonly attend: readonly number[];
  /** The same in milliseconds of CPU time, of all threads. */
  readonly attendCpu: readonly number[];
}

/** What a run of the suite comes to. */
export interface EncodeBench {
  readonly format: "couplet-bench-encode";
  readonly version: 1;
  readonly environment: Environment;
  readonly clock: Pick<Clock, "method" | "reason">;
  readonly rows: readonly EncodeRow[];
}

/** Measures each shape at each context, once with one new token and once with a chunk of them. */
export async function measureEncode(
  device: GPUDevice,
  choice: EncodeChoice,
): Promise<EncodeBench> {
  const environment = await describeEnvironment(device);
  const probe = createCopyProbe(device);
  const clock = await chooseClock(device, probe.work);
  probe.destroy();
  const rows: EncodeRow[] = [];
  for (const model of choice.models) {
    for (const context of choice.contexts) {
      for (const tokens of [1, choice.chunk]) {
        console.error(`${model.name}, ${tokens} after ${context} tokens`);
        rows.push(...await measureStep(device, clock, model, context, tokens, choice));
      }
    }
  }
  const { method, reason } = clock;
  return {
    format: "couplet-bench-encode",
    version: 1,
    environment,
    clock: { method, ...(reason === undefined ? {} : { reason }) },
    rows,
  };
}

async function measureStep(
  device: GPUDevice,
  clock: Clock,
  model: BenchModel,
  context: number,
  tokens: number,
  choice: EncodeChoice,
): Promise<readonly EncodeRow[]> {
  const { schemes, seconds, space } = choice;
  const prepared: PreparedStep[] = [];
  try {
    for (const pair of schemes) {
      // The baseline is f16's fastest: its kernel rotates nothing.
      const own = pair.id === UNCOMPRESSED.id ? "as-scored" : space;
      prepared.push(await prepareStep(device, model, context, tokens, pair, own, choice));
    }
    const works = prepared.flatMap(({ append, attend }) => [append, attend]);
    const measured = await measureRounds(works, { clock, seconds });
    return schemes.map(({ id }, i): EncodeRow => ({
      model: model.name,
      context,
      tokens,
      scheme: id,
      space: prepared[i]!.space,
      kernels: prepared[i]!.kernels,
      append: measured[2 * i]!.samples,
      attend: measured[2 * i + 1]!.samples,
      attendCpu: measured[2 * i + 1]!.cpuSamples,
    }));
  } finally {
    for (const { destroy } of prepared) destroy();
  }
}

interface PreparedStep {
  readonly space: KeySpace;
  readonly kernels: readonly string[];
  /** Takes the step's tokens back and appends them again. */
  readonly append: Work;
  readonly attend: Work;
  destroy(): void;
}

async function prepareStep(
  device: GPUDevice,
  model: BenchModel,
  context: number,
  tokens: number,
  { keys, values }: SchemePair,
  space: KeySpace,
  { tune: tuned, precision = "f16", seconds }: EncodeChoice,
): Promise<PreparedStep> {
  const shape = modelShape(model, 1);
  const options: PlanOptions = {
    shape,
    policy: { keys, values },
    keys: modelKeys(model, space),
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: context + tokens,
      sequenceTokens: context + tokens,
      stepTokens: tokens,
      appendTokens: tokens,
    },
    limits: device.limits,
    features: device.features,
    precision,
    kernels: benchKernels([keys, values], model.headDim),
  };
  const plan = planCache(
    tuned
      ? {
        ...options,
        tuning: await tune(device, {
          ...options,
          context: context + tokens,
          budget: 1000 * seconds,
        }),
      }
      : options,
  );
  const filled = await createFilledCache(device, plan, options, context);
  const { cache, sequences: [sequence] } = filled;
  const vectors = randomTensor(device, tokens * model.keyValueHeads * model.headDim);
  const queries = randomTensor(device, tokens * model.queryHeads * model.headDim);
  const output = device.createBuffer({ size: queries.size, usage: GPUBufferUsage.STORAGE });
  const begin = () => {
    cache.truncate(sequence!, context);
    return cache.beginStep([{ sequence: sequence!, tokens }]);
  };
  let step = begin();
  const append: Work = (pass) => {
    // All such steps have the same parameters, so more of them than a cache keeps apart do no harm.
    step = begin();
    cache.encodeAppend(pass, step, 0, { keys: { buffer: vectors }, values: { buffer: vectors } });
  };
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  append(pass);
  pass.end();
  device.queue.submit([encoder.finish()]);
  const [layer] = plan.layers;
  return {
    space,
    kernels: candidateNames(tokens === 1 ? layer!.decode : layer!.prefill),
    append,
    attend: (pass) =>
      cache.encodeAttend(pass, step, 0, {
        queries: { buffer: queries },
        output: { buffer: output },
      }),
    destroy() {
      cache.destroy();
      for (const buffer of [vectors, queries, output]) buffer.destroy();
    },
  };
}

/**
 * The figures as a table.
 *
 * @param width Columns that it may take. Defaults to the terminal's.
 */
export function formatEncode(
  { environment, clock, rows }: EncodeBench,
  width: number = outputWidth(),
): string {
  const baseline = (row: EncodeRow) =>
    rows.find((other) =>
      other.scheme === "f16" && other.model === row.model && other.context === row.context &&
      other.tokens === row.tokens
    )!;
  const groups: ColumnGroup<EncodeRow>[] = [
    {
      title: "",
      columns: [
        { title: "shape", cell: ({ model }) => model },
        { title: "context", cell: ({ context }) => `${context}` },
        { title: "new", cell: ({ tokens }) => `${tokens}` },
        { title: "scheme", cell: ({ scheme }) => scheme },
        { title: "keys", cell: ({ space }) => space },
      ],
    },
    {
      title: "ms a layer",
      columns: [
        { title: "append", cell: ({ append }) => formatTime(spread(append).median) },
        { title: "attend", cell: ({ attend }) => formatTime(spread(attend).median) },
      ],
    },
    {
      title: "",
      columns: [
        {
          title: "append/attend",
          cell: ({ append, attend }) => `${(100 / speedup(attend, append).median).toFixed(1)}%`,
        },
        {
          title: "attend x f16",
          cell: (row) => speedup(baseline(row).attend, row.attend).median.toFixed(2),
        },
        {
          title: "x cpu",
          cell: (row) => speedup(baseline(row).attendCpu, row.attendCpu).median.toFixed(2),
        },
        { title: "kernels", cell: ({ kernels }) => kernels.join(" + ") },
      ],
    },
  ];
  const text = [
    ...describeEnvironmentLines(environment),
    `clock:     ${clock.method}${clock.reason === undefined ? "" : `: ${clock.reason}`}`,
    "",
    formatTable(groups, rows, width),
    "",
    explainColumns([
      [
        "append/attend",
        "of one layer: a whole step also has its projections, so appending is less of that",
      ],
      [
        "attend x f16",
        "how many times faster than attention to f16, with as many new tokens",
      ],
      ["x cpu", "the same by CPU time, of all threads: a figure of software adapters alone"],
    ], width),
  ].join("\n");
  return wrapLines(text, width);
}
