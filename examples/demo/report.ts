import type { CacheBytes } from "@couplet/kv";
import type { AdapterReport } from "../../tools/adapters.ts";
import type { Quality } from "./metrics.ts";
import type { Work } from "./prepare.ts";
import type { SizedPair } from "./scheme_pairs.ts";
import type { CountBench } from "../../bench/count/results.ts";
import { describeGpuAttention } from "./gpu_attention.ts";
import { type Column, type ColumnGroup, explainColumns, formatTable } from "../tables/grouped.ts";

/** Everything resident for some tokens. */
export interface Memory {
  /** Tokens, over all sequences. */
  readonly tokens: number;
  readonly sequences: number;
  /** Codes, exact tiers, codebooks, tables and slack. */
  readonly bytes: number;
  /** Bits per key or value channel of a token: all bytes over all channels. */
  readonly effectiveBits: number;
  /** Bytes of the uncompressed cache over these. */
  readonly timesSmaller: number;
}

/** One row: what a scheme pair costs and what it keeps. */
export interface Row {
  readonly pair: SizedPair;
  readonly memory: {
    /** Read off the buffers that the run allocated, exact tiers included. */
    readonly run: Memory & { readonly byKind: CacheBytes };
    /** By the plan's formulas, for one sequence. */
    readonly extrapolated: readonly Memory[];
  };
  /** Quality where every token is coded. */
  readonly codesAlone: QualityChange;
  /** Quality with the exact window and sinks. */
  readonly withTiers: QualityChange;
  /** Milliseconds per decode step, all layers and sequences, append and attention. */
  readonly attention: {
    readonly milliseconds: number;
    /** The uncompressed cache's time is 1. */
    readonly timesUncompressed: number;
  };
}

/** Quality beside the uncompressed run's. */
export interface QualityChange extends Quality {
  /** Change of the perplexity, relative to the uncompressed run's. */
  readonly perplexityChange: number;
}

/** Puts a run's quality beside the uncompressed one's. */
export function qualityChange(quality: Quality, uncompressed: Quality): QualityChange {
  return { ...quality, perplexityChange: quality.perplexity / uncompressed.perplexity - 1 };
}

/** What the table's headings need to know of the run. */
export interface TableSettings {
  readonly window: number;
  readonly sinks: number;
}

/**
 * The table, one line per row.
 *
 * @param width Columns that it may take. Defaults to the terminal's.
 */
export function formatRows(
  rows: readonly Row[],
  { window, sinks }: TableSettings,
  width?: number,
): string {
  const { run, extrapolated = [] } = rows[0]?.memory ?? {};
  const groups: readonly ColumnGroup<Row>[] = [
    {
      title: "",
      columns: [
        { title: "keys/values", cell: ({ pair }) => pair.id },
        { title: "bits", cell: ({ pair }) => `${pair.bits}` },
      ],
    },
    {
      title: "effective bits",
      columns: [
        {
          title: run === undefined ? "" : size(run),
          cell: ({ memory }) => memory.run.effectiveBits.toFixed(2),
        },
        ...extrapolated.map((memory, i) => ({
          title: size(memory),
          cell: (row: Row) => row.memory.extrapolated[i]!.effectiveBits.toFixed(2),
        })),
      ],
    },
    {
      title: "memory",
      columns: [
        { title: "KiB", cell: ({ memory }) => (memory.run.bytes / 1024).toFixed(0) },
        { title: "f16 /", cell: ({ memory }) => memory.run.timesSmaller.toFixed(1) },
      ],
    },
    {
      title: "attention",
      columns: [
        { title: "ms", cell: ({ attention }) => attention.milliseconds.toFixed(1) },
        { title: "x f16", cell: ({ attention }) => attention.timesUncompressed.toFixed(2) },
      ],
    },
    { title: "codes alone", columns: qualityColumns(({ codesAlone }) => codesAlone) },
    {
      title: `window ${window}, sinks ${sinks}`,
      columns: qualityColumns(({ withTiers }) => withTiers),
    },
  ];
  return formatTable(groups, rows, width);
}

