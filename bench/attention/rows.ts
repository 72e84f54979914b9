/** One row of the attention suite: a layer's decode attention, ready to be measured. */
import {
  type CachePlan,
  type CommandTarget,
  type KeySpace,
  planCache,
  type PlanOptions,
  type Profile,
  recordWords,
  SIDES,
  tune,
  type TuningRecord,
} from "../../mod.ts";
import { readBuffer } from "../../tools/read_buffer.ts";
import { centroidBytes } from "../../src/plan/sizes.ts";
import { sideLayout } from "../../src/schemes/side_layout.ts";
import type { SchemePair } from "../../examples/demo/scheme_pairs.ts";
import { createFilledCache } from "../measure/filled_cache.ts";
import { benchKernels } from "../measure/kernels.ts";
import { type BenchModel, modelKeys, modelShape } from "../measure/models.ts";
import { randomTensor } from "../measure/random_tensor.ts";

/** What rows are compared at. */
export interface Place {
  readonly model: BenchModel;
  /** Tokens each query attends to, its own included. */
  readonly context: number;
  /** Sequences, each with one new token. */
  readonly batch: number;
}

/** A row to be measured. */
export interface RowChoice {
  readonly pair: SchemePair;
  readonly space: KeySpace;
}

/** A row with its plan. */
export interface PlannedRow extends RowChoice {
  /** What was planned, but for the record that the plan may have been made by. */
  readonly options: PlanOptions;
  readonly plan: CachePlan;
}

/** What a plan must know of a device. */
export type PlannedDevice =
  & Required<Pick<PlanOptions, "limits" | "features">>
  & Pick<PlanOptions, "precision">;

/** Bytes of all layers of a row together, above which caches between the device and its memory hold too few to matter. */
const COLD_BYTES = 128 * 1024 * 1024;

/**
 * Plans one row.
 *
 * @param cold Whether to take as many of the model's layers as it needs for no cache to hold them, as weights push the
 * records of one step out of caches before the next. Software adapters compute for longer than they load.
 * @throws {CoupletError} `limits`, `kernel` or `shape` where it cannot be planned.
 */
export function planRow(
  { model, context, batch }: Place,
  row: RowChoice,
  { limits, features, precision = "f16" }: PlannedDevice,
  cold: boolean,
): PlannedRow {
  const options = (layers: number): PlanOptions => ({
    shape: modelShape(model, layers),
    policy: { keys: row.pair.keys, values: row.pair.values },
    keys: modelKeys(model, row.space),
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: batch,
      tokens: batch * context,
      sequenceTokens: context,
      stepTokens: batch,
      appendTokens: 1,
    },
    limits,
    features,
    // A row is its scheme's best; what has fewer digits says so by its kernels' names.
    precision,
    kernels: benchKernels([row.pair.keys, row.pair.values], model.headDim),
  });
  const one = planCache(options(1));
  const { codes, codebooks } = one.bytes;
  const layers = cold ? Math.min(model.layers, Math.ceil(COLD_BYTES / (codes + codebooks))) : 1;
  const chosen = options(layers);
  return { ...row, options: chosen, plan: layers === 1 ? one : planCache(chosen) };
}

/**
 * What `tune()` measures of a row's layer on a device, at the row's context.
 *
 * @param budget Milliseconds of measuring.
 * @throws {CoupletError} as `tune()` does.
 */
export function tuneRow(
  device: GPUDevice,
  { options }: PlannedRow,
  { context }: Place,
  budget: number,
): Promise<TuningRecord> {
  // Layers of one kind are measured once, however many there are.
  return tune(device, { ...options, context, budget });
}

/**
 * A row that is planned by a record.
 *
 * @throws {CoupletError} as `planCache()` does.
 */
export function withTuning(row: PlannedRow, tuning: TuningRecord): PlannedRow {
  return { ...row, plan: planCache({ ...row.options, tuning }) };
}

/** Bytes that one layer's attention of one step must read and write, by what holds them. */
export interface MovedBytes {
  /** Records of all tokens. */
  readonly records: number;
  /** Each KV head's centroids and grids, once. */
  readonly codebooks: number;
  /** Queries and output, in f32. */
  readonly tensors: number;
}

/** The least that one layer's attention moves: everything it depends on, once. */
export function movedBytes({ options }: CachePlan, context: number, batch: number): MovedBytes {
  const [layer] = options.layers;
  const { queryHeads, keyValueHeads, headDim } = layer!;
  const sum = (of: (side: typeof SIDES[number]) => number) =>
    SIDES.reduce((total, side) => total + of(side), 0);
  return {
    records: batch * keyValueHeads *
      sum((side) => 4 * recordWords(sideLayout(layer!, side), context)),
    codebooks: sum((side) => centroidBytes(options, layer!, side)),
    tensors: batch * queryHeads * headDim * 4 * 2,
  };
}

/** A row whose cache is filled and whose step is appended. */
export interface ReadyRow {
  /** Records the attention of all the row's layers, one after the other. */
  work(target: CommandTarget): void;
  /** Reads the last layer's output back, `[batch][queryHeads][headDim]`. */
  read(): Promise<Float32Array>;
  destroy(): void;
}

/**
 * Fills a row's cache and appends its step.
 *
 * @param profile What measures the cache's kernels, appending included, if anything does.
 */
export async function prepareRow(
  device: GPUDevice,
  { options, plan }: PlannedRow,
  { context, batch }: Place,
  profile?: Profile,
): Promise<ReadyRow> {
  const { cache, sequences } = await createFilledCache(
    device,
    plan,
    options,
    context - 1,
    profile,
  );
  const { queryHeads, keyValueHeads, headDim } = plan.options.layers[0]!;
  const vectors = randomTensor(device, batch * keyValueHeads * headDim);
  const queries = randomTensor(device, batch * queryHeads * headDim);
  const output = device.createBuffer({
    size: queries.size,
    usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC,
  });
  const step = cache.beginStep(sequences.map((sequence) => ({ sequence, tokens: 1 })));
  const encoder = device.createCommandEncoder();
  for (let layer = 0; layer < plan.options.layers.length; layer++) {
    cache.encodeAppend(encoder, step, layer, {
      keys: { buffer: vectors },
      values: { buffer: vectors },
    });
  }
  device.queue.submit([encoder.finish()]);
  const tensors = { queries: { buffer: queries }, output: { buffer: output } };
  return {
    work(target) {
      for (let layer = 0; layer < plan.options.layers.length; layer++) {
        cache.encodeAttend(target, step, layer, tensors);
      }
    },
    read: async () => new Float32Array(await readBuffer(device, output)),
    destroy() {
      cache.destroy();
      for (const buffer of [vectors, queries, output]) buffer.destroy();
    },
  };
}
