/** The gpu suite's figures as a page: attention's, and what the adapter can do. */
import * as Plot from "@observablehq/plot";
import { drawSvg, SERIES, SHAPES } from "../../examples/eval/report/svg.ts";
import { pairName } from "../../cli/scheme_pair.ts";
import { isCountable } from "../count/count.ts";
import type { CountBench } from "../count/results.ts";
import { formatBandwidth } from "../measure/figures.ts";
import { MODELS } from "../measure/models.ts";
import { type Spread, spread } from "../measure/statistics.ts";
import { formatReport, type ReportSection } from "../report/report.ts";
import { timeLegend } from "../report/time_chart.ts";
import { agrees } from "./oracle.ts";
import type { GpuBench } from "./results.ts";

/**
 * The page.
 *
 * @param counts Instructions of kernels, by which attention is placed under the roofline.
 */
export async function formatGpu(bench: GpuBench, counts: CountBench): Promise<string> {
  return await formatReport(bench.attention, [
    rooflineSection(bench, counts),
    probeSection(bench),
    oracleSection(bench),
  ]);
}

/** An attention under the roofline. */
export interface RooflinePoint {
  readonly name: string;
  /** Instructions by count, for each byte that must be moved. */
  readonly intensity: number;
  /** Instructions a second. */
  readonly rate: number;
}

/** The attentions whose kernels are counted, at their longest context. */
export function rooflinePoints(
  { attention }: GpuBench,
  { counts }: CountBench,
): readonly RooflinePoint[] {
  const series = Map.groupBy(attention.rows, (row) => `${pairName(row)}, ${row.space}`);
  return [...series].flatMap(([name, rows]) => {
    const row = rows.reduce((a, b) => (b.context > a.context ? b : a));
    const perToken = row.kernels.filter((kernel) => isCountable({ name: kernel })).map((name) =>
      counts.find(({ kernel }) => kernel === name)?.instructions ?? NaN
    ).reduce((sum, one) => sum + one, 0);
    if (Number.isNaN(perToken)) return [];
    const { keyValueHeads } = MODELS.find((model) => model.name === row.model)!;
    const instructions = perToken * row.context * keyValueHeads * row.batch;
    const { records, codebooks, tensors } = row.bytes;
    return [{
      name,
      intensity: instructions / (records + codebooks + tensors),
      rate: instructions / (spread(row.samples).median / 1000),
    }];
  });
}

function probe({ probes }: GpuBench, name: string): Spread {
  return spread(probes.find(({ what }) => what === name)!.samples);
}

function rooflineSection(bench: GpuBench, counts: CountBench): ReportSection {
  const points = rooflinePoints(bench, counts);
  const peak = probe(bench, "multiply-adds").median;
  const bandwidth = spread(bench.attention.bandwidth).median;
  const names = points.map(({ name }) => name);
  const ridge = peak / bandwidth;
  const domain = [ridge, ...points.map(({ intensity }) => intensity)];
  const [least, most] = [Math.min(...domain) / 2, Math.max(...domain) * 2];
  const lowest = Math.min(peak, bandwidth * least, ...points.map(({ rate }) => rate)) / 1.5;
  const roof = [least, ridge, most].map((intensity) => ({
    intensity,
    rate: Math.min(peak, bandwidth * intensity),
  }));
  return {
    title: "Roofline",
    text:
      `Instructions a second that attention comes to, at its longest context, under what the copy kernel and ` +
      `multiply-adds reach. Instructions are counted for another chip (${counts.family}, ${counts.mesa}), so this is a ` +
      `picture and no measurement: left of the corner memory bounds a kernel, right of it arithmetic. Rows whose kernels ` +
      `were not counted are missing.`,
    legend: timeLegend(names),
    svg: drawSvg({
      width: 640,
      height: 320,
      marginLeft: 60,
      marginBottom: 40,
      style: { fontSize: "11px" },
      x: { type: "log", label: "instructions a byte →", domain: [least, most], tickFormat: figure },
      y: {
        type: "log",
        label: "↑ 10⁹ instructions a second",
        domain: [lowest / 1e9, 1.5 * peak / 1e9],
        grid: true,
        tickFormat: figure,
      },
      color: { domain: names, range: names.map((_, i) => SERIES[i % SERIES.length]!) },
      symbol: { domain: names, range: names.map((_, i) => SHAPES[i % SHAPES.length]!) },
      marks: [
        Plot.line(roof, {
          x: "intensity",
          y: ({ rate }: RooflinePoint) => rate / 1e9,
          strokeDasharray: "4 3",
        }),
        Plot.dot(points, {
          x: "intensity",
          y: ({ rate }: RooflinePoint) => rate / 1e9,
          fill: "name",
          symbol: "name",
          r: 5,
          title: ({ name }: RooflinePoint) => name,
        }),
      ],
    }),
    head: ["attention", "instructions a byte", "10⁹ instructions a second", "of the roof, %"],
    rows: points.map(({ name, intensity, rate }) => [
      name,
      figure(intensity),
      figure(rate / 1e9),
      (100 * rate / Math.min(peak, bandwidth * intensity)).toFixed(0),
    ]),
  };
}

/** Three digits. */
function figure(value: number): string {
  return Number(value.toPrecision(3)).toString();
}

function probeSection(bench: GpuBench): ReportSection {
  const { attention, probes } = bench;
  const copied = spread(attention.bandwidth);
  const bytes = (what: string) => Number(/of (\d+) bytes/.exec(what)?.[1] ?? NaN);
  return {
    title: "What the adapter can do",
    text:
      `The copy kernel moves ${
        formatBandwidth(copied)
      }. Gathers are from 32 KiB in a storage buffer, as a head's ` +
      `centroids of c8b8 are, or from 16 KiB of workgroup memory, at places that follow from a number of each lane.`,
    head: ["probe", "10⁹ a second", "GB/s"],
    rows: probes.map(({ what, samples }) => {
      const { median } = spread(samples);
      const width = bytes(what);
      return [what, figure(median / 1e9), Number.isNaN(width) ? "–" : figure(median * width / 1e9)];
    }),
  };
}

function oracleSection({ oracle: { headDim, runnable, kernels } }: GpuBench): ReportSection {
  const wrong = kernels.filter((one) => !agrees(one));
  return {
    title: "Kernels beside float64",
    text:
      `${kernels.length} of the ${runnable} kernels of ${headDim} channels that score or attend and that the adapter ` +
      `can run were compared with the reference, records bit for bit: ${
        kernels.length - wrong.length
      } agree.` +
      (kernels.length < runnable ? " There was no time for the others." : ""),
    head: ["kernel", "largest difference", "at most", ""],
    rows: kernels.map((one) =>
      "error" in one
        ? [
          one.kernel,
          one.error.toExponential(1),
          one.tolerance.toExponential(0),
          agrees(one) ? "agrees" : "WRONG",
        ]
        : [one.kernel, "–", "–", one.failure]
    ),
  };
}

/** The figures in a few lines. */
export function formatGpuSummary({ oracle, probes, attention }: GpuBench): string {
  const agreeing = oracle.kernels.filter(agrees);
  return [
    ...probes.map(({ what, samples }) =>
      `${what}: ${figure(spread(samples).median / 1e9)} 10⁹ a second`
    ),
    `${oracle.kernels.length} of ${oracle.runnable} kernels compared with float64, ${agreeing.length} agree`,
    ...oracle.kernels.filter((one) => !agrees(one)).map((one) =>
      `WRONG: ${one.kernel}: ${"error" in one ? one.error : one.failure}`
    ),
    `${attention.seconds.toFixed(0)} seconds for attention`,
  ].join("\n");
}
