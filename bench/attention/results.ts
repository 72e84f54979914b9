/** The attention suite's figures: their file, and what follows from them. */
import { parseScheme, recordBits } from "../../mod.ts";
import { z } from "zod";
import type { FileSource } from "../../cli/files.ts";
import { parseJson } from "../../cli/json.ts";
import { KEY_SPACES } from "../../examples/eval/figures/results.ts";
import { environmentSchema } from "../measure/device.ts";
import { MODELS } from "../measure/models.ts";
import {
  breakEven,
  type Linearity,
  linearity,
  speedup,
  type Spread,
  spread,
} from "../measure/statistics.ts";
import { pairName } from "../../cli/scheme_pair.ts";

const count = z.int().nonnegative();

const place = {
  model: z.enum(MODELS.map(({ name }) => name)),
  /** Tokens each query attends to. */
  context: count,
  /** Sequences, each with one new token. */
  batch: count,
  keys: z.string(),
  values: z.string(),
  space: z.enum(KEY_SPACES),
};

/** What `tune()` measured of a row's layer. */
const tuning = z.object({
  /** Sequences that took part: fewer than the row's where they would hold many tokens. */
  sequences: count,
  /** Fastest first; the first was taken. */
  candidates: z.array(z.object({
    kernels: z.array(z.string()),
    span: count,
    workgroups: count,
    milliseconds: z.number().positive(),
  })).min(1),
});

/** Fields that are optional are absent from files that were written before there were any. */
const row = z.object({
  ...place,
  /** Kernels of one step, in order. */
  kernels: z.array(z.string()),
  /** Pages of a coded tile. */
  span: count.optional(),
  /** What a step is cut into at most, all KV heads together, and workgroups that share the tokens of a block of queries. */
  workgroups: count.optional(),
  splits: count.optional(),
  /** What kernels and workgroups were chosen by; absent where it was the planner's estimate. */
  tuning: tuning.optional(),
  /** Layers whose attention took turns. */
  layers: count,
  /** How often all layers were attended in, in one submission. */
  repeats: count,
  /** Bytes one layer's attention of one step must move. */
  bytes: z.object({ records: count, codebooks: count, tensors: count }),
  /** Milliseconds of one layer's attention of one step, by round. */
  samples: z.array(z.number().positive()).min(1),
  /** The same in milliseconds of CPU time, of all threads; absent on hardware, where others compute. */
  cpuSamples: z.array(z.number().positive()).min(1).optional(),
  /** What each kernel takes of that, by timestamps around each dispatch, longest first; absent where nobody asked. */
  profile: z.array(z.object({ kernel: z.string(), milliseconds: z.number().nonnegative() })).min(1)
    .optional(),
});

/** The file's schema. */
export const attentionBench = z.object({
  format: z.literal("couplet-bench-attention"),
  version: z.literal(1),
  environment: environmentSchema,
  clock: z.object({
    method: z.enum(["timestamps", "wall clock"]),
    /** Why not timestamps. */
    reason: z.string().optional(),
  }),
  /** Bytes a second of the copy kernel, read and written together, by round. */
  bandwidth: z.array(z.number().positive()).min(1),
  /** The suite's own command line. */
  command: z.string(),
  rows: z.array(row),
  /** What was not measured. */
  refused: z.array(z.object({ ...place, why: z.string() })),
  seconds: z.number(),
});

/** Everything a run of the attention suite comes to; nothing is rounded. */
export type AttentionBench = z.infer<typeof attentionBench>;

/** One row of {@linkcode AttentionBench}. */
export type AttentionRow = AttentionBench["rows"][number];

/** The figures as the text of a file. */
export function formatAttentionBench(bench: AttentionBench): string {
  return `${JSON.stringify(bench, null, 1)}\n`;
}

/**
 * The inverse of {@linkcode formatAttentionBench}.
 *
 * @throws {CoupletError} `file` where the text is something else.
 */
export function parseAttentionBench(text: string): AttentionBench {
  return parseJson(source("the figures of the attention suite"), attentionBench, text);
}

function source(what: string): FileSource {
  return { what, remedy: "Give a file that deno task bench attention --json wrote" };
}

