import * as Plot from "@observablehq/plot";
import { drawShape, drawSvg, SERIES, SHAPES } from "../../examples/eval/report/svg.ts";
import type { Panel, Series } from "../attention/results.ts";
import { formatTime } from "../measure/figures.ts";

/** Sizes of a panel, in pixels. */
const PANEL = {
  width: 380,
  height: 300,
  marginLeft: 52,
  marginRight: 16,
  marginTop: 28,
  marginBottom: 36,
} as const;

/** A legend's entry: a shape as SVG, and its words. */
export interface LegendEntry {
  readonly shape: string;
  readonly label: string;
}

/** The legend of all panels that show these series. */
export function timeLegend(names: readonly string[]): readonly LegendEntry[] {
  return names.map((label, i) => ({ shape: drawShape(i), label }));
}

interface Point {
  readonly name: string;
  readonly context: number;
  readonly time: number;
  readonly low: number;
  readonly high: number;
}

/**
 * Time of one layer's attention against context, a line for each scheme, with quartiles; a ring marks where a scheme
 * begins to be faster than f16.
 *
 * @param names All series of the report, in the order of colours and shapes.
 */
export function timeChart({ series }: Panel, names: readonly string[]): string {
  const points = series.flatMap(pointsOf);
  const breakEvens = series.flatMap((own) =>
    pointsOf(own).filter(({ context }) => context === own.breakEven)
  );
  const contexts = [...new Set(points.map(({ context }) => context))].sort((a, b) => a - b);
  const reach = points.flatMap(({ low, high }) => [low, high]);
  return drawSvg({
    ...PANEL,
    style: { fontSize: "11px" },
    x: {
      type: "log",
      base: 2,
      label: "context, tokens →",
      domain: [contexts[0]! / 1.2, contexts.at(-1)! * 1.2],
      ticks: contexts,
      tickFormat: formatContext,
    },
    y: {
      type: "log",
      label: "↑ ms a layer and step",
      grid: true,
      domain: [Math.min(...reach) / 1.3, Math.max(...reach) * 1.3],
      ticks: 5,
      tickFormat: (value: number) => `${value}`,
    },
    color: { domain: [...names], range: names.map((_, i) => SERIES[i % SERIES.length]!) },
    symbol: { domain: [...names], range: names.map((_, i) => SHAPES[i % SHAPES.length]!) },
    marks: [
      Plot.line(points, { x: "context", y: "time", z: "name", stroke: "name" }),
      Plot.ruleX(points, { x: "context", y1: "low", y2: "high", stroke: "name" }),
      Plot.dot(points, {
        x: "context",
        y: "time",
        fill: "name",
        symbol: "name",
        r: 3.5,
        title: ({ name, context, time }: Point) =>
          `${name}, ${context} tokens: ${formatTime(time)} ms`,
      }),
      Plot.dot(breakEvens, {
        x: "context",
        y: "time",
        stroke: "name",
        strokeWidth: 2,
        r: 9,
        title: ({ name, context }: Point) => `${name} is faster than f16 from ${context} tokens on`,
      }),
    ],
  });
}

function pointsOf({ name, figures }: Series): readonly Point[] {
  return figures.map(({ row, time }) => ({
    name,
    context: row.context,
    time: time.median,
    low: time.low,
    high: time.high,
  }));
}

/** A context in few letters: `512`, `128k`. */
export function formatContext(context: number): string {
  return context % 1024 === 0 ? `${context / 1024}k` : `${context}`;
}
