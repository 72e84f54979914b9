/** The attention suite: one layer's decode attention, by model, context, batch, scheme and space. */
import { CoupletError, type KeySpace } from "../mod.ts";
import { Progress } from "../cli/progress.ts";
import { type SchemePair, UNCOMPRESSED } from "../examples/demo/scheme_pairs.ts";
import type { AttentionBench, AttentionRow } from "./attention_results.ts";
import {
  movedBytes,
  type Place,
  type PlannedRow,
  planRow,
  prepareRow,
  type ReadyRow,
  type RowChoice,
} from "./attention_rows.ts";
import { measureRoofline } from "./bandwidth.ts";
import type { Clock } from "./clock.ts";
import { describeEnvironment } from "./device.ts";
import type { BenchModel } from "./models.ts";
import { measureRounds } from "./rounds.ts";

/** What to measure. */
export interface AttentionChoice {
  readonly models: readonly BenchModel[];
  readonly contexts: readonly number[];
  readonly batches: readonly number[];
  readonly schemes: readonly SchemePair[];
  readonly spaces: readonly KeySpace[];
  /** Seconds to spend on each place. */
  readonly seconds: number;
  /** GiB that the caches which take turns may allocate together. */
  readonly memory: number;
}

/** Every pair in every space, and the baseline. */
export function chooseRows({ schemes, spaces }: AttentionChoice): readonly RowChoice[] {
  const baseline: RowChoice = { pair: UNCOMPRESSED, space: "as-scored" };
  const others = schemes.flatMap((pair) => spaces.map((space) => ({ pair, space })))
    .filter(({ pair, space }) => pair.id !== baseline.pair.id || space !== baseline.space);
  return [baseline, ...others];
}

/** Measures all places, one after the other; the rows of a place take turns. */
export async function measureAttention(
  device: GPUDevice,
  choice: AttentionChoice,
  command: string,
): Promise<AttentionBench> {
  const started = performance.now();
  const environment = await describeEnvironment(device);
  const progress = new Progress(2);
  const first = progress.stage("clock and bandwidth");
  const { clock, samples: bandwidth } = await measureRoofline(device, choice.seconds);
  first.done();
  const places = choice.models.flatMap((model) =>
    choice.batches.flatMap((batch) => choice.contexts.map((context) => ({ model, batch, context })))
  );
  const rows: AttentionRow[] = [];
  const refused: AttentionBench["refused"] = [];
  const stage = progress.stage("attention");
  for (const [i, place] of places.entries()) {
    const { planned, refusals } = planPlace(device, place, choice, environment.adapter.kind);
    refused.push(...refusals);
    if (planned.length > 0) rows.push(...await measurePlace(device, clock, place, planned, choice));
    stage.update((i + 1) / places.length);
  }
  stage.done();
  return {
    format: "couplet-bench-attention",
    version: 1,
    environment,
    clock: {
      method: clock.method,
      ...(clock.reason === undefined ? {} : { reason: clock.reason }),
    },
    bandwidth: [...bandwidth],
    command,
    rows,
    refused,
    seconds: (performance.now() - started) / 1000,
  };
}

/** Plans the rows of a place: none where the baseline, or all together, do not fit. */
function planPlace(
  device: GPUDevice,
  place: Place,
  choice: AttentionChoice,
  kind: string,
): { readonly planned: readonly PlannedRow[]; readonly refusals: AttentionBench["refused"] } {
  const choices = chooseRows(choice);
  const planned: PlannedRow[] = [];
  const refusals: AttentionBench["refused"] = [];
  const refuse = (row: RowChoice, why: string) => refusals.push({ ...rowPlace(place, row), why });
  for (const row of choices) {
    try {
      planned.push(planRow(place, row, device, kind === "hardware"));
    } catch (error) {
      if (!(error instanceof CoupletError)) throw error;
      refuse(row, error.parts.why);
    }
  }
  const needs = planned.reduce((sum, { plan }) => sum + plan.bytes.total, 0) / 2 ** 30;
  const why = planned[0]?.pair !== UNCOMPRESSED || planned[0].space !== "as-scored"
    ? "its baseline, f16 as scored, was refused"
    : needs > choice.memory
    ? `the caches that would take turns need ${needs.toFixed(1)} GiB, more than --memory`
    : undefined;
  if (why === undefined) return { planned, refusals };
  for (const row of planned) refuse(row, why);
  return { planned: [], refusals };
}

async function measurePlace(
  device: GPUDevice,
  clock: Clock,
  place: Place,
  planned: readonly PlannedRow[],
  { seconds }: AttentionChoice,
): Promise<readonly AttentionRow[]> {
  const ready: ReadyRow[] = [];
  try {
    for (const row of planned) ready.push(await prepareRow(device, row, place));
    const measured = await measureRounds(ready.map(({ work }) => work), { clock, seconds });
    for (const [i, row] of ready.entries()) checkOutput(planned[i]!, await row.read());
    return planned.map((row, i): AttentionRow => {
      const layers = row.plan.options.shape.layers;
      const { repeats, samples } = measured[i]!;
      return {
        ...rowPlace(place, row),
        kernels: stepKernels(row),
        layers,
        repeats,
        bytes: movedBytes(row.plan, place.context, place.batch),
        samples: samples.map((time) => time / layers),
      };
    });
  } finally {
    for (const row of ready) row.destroy();
  }
}

/**
 * Makes sure that something was measured.
 *
 * @throws {Error} where an output is not what attention gives: finite, and not zero.
 */
function checkOutput({ pair, space }: PlannedRow, output: Float32Array): void {
  if (output.every((value) => Number.isFinite(value)) && output.some((value) => value !== 0)) {
    return;
  }
  throw new Error(`Attention of ${pair.id}, ${space}, gave no vectors`);
}

function rowPlace({ model, context, batch }: Place, { pair, space }: RowChoice) {
  const { keys, values } = pair;
  return { model: model.name, context, batch, keys, values, space };
}

/** The names of the kernels that attend in a decode step. */
function stepKernels({ plan }: PlannedRow): string[] {
  const { decode, combine } = plan.layers[0]!;
  return [decode.table, decode.attend, decode.score, decode.mix, combine]
    .flatMap((kernel) => kernel === undefined ? [] : [kernel.name]);
}