/** What one row comes to. */
export interface RowFigures {
  readonly row: AttentionRow;
  /** Milliseconds. */
  readonly time: Spread;
  /** How many times faster than the baseline, round by round. */
  readonly speedup: Spread;
  /** Both by CPU time, where that was measured of it and of the baseline. */
  readonly cpu: { readonly time: Spread; readonly speedup: Spread } | undefined;
  /** Bytes it must move over what the copy kernel moves in the same time. */
  readonly share: number;
}

/** Rows of one model, batch and space that differ by context alone. */
export interface Series {
  readonly name: string;
  /** Bits per channel of a record. */
  readonly bits: number;
  /** By context. */
  readonly figures: readonly RowFigures[];
  /** The shortest context from which on it is faster than the baseline; null where there is none. */
  readonly breakEven: number | null;
  /** Whether time grows in proportion at most; null for fewer than three contexts. */
  readonly linearity: Linearity | null;
}

/** Everything of one model, batch and space. */
export interface Panel {
  readonly model: AttentionRow["model"];
  readonly batch: number;
  readonly space: AttentionRow["space"];
  readonly series: readonly Series[];
}

/** Whether a row keeps keys and values as they are. */
export function isUncompressed({ keys, values }: Pick<AttentionRow, "keys" | "values">): boolean {
  return keys === "f16" && values === "f16";
}

/**
 * The figures by model, batch, space and scheme. The baseline of a row is the fastest row of `f16` at the same place, in
 * whichever space: where keys are stored as they are scored, its kernel rotates nothing.
 */
export function attentionPanels({ rows, bandwidth }: AttentionBench): readonly Panel[] {
  const copied = spread(bandwidth).median;
  const figures = rows.map((row): RowFigures => {
    const time = spread(row.samples);
    const { records, codebooks, tensors } = row.bytes;
    const baseline = baselineOf(rows, row);
    return {
      row,
      time,
      speedup: speedup(baseline.samples, row.samples),
      cpu: row.cpuSamples && baseline.cpuSamples && {
        time: spread(row.cpuSamples),
        speedup: speedup(baseline.cpuSamples, row.cpuSamples),
      },
      share: (records + codebooks + tensors) / (time.median / 1000) / copied,
    };
  });
  const id = ({ row: { model, batch, space } }: RowFigures) => `${model} ${batch} ${space}`;
  return [...Map.groupBy(figures, id).values()].map((own): Panel => {
    const { model, batch, space } = own[0]!.row;
    const groups = [...Map.groupBy(own, ({ row }) => pairName(row))];
    return {
      model,
      batch,
      space,
      series: groups.map(([name, group]) => seriesOf(name, group)),
    };
  });
}

function seriesOf(name: string, group: readonly RowFigures[]): Series {
  const figures = group.toSorted((a, b) => a.row.context - b.row.context);
  const { keys, values, model } = figures[0]!.row;
  const { headDim } = MODELS.find((known) => known.name === model)!;
  const at = (value: (figures: RowFigures) => number) =>
    figures.map((own) => ({ context: own.row.context, value: value(own) }));
  const bits = [keys, values].map((id) => recordBits(parseScheme(id).layout(headDim), headDim));
  return {
    name,
    bits: (bits[0]! + bits[1]!) / 2,
    figures,
    breakEven: isUncompressed(figures[0]!.row) ? null : breakEven(at((own) => own.speedup.median)),
    linearity: linearity(figures.map(({ row, time }) => ({ context: row.context, spread: time }))),
  };
}

/** The fastest uncompressed row at a row's place. */
function baselineOf(rows: readonly AttentionRow[], at: AttentionRow): AttentionRow {
  const candidates = rows.filter((row) =>
    isUncompressed(row) && row.model === at.model && row.context === at.context &&
    row.batch === at.batch
  );
  if (candidates.length === 0) {
    throw new RangeError(`No row of f16 stands beside ${at.model} at ${at.context} tokens`);
  }
  return candidates.reduce((a, b) => spread(b.samples).median < spread(a.samples).median ? b : a);
}
