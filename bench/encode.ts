/** The encode suite: what appending costs beside attention, and a prefill's attention to codes beside that to f16. */
import type { SchemePair } from "../examples/demo/scheme_pairs.ts";
import { outputWidth } from "../cli/output_width.ts";
import { wrapLines } from "../cli/table.ts";
import { type ColumnGroup, explainColumns, formatTable } from "../examples/tables/grouped.ts";
import { type KeySpace, planCache, type PlanOptions } from "../mod.ts";
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

/** The space keys are coded in: the one that the baseline's are. */
const SPACE: KeySpace = "as-scored";

/** Times of one scheme's step of one layer. */
export interface EncodeRow {
  readonly model: string;
  /** Tokens before the step. */
  readonly context: number;
  /** New tokens: 1 to decode, more to prefill. */
  readonly tokens: number;
  readonly scheme: string;
  /** Milliseconds of the appends, by round. */
  readonly append: readonly number[];
  /** Milliseconds of the attention, by round. */
  readonly attend: readonly number[];
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
  { schemes, seconds }: EncodeChoice,
): Promise<readonly EncodeRow[]> {
  const prepared = [];
  try {
    for (const pair of schemes) {
      prepared.push(await prepareStep(device, model, context, tokens, pair));
    }
    const works = prepared.flatMap(({ append, attend }) => [append, attend]);
    const measured = await measureRounds(works, { clock, seconds });
    return schemes.map(({ id }, i): EncodeRow => ({
      model: model.name,
      context,
      tokens,
      scheme: id,
      append: measured[2 * i]!.samples,
      attend: measured[2 * i + 1]!.samples,
    }));
  } finally {
    for (const { destroy } of prepared) destroy();
  }
}

interface PreparedStep {
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
): Promise<PreparedStep> {
  const shape = modelShape(model, 1);
  const options: PlanOptions = {
    shape,
    policy: { keys, values },
    keys: modelKeys(model, SPACE),
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
    kernels: benchKernels([keys, values], model.headDim),
  };
  const filled = await createFilledCache(device, planCache(options), options, context);
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
  return {
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
    ], width),
  ].join("\n");
  return wrapLines(text, width);
}
