/** The attention suite: one layer's decode attention, by model, context, batch, scheme and space. */
import { CoupletError, type KeySpace, type Precision } from "../../mod.ts";
import { stepSplits } from "../../src/plan/steps.ts";
import { candidateNames } from "../../src/plan/choose_attention.ts";
import { Progress } from "../../cli/progress.ts";
import { type SchemePair, UNCOMPRESSED } from "../../examples/demo/scheme_pairs.ts";
import type { AttentionBench, AttentionRow } from "./results.ts";
import {
  movedBytes,
  type Place,
  type PlannedRow,
  planRow,
  prepareRow,
  type ReadyRow,
  type RowChoice,
  tuneRow,
  withTuning,
} from "./rows.ts";
import { measureRoofline } from "../measure/bandwidth.ts";
import type { Clock } from "../measure/clock.ts";
import { describeEnvironment } from "../measure/device.ts";
import type { BenchModel } from "../measure/models.ts";
import { profileRow } from "./profile_row.ts";
import { measureRounds, type Samples } from "../measure/rounds.ts";

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
  /** Whether to measure for each row what to plan it with. */
  readonly tune: boolean;
  /** The least precision that rows are planned with. Defaults to `f16`. */
  readonly precision?: Precision;
  /** Whether to time each kernel as well. */
  readonly profile: boolean;
  /**
   * When to be done, as `performance.now()` tells: places that would take longer are refused, and rows that are left then
   * are neither tuned nor profiled. No limit if absent.
   */
  readonly until?: number;
}

/** Every pair in every space, and the baseline. */
export function chooseRows({ schemes, spaces }: AttentionChoice): readonly RowChoice[] {
  const baseline: RowChoice = { pair: UNCOMPRESSED, space: "as-scored" };
  const others = schemes.flatMap((pair) => spaces.map((space) => ({ pair, space })))
    .filter(({ pair, space }) => pair.id !== baseline.pair.id || space !== baseline.space);
  return [baseline, ...others];
}

/**
 * Measures all places, one after the other; the rows of a place take turns.
 *
 * @throws {CoupletError} `device` where kernels are to be timed and the device has no timestamps.
 */