/**
 * What the columns mean, in a few lines under the table.
 *
 * @param counts Instructions of a GPU's kernels, which say what the time does not.
 */
export function explainRows(
  rows: readonly Row[],
  { window, sinks }: TableSettings,
  counts: CountBench,
  width?: number,
): string {
  const run = rows[0]!.memory.run;
  const scratch = rows.map(({ memory }) => memory.run.byKind.scratch / 1024);
  const range = [...new Set([Math.min(...scratch), Math.max(...scratch)])]
    .map((kib) => kib.toFixed(0)).join(" to ");
  return explainColumns([
    [
      "effective bits",
      "all resident bytes (codes, codebooks, exact tiers, tables, unused room) over all key and value " +
      `channels, with window ${window} and sinks ${sinks} (f16: none), at sequences x tokens; ` +
      `${size(run)} is read off the run's buffers, the others are the planner's`,
    ],
    [
      "memory",
      `of the run; the step's scratch, ${range} KiB, is not counted; f16 / is times smaller` +
      describeLongest(rows),
    ],
    [
      "attention",
      `append and attend, all layers, one new token for each of ${run.sequences} sequences of ${
        run.tokens / run.sequences
      } tokens, median, on this adapter. ${describeGpuAttention(counts)}`,
    ],
    ["ppl, change", "perplexity, and its change from f16's"],
    [
      "KL, top-1",
      "KL divergence from f16 in nats per token; share of tokens with the same likeliest next token",
    ],
  ], width);
}

/** What remains of the codebooks' share in the longest cache, by the last row. */
function describeLongest(rows: readonly Row[]): string {
  const [first, last] = [rows[0]!, rows.at(-1)!];
  const [longest, uncompressed] = [last, first].map(({ memory }) => memory.extrapolated.at(-1));
  if (longest === undefined || uncompressed === undefined) return "";
  const times = uncompressed.effectiveBits / longest.effectiveBits;
  return `. Codebooks are most of a short cache: at ${size(longest)} ${last.pair.id} is ${
    times.toFixed(0)
  } times smaller`;
}

/** What a run comes to, for other programs: nothing is rounded. */
export function describeFigures(
  { work, adapter, rows, written, seconds }: {
    readonly work: Work;
    readonly adapter: AdapterReport;
    readonly rows: readonly Row[];
    readonly written: unknown;
    readonly seconds: number;
  },
): Record<string, unknown> {
  const { options, checkpoint, contexts, calibrationContexts } = work;
  return {
    format: "couplet-demo",
    version: 1,
    adapter: { name: adapter.name, kind: adapter.kind },
    model: checkpoint.fingerprint,
    text: work.text.name,
    calibrationText: work.calibrationText.name,
    context: options.context,
    contexts: contexts.length,
    calibrationContexts: calibrationContexts.length,
    weights: options.weights,
    window: options.window,
    sinks: options.sinks,
    seed: options.seed,
    rows,
    written,
    seconds,
  };
}

function qualityColumns(quality: (row: Row) => QualityChange): readonly Column<Row>[] {
  return [
    { title: "ppl", cell: (row) => quality(row).perplexity.toFixed(2) },
    { title: "change", cell: (row) => percent(quality(row).perplexityChange) },
    { title: "KL", cell: (row) => quality(row).divergence.toFixed(4) },
    { title: "top-1", cell: (row) => `${(quality(row).agreement * 100).toFixed(1)}%` },
  ];
}

function percent(share: number): string {
  return `${share < 0 ? "" : "+"}${(share * 100).toFixed(1)}%`;
}

/** Sequences times tokens, such as 8x512 or 1x32k. */
function size({ sequences, tokens }: Memory): string {
  const each = tokens / sequences;
  return `${sequences}x${each % 1024 === 0 ? `${each / 1024}k` : each}`;
}
