import * as Plot from "@observablehq/plot";
import type { Evaluation } from "../figures/results.ts";
import { methodLabels, tiersLabel } from "../figures/method_labels.ts";
import type { Chart } from "./quality_chart.ts";
import { drawShape, drawSvg, SERIES, SHAPES } from "./svg.ts";

const WITHOUT = "not planted";
const WITH = "planted";

/** Loss on planted names by distance: the uncompressed cache's own, and what methods add; none without trials. */
export function retrievalCharts({ methods, baseline }: Evaluation): readonly Chart[] {
  if (baseline.retrieval.length === 0) return [];
  const own = baseline.retrieval.flatMap(({ distance, planted, notPlanted }) => [
    { distance, series: WITH, value: planted, error: 0 },
    { distance, series: WITHOUT, value: notPlanted, error: 0 },
  ]);
  const uncompressed: Chart = {
    title: "Retrieval, the uncompressed cache",
    text:
      "Loss on an invented name at the end of a text, nats per token. Where the two curves part, the " +
      "model reads the name from its cache; what follows means something only there.",
    legend: legend([WITH, WITHOUT]),
    scrolls: false,
    panels: [panel(own, [WITH, WITHOUT], "↑ loss of f16, nats")],
  };
  const names = [...new Set(methodsWithoutTiers())];
  const tiers = [...new Set(methods.map(tiersLabel))];
  return [
    uncompressed,
    ...(methods.length === 0 ? [] : [{
      title: "Retrieval, what methods lose",
      text:
        "Loss above f16's on the same texts, nats per token, with the standard error over trials.",
      legend: legend(names),
      scrolls: false,
      panels: tiers.map((tier) =>
        panel(
          methods.flatMap((method, i) =>
            tiersLabel(method) !== tier ? [] : method.retrieval.map((one) => ({
              distance: one.distance,
              series: methodsWithoutTiers()[i]!,
              value: one.excess,
              error: one.excessError ?? 0,
            }))
          ),
          names,
          `↑ ${tier}`,
          range(),
        )
      ),
    }]),
  ];

  function methodsWithoutTiers(): readonly string[] {
    return methodLabels(
      methods.map((method) => ({ ...method, window: 0, sinks: 0, allCoded: false })),
    );
  }

  /** One range for all panels, so that they compare. */
  function range(): [number, number] {
    const ends = methods.flatMap(({ retrieval }) =>
      retrieval.flatMap(({ excess, excessError }) => [
        excess - (excessError ?? 0),
        excess + (excessError ?? 0),
      ])
    );
    return [Math.min(0, ...ends), Math.max(0.1, ...ends)];
  }
}

interface Point {
  readonly distance: number;
  readonly series: string;
  readonly value: number;
  readonly error: number;
}

function panel(
  points: readonly Point[],
  series: readonly string[],
  label: string,
  domain?: [number, number],
): string {
  const shown = points.toSorted((a, b) => a.distance - b.distance);
  return drawSvg({
    width: 360,
    height: 260,
    marginLeft: 44,
    marginTop: 28,
    style: { fontSize: "11px" },
    x: {
      type: "log",
      base: 2,
      label: "tokens since the name →",
      ticks: [...new Set(points.map(({ distance }) => distance))],
      tickFormat: (value: number) => `${value}`,
    },
    y: { label, grid: true, zero: true, ...(domain === undefined ? {} : { domain, nice: true }) },
    color: { domain: [...series], range: series.map((_, i) => SERIES[i % SERIES.length]!) },
    symbol: { domain: [...series], range: series.map((_, i) => SHAPES[i % SHAPES.length]!) },
    marks: [
      Plot.ruleY([0]),
      Plot.ruleX(points.filter(({ error }) => error > 0), {
        x: "distance",
        y1: ({ value, error }: Point) => value - error,
        y2: ({ value, error }: Point) => value + error,
        stroke: "series",
        strokeOpacity: 0.5,
      }),
      Plot.line(shown, { x: "distance", y: "value", stroke: "series" }),
      Plot.dot(shown, {
        x: "distance",
        y: "value",
        fill: "series",
        symbol: "series",
        r: 4,
        title: ({ series, distance, value }: Point) =>
          `${series}, ${distance} tokens: ${value.toFixed(2)} nats`,
      }),
    ],
  });
}

function legend(series: readonly string[]): Chart["legend"] {
  return series.map((label, i) => ({ shape: drawShape(i), label }));
}