export async function measureAttention(
  device: GPUDevice,
  choice: AttentionChoice,
  command: string,
  progress: Progress = new Progress(2),
): Promise<AttentionBench> {
  if (choice.profile && !device.features.has("timestamp-query")) {
    throw new CoupletError("device", {
      what: "Cannot profile the kernels",
      why: "the adapter has no timestamp queries",
      remedy: "Measure without --profile, or choose another adapter with --adapter",
    });
  }
  const started = performance.now();
  const environment = await describeEnvironment(device);
  const { kind } = environment.adapter;
  const first = progress.stage("clock and bandwidth");
  const { clock, samples: bandwidth } = await measureRoofline(device, choice.seconds);
  first.done();
  const places = choice.models.flatMap((model) =>
    choice.batches.flatMap((batch) => choice.contexts.map((context) => ({ model, batch, context })))
  );
  const rows: AttentionRow[] = [];
  const refused: AttentionBench["refused"] = [];
  const stage = progress.stage("attention");
  let taken = 0;
  for (const [i, place] of places.entries()) {
    const before = performance.now();
    // Contexts grow by factors of two.
    if (before + 2 * taken > (choice.until ?? Infinity)) {
      refused.push(...chooseRows(choice).map((row) => ({ ...rowPlace(place, row), why: NO_TIME })));
      continue;
    }
    const found = planPlace(device, place, choice, kind);
    const { planned, refusals } = choice.tune
      ? await tunePlace(device, place, found, choice)
      : found;
    refused.push(...refusals);
    if (planned.length > 0) {
      rows.push(...await measurePlace(device, clock, place, planned, choice, kind));
    }
    taken = performance.now() - before;
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

/** The rows of a place that are measured, and those that are not. */
interface PlannedPlace {
  readonly planned: readonly PlannedRow[];
  readonly refusals: AttentionBench["refused"];
}

/** Plans the rows of a place: none where the baseline, or all together, do not fit. */
function planPlace(
  device: GPUDevice,
  place: Place,
  choice: AttentionChoice,
  kind: string,
): PlannedPlace {
  const choices = chooseRows(choice);
  const { limits, features } = device;
  const target = { limits, features, ...(choice.precision && { precision: choice.precision }) };
  const planned: PlannedRow[] = [];
  const refusals: AttentionBench["refused"] = [];
  const refuse = (row: RowChoice, why: string) => refusals.push({ ...rowPlace(place, row), why });
  for (const row of choices) {
    try {
      planned.push(planRow(place, row, target, kind === "hardware"));
    } catch (error) {
      if (!(error instanceof CoupletError)) throw error;
      refuse(row, error.parts.why);
    }
  }
  const needs = planned.reduce((sum, { plan }) => sum + plan.bytes.total, 0) / 2 ** 30;
  const why = !hasBaseline(planned)
    ? BASELINE_REFUSED
    : needs > choice.memory
    ? `the caches that would take turns need ${needs.toFixed(1)} GiB, more than --memory`
    : undefined;
  if (why === undefined) return { planned, refusals };
  for (const row of planned) refuse(row, why);
  return { planned: [], refusals };
}

/** Why no row of a place is measured where the time is up. */
const NO_TIME = "it would have taken longer than there was time";

/** Why no row of a place is measured where there is nothing to compare with. */
const BASELINE_REFUSED = "its baseline, f16 as scored, was refused";

/** Whether the baseline is among the rows; it is the first then. */
function hasBaseline([first]: readonly PlannedRow[]): boolean {
  return first?.pair === UNCOMPRESSED && first.space === "as-scored";
}

/**
 * Plans the rows of a place by what is measured of each, the baseline included; none where the baseline cannot be. Rows for
 * which there is no time stay as they were.
 */
async function tunePlace(
  device: GPUDevice,
  place: Place,
  { planned, refusals }: PlannedPlace,
  { seconds, until = Infinity }: AttentionChoice,
): Promise<PlannedPlace> {
  const tuned: PlannedRow[] = [];
  const refused = [...refusals];
  for (const row of planned) {
    if (performance.now() > until) {
      tuned.push(row);
      continue;
    }
    try {
      const record = await tuneRow(device, row, place, 1000 * seconds / planned.length);
      tuned.push(withTuning(row, record));
    } catch (error) {
      if (!(error instanceof CoupletError)) throw error;
      refused.push({ ...rowPlace(place, row), why: error.parts.why });
    }
  }
  if (hasBaseline(tuned)) return { planned: tuned, refusals: refused };
  refused.push(...tuned.map((row) => ({ ...rowPlace(place, row), why: BASELINE_REFUSED })));
  return { planned: [], refusals: refused };
}

async function measurePlace(
  device: GPUDevice,
  clock: Clock,
  place: Place,
  planned: readonly PlannedRow[],
  { seconds, profile, until = Infinity }: AttentionChoice,
  kind: string,
): Promise<readonly AttentionRow[]> {
  const measured = await measureTurns(device, clock, place, planned, seconds);
  const rows: AttentionRow[] = [];
  for (const [i, row] of planned.entries()) {
    const { shape: { layers } } = row.plan.options;
    const { repeats, samples, cpuSamples } = measured[i]!;
    rows.push({
      ...rowPlace(place, row),
      ...rowKernels(row, place),
      layers,
      repeats,
      bytes: movedBytes(row.plan, place.context, place.batch),
      samples: samples.map((time) => time / layers),
      // Of a GPU's work it is no measure.
      ...(kind === "hardware" ? {} : { cpuSamples: cpuSamples.map((time) => time / layers) }),
      ...(profile && performance.now() < until
        ? { profile: await profileRow(device, row, place, repeats) }
        : {}),
    });
  }
  return rows;
}

/** Times the rows of a place, which take turns. */
async function measureTurns(
  device: GPUDevice,
  clock: Clock,
  place: Place,
  planned: readonly PlannedRow[],
  seconds: number,
): Promise<readonly Samples[]> {
  const ready: ReadyRow[] = [];
  try {
    for (const row of planned) ready.push(await prepareRow(device, row, place));
    const measured = await measureRounds(ready.map(({ work }) => work), { clock, seconds });
    for (const [i, row] of ready.entries()) checkOutput(planned[i]!, await row.read());
    return measured;
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

/** The kernels that attend in a decode step, how it is cut, and what chose that. */
export function rowKernels({ plan }: PlannedRow, { context, batch }: Place) {
  const { options, layers: [layer], tuning } = plan;
  const { splits, span, ...kernels } = layer!.decode;
  const size = { tokens: batch, entries: batch, maxTokens: 1, context };
  const tuned = tuning?.attention.find(({ way }) => way === "decode");
  return {
    kernels: [...candidateNames(kernels), layer!.combine.name],
    span,
    workgroups: splits.workgroups,
    splits: stepSplits(options, splits, size),
    ...(tuned === undefined ? {} : {
      tuning: {
        sequences: tuned.sequences,
        candidates: tuned.candidates.map((one) => ({ ...one, kernels: [...one.kernels] })),
      },
    }),
  };
}
