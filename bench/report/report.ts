/** The attention suite's figures as a page. */
import Handlebars from "handlebars";
import {
  type AttentionBench,
  attentionPanels,
  isUncompressed,
  type Panel,
  type Series,
} from "../attention/results.ts";
import { formatBandwidth, formatTime, halfSpread } from "../measure/figures.ts";
import { panelTitle } from "../attention/table.ts";
import { formatSplits, formatTile, kernelShares } from "../attention/kernel_table.ts";
import { MODELS } from "../measure/models.ts";
import { GROWTH_TOLERANCE, spread } from "../measure/statistics.ts";
import { formatContext, type LegendEntry, timeChart, timeLegend } from "./time_chart.ts";

/** What a page has besides attention: words, a plot and a table, each of which may be absent. */
export interface ReportSection {
  readonly title: string;
  readonly text: string;
  /** As `drawSvg()` gives it. */
  readonly svg?: string;
  readonly legend?: readonly LegendEntry[];
  readonly head?: readonly string[];
  readonly rows?: readonly (readonly string[])[];
}

/**
 * The figures as one HTML page that needs nothing else: plots as SVG, the style sheet inside.
 *
 * @param more Sections that follow those of attention.
 */
export async function formatReport(
  bench: AttentionBench,
  more: readonly ReportSection[] = [],
): Promise<string> {
  const read = (path: string) => Deno.readTextFile(new URL(path, import.meta.url));
  const [template, style] = await Promise.all([
    read("report.hbs"),
    read("../../examples/eval/report/report.css"),
  ]);
  const panels = attentionPanels(bench);
  const names = [...new Set(panels.flatMap(({ series }) => series.map(({ name }) => name)))];
  const sections = [...Map.groupBy(panels, ({ model, space }) => `${model}, keys ${space}`)];
  const { environment, clock, bandwidth, refused, command } = bench;
  return Handlebars.compile(template, { strict: true })({
    style,
    environment,
    software: environment.adapter.kind !== "hardware",
    driver: environment.driver ?? "unknown",
    commit: environment.commit ?? "unknown",
    clock: clock.reason === undefined ? clock.method : `${clock.method}: ${clock.reason}`,
    bandwidth: formatBandwidth(spread(bandwidth)),
    command,
    seconds: bench.seconds.toFixed(0),
    tolerance: 100 * GROWTH_TOLERANCE,
    legend: timeLegend(names),
    more: more.map(({ svg = "", legend = [], head = [], rows = [], ...section }) => ({
      ...section,
      svg,
      legend,
      head,
      rows: rows.map(([title, ...cells]) => ({ title, cells })),
    })),
    sections: sections.map(([title, own]) => ({
      title,
      shape: shapeText(own[0]!),
      charts: own.map((panel) => ({
        caption: `batch ${panel.batch}`,
        svg: timeChart(panel, names),
      })),
      conclusions: own.flatMap(({ batch, series }) =>
        series.map((one) => ({ batch, ...conclusion(one) }))
      ),
    })),
    rows: panels.flatMap((panel) =>
      panel.series.flatMap(({ name, figures }) =>
        figures.map(({ row, time, speedup, share }) => ({
          title: panelTitle(panel),
          name,
          context: row.context,
          time: formatTime(time.median),
          spread: halfSpread(time),
          speedup: speedup.median.toFixed(2),
          share: (100 * share).toFixed(0),
          layers: row.layers,
          repeats: row.repeats,
          rounds: row.samples.length,
          kernels: row.kernels.join(", "),
          tile: formatTile(row),
          workgroups: formatSplits(row),
          chosen: row.tuning === undefined
            ? "estimate"
            : `tuning, of ${row.tuning.candidates.length}`,
        }))
      )
    ),
    profile: panels.flatMap((panel) =>
      kernelShares(panel).map(({ name, row, kernel, milliseconds, share }) => ({
        title: panelTitle(panel),
        name,
        context: row.context,
        kernel,
        time: formatTime(milliseconds),
        share: (100 * share).toFixed(0),
      }))
    ),
    refused: refused.map(({ why, ...at }) => ({
      why,
      place:
        `${at.model}, ${at.context} tokens, batch ${at.batch}, ${at.keys}/${at.values}, ${at.space}`,
    })),
  });
}

function shapeText({ model }: Panel): string {
  const { source, layers, queryHeads, keyValueHeads, headDim, positions } = MODELS.find(
    ({ name }) => name === model,
  )!;
  return `${source}: ${layers} layers, ${queryHeads} query heads and ${keyValueHeads} KV heads of ` +
    `${headDim} channels, made for ${positions} tokens`;
}

/** A series in a row of words. */
function conclusion({ name, bits, breakEven, linearity, figures }: Series) {
  const last = figures.at(-1)!;
  return {
    name,
    bits: Number(bits.toFixed(3)),
    breakEven: isUncompressed(last.row)
      ? "–"
      : breakEven === null
      ? "never"
      : formatContext(breakEven),
    longest: `${last.speedup.median.toFixed(2)} at ${formatContext(last.row.context)}`,
    perThousand: linearity === null ? "–" : formatTime(linearity.perThousand),
    growth: linearity === null ? "–" : `${(100 * linearity.worstGrowth).toFixed(0)} %`,
    verdict: linearity === null ? "too few contexts" : linearity.growth,
  };
}
