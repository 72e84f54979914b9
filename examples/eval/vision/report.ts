import * as Plot from "@observablehq/plot";
import Handlebars from "handlebars";
import { drawShape, drawSvg, SERIES, SHAPES } from "../report/svg.ts";
import type { Chart } from "../report/quality_chart.ts";
import type { VisionEvaluation, VisionFigures } from "./results.ts";

/** Sizes of a panel, in pixels. */
const PANEL = { width: 420, height: 300, marginLeft: 48, marginRight: 90 } as const;

/** The evaluation as one HTML page that needs nothing else: plots as SVG, the style sheet inside. */
export async function formatVisionReport(figures: VisionEvaluation): Promise<string> {
  const read = (name: string) => Deno.readTextFile(new URL(name, import.meta.url));
  const [template, style] = await Promise.all([read("report.hbs"), read("../report/report.css")]);
  const { exact, methods, ...rest } = figures;
  const row = (
    { name, ...answers }: Pick<
      VisionFigures,
      "name" | "accuracy" | "accuracyError" | "loss" | "kinds"
    >,
  ) => ({
    name,
    accuracy: percent(answers.accuracy),
    accuracyError: answers.accuracyError === null ? "" : percent(answers.accuracyError),
    kinds: answers.kinds.map(({ accuracy }) => percent(accuracy)),
    loss: answers.loss.toFixed(3),
  });
  return Handlebars.compile(template, { strict: true })({
    ...rest,
    style,
    seconds: figures.seconds.toFixed(0),
    answers: exact.answers,
    kinds: exact.kinds.map(({ kind }) => kind),
    charts: [qualityChart(figures)],
    exact: row({ name: "exact (f16)", ...exact }),
    exactKibibytes: (exact.bytes / 1024).toFixed(1),
    methods: methods.map((method) => ({
      ...row(method),
      bits: method.effectiveBits?.toFixed(3) ?? "",
      kibibytes: method.bytes === null ? "" : (method.bytes / 1024).toFixed(1),
      excess: method.excess.toFixed(3),
      excessError: method.excessError?.toFixed(3) ?? "",
      divergence: method.divergence.toFixed(4),
      divergenceError: method.divergenceError?.toFixed(4) ?? "",
      agreement: percent(method.agreement),
    })),
  });
}

/** Right answers of each kind against effective bits, and the loss above the exact video's. */
function qualityChart({ exact, methods }: VisionEvaluation): Chart {
  const kinds = exact.kinds.map(({ kind }) => kind);
  const coded = methods.flatMap((method) =>
    method.effectiveBits === null ? [] : [{ ...method, bits: method.effectiveBits }]
  );
  const points = coded.flatMap(({ name, bits, kinds }) =>
    kinds.map(({ kind, accuracy }) => ({ name, bits, kind, accuracy: 100 * accuracy }))
  );
  const x = { label: "effective bits →", grid: true, nice: true } as const;
  return {
    title: "Quality against bits",
    text:
      "Right answers by kind of question, with the exact video's as lines; and the loss on the " +
      "right answers above the exact video's.",
    scrolls: false,
    legend: kinds.map((label, i) => ({ shape: drawShape(i), label })),
    panels: [
      drawSvg({
        ...PANEL,
        style: { fontSize: "11px" },
        x,
        y: { label: "↑ right answers, %", domain: [0, 100], grid: true },
        color: { domain: kinds, range: SERIES.slice(0, kinds.length) },
        symbol: { domain: kinds, range: SHAPES.slice(0, kinds.length) },
        marks: [
          Plot.ruleY(exact.kinds, {
            y: ({ accuracy }) => 100 * accuracy,
            stroke: "kind",
            strokeDasharray: "4 3",
          }),
          Plot.dot(points, {
            x: "bits",
            y: "accuracy",
            fill: "kind",
            symbol: "kind",
            r: 4.5,
            title: ({ name, kind, accuracy }: typeof points[number]) =>
              `${name}, ${kind}: ${accuracy.toFixed(1)} %`,
          }),
        ],
      }),
      drawSvg({
        ...PANEL,
        style: { fontSize: "11px" },
        x,
        y: { label: "↑ loss above exact, nats", grid: true, nice: true, zero: true },
        marks: [
          Plot.ruleX(coded, {
            x: "bits",
            y1: ({ excess, excessError }) => excess - (excessError ?? 0),
            y2: ({ excess, excessError }) => excess + (excessError ?? 0),
            stroke: SERIES[0]!,
          }),
          Plot.dot(coded, { x: "bits", y: "excess", fill: SERIES[0]!, r: 4.5 }),
          Plot.text(coded, { x: "bits", y: "excess", text: "name", dx: 7, textAnchor: "start" }),
        ],
      }),
    ],
  };
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}
