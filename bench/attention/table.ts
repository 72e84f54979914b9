/** The attention suite's figures as text. */
import { outputWidth } from "../../cli/output_width.ts";
import { wrapLines } from "../../cli/table.ts";
import { type ColumnGroup, explainColumns, formatTable } from "../../examples/tables/grouped.ts";
import {
  type AttentionBench,
  attentionPanels,
  isUncompressed,
  type Panel,
  type RowFigures,
  type Series,
} from "./results.ts";
import type { Environment } from "../measure/device.ts";
import { formatChoices, formatProfiles } from "./kernel_table.ts";
import { spread } from "../measure/statistics.ts";
import { formatBandwidth, formatTime, halfSpread, percent } from "../measure/figures.ts";

/**
 * The figures as tables, one for each model, batch and space.
 *
 * @param width Columns that it may take. Defaults to the terminal's.
 */
export function formatAttentionTables(
  bench: AttentionBench,
  width: number = outputWidth(),
): string {
  const { clock, bandwidth, environment, refused, rows } = bench;
  const panels = attentionPanels(bench);
  const text = [
    ...describeEnvironmentLines(environment),
    `clock:     ${clock.method}${clock.reason === undefined ? "" : `: ${clock.reason}`}`,
    `bandwidth: ${formatBandwidth(spread(bandwidth))}, copy kernel`,
    ...panels.flatMap((panel) => [
      panelTitle(panel),
      formatPanel(panel, width),
      ...[formatChoices(panel, width), formatProfiles(panel, width)]
        .filter((text) => text !== undefined),
    ]).flatMap((text) => ["", text]),
    "",
    explainColumns([
      [
        "ms",
        "one layer's attention of one step, median, and half the spread from quartile to quartile",
      ],
      [
        "x f16",
        "how many times faster than the fastest f16 row of the same shape, batch and context",
      ],
      ...(rows.some(({ cpuSamples }) => cpuSamples !== undefined)
        ? [["cpu ms, x f16", "the same by CPU time, of all threads"] as const]
        : []),
      ["roof", "bytes it must move over what the copy kernel moves in the same time"],
      ...(rows.some(({ tuning }) => tuning !== undefined)
        ? [
          [
            "tuned",
            "kernels, tokens of a tile, workgroups at most (and splits), of so many measured",
          ] as const,
        ]
        : []),
      ...(rows.some(({ profile }) => profile !== undefined)
        ? [
          [
            "kernel",
            "by timestamps around each dispatch, in a pass of its own: the sum may exceed the row",
          ] as const,
        ]
        : []),
    ], width),
    `${rows.length} rows measured, ${refused.length} refused, ${bench.seconds.toFixed(0)} seconds`,
    ...refusalLines(refused),
  ].join("\n");
  return wrapLines(text, width);
}

/** What figures depend on, for people. */
export function describeEnvironmentLines(environment: Environment): readonly string[] {
  const { adapter, driver, deno, commit, modified, os, processors, date } = environment;
  const backing = adapter.kind === "hardware" ? "" : `, software (${adapter.kind})`;
  return [
    `adapter:   ${adapter.name}${backing}, ${driver ?? "driver unknown"}`,
    `machine:   ${os}, ${processors} processors, Deno ${deno}`,
    `commit:    ${commit ?? "unknown"}${modified ? ", modified" : ""}, ${date}`,
  ];
}

/** A panel's model, batch and space. */
export function panelTitle({ model, batch, space }: Panel): string {
  return `${model}, batch ${batch}, keys ${space}`;
}

function formatPanel({ series }: Panel, width: number): string {
  const contexts = [
    ...new Set(series.flatMap(({ figures }) => figures.map(({ row }) => row.context))),
  ].sort((a, b) => a - b);
  const at = ({ figures }: Series, context: number) =>
    figures.find(({ row }) => row.context === context);
  const cell = (own: Series, show: (figures: RowFigures) => string) => (context: number) => {
    const figures = at(own, context);
    return figures === undefined ? "" : show(figures);
  };
  const groups: ColumnGroup<number>[] = [
    { title: "", columns: [{ title: "context", cell: (context) => `${context}` }] },
    ...series.map((own) => ({
      title: own.name,
      columns: [
        { title: "ms", cell: cell(own, ({ time }) => formatTime(time.median)) },
        { title: "±%", cell: cell(own, ({ time }) => halfSpread(time)) },
        {
          title: "x f16",
          cell: cell(own, ({ speedup }) => speedup.median.toFixed(2)),
        },
        ...(own.figures.some(({ cpu }) => cpu !== undefined)
          ? [
            {
              title: "cpu ms",
              cell: cell(own, ({ cpu }) => cpu ? formatTime(cpu.time.median) : ""),
            },
            { title: "x f16", cell: cell(own, ({ cpu }) => cpu?.speedup.median.toFixed(2) ?? "") },
          ]
          : []),
        { title: "roof", cell: cell(own, ({ share }) => `${(100 * share).toFixed(0)}%`) },
      ],
    })),
  ];
  return [formatTable(groups, contexts, width), "", ...series.flatMap(conclusion)].join("\n");
}

/** What a series comes to, in words. */
function conclusion(own: Series): string[] {
  const { name, breakEven: from, linearity: line, figures } = own;
  const parts = [
    ...(isUncompressed(figures[0]!.row)
      ? []
      : [from === null ? "not faster than f16" : `faster than f16 from ${from} tokens on`]),
    ...(line === null ? [] : [
      {
        linear: `time linear in context (worst rise per token ${percent(line.worstGrowth)})`,
        faster: `time per token RISES by ${percent(line.worstGrowth)}`,
        unclear: `time per token rises by ${
          percent(line.worstGrowth)
        }, within the spread of samples`,
      }[line.growth],
    ]),
  ];
  return parts.length === 0 ? [] : [`${name}: ${parts.join("; ")}`];
}

/** Refusals that differ by place alone, together. */
function refusalLines(refused: AttentionBench["refused"]): readonly string[] {
  const places = Map.groupBy(refused, ({ why }) => why);
  return [...places].map(([why, own]) => {
    const first = own[0]!;
    const more = own.length > 1 ? ` and ${own.length - 1} more` : "";
    return `refused: ${first.model}, ${first.context} tokens, batch ${first.batch}${more}: ${why}`;
  });
}
