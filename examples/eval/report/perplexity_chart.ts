import * as Plot from "@observablehq/plot";
import type { Evaluation } from "../figures/results.ts";
import { methodLabels } from "../figures/method_labels.ts";
import type { Chart } from "./quality_chart.ts";
import { drawShape, drawSvg, SERIES, SHAPES } from "./svg.ts";

const TEXTS = [["different", "different text"], ["inDomain", "in domain"]] as const;

const TICKS = [-1, 0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000];

/** Change of perplexity by method, on both texts, with standard errors. */
export function perplexityChart({ methods }: Evaluation): Chart {
  const labels = methodLabels(methods);
  const points = methods.flatMap(({ quality }, i) =>
    TEXTS.map(([key, text]) => {
      const { ratio, ratioError } = quality[key];
      const change = (ratio - 1) * 100;
      const error = (ratioError ?? 0) * 100;
      return { label: labels[i]!, text, change, low: change - error, high: change + error };
    })
  );
  const width = labelWidth(labels);
  const reach = [0, ...points.flatMap(({ low, high }) => [low, high])];
  const domain = [Math.min(...reach) - 0.2, Math.max(...reach) * 1.1 + 0.2] as const;
  return {
    title: "Perplexity",
    text:
      "Change against f16 in percent, with the standard error over contexts; from about 1 % on the " +
      "scale is logarithmic.",
    scrolls: false,
    legend: TEXTS.map(([, label], i) => ({ shape: drawShape(i), label })),
    panels: [drawSvg({
      width: 300 + width,
      height: 60 + methods.length * 22,
      marginLeft: width,
      marginRight: 20,
      marginBottom: 40,
      style: { fontSize: "11px" },
      x: {
        type: "symlog",
        constant: 1,
        domain: [...domain],
        ticks: TICKS.filter((tick) => tick >= domain[0] && tick <= domain[1]),
        tickFormat: (value: number) => `${value}`,
        grid: true,
        label: "change of perplexity, % →",
      },
      y: { domain: [...labels], label: null },
      color: { domain: TEXTS.map(([, text]) => text), range: SERIES.slice(0, 2) },
      symbol: { domain: TEXTS.map(([, text]) => text), range: SHAPES.slice(0, 2) },
      marks: [
        Plot.ruleX([0]),
        Plot.ruleY(points, {
          x1: "low",
          x2: "high",
          y: "label",
          stroke: "text",
          strokeOpacity: 0.7,
        }),
        Plot.dot(points, {
          x: "change",
          y: "label",
          fill: "text",
          symbol: "text",
          r: 4,
          title: ({ label, text, change }: typeof points[number]) =>
            `${label}, ${text}: ${change.toFixed(2)} %`,
        }),
      ],
    })],
  };
}

/** Room for the longest label, in pixels at 11 per letter's height. */
export function labelWidth(labels: readonly string[]): number {
  return 16 + 6.2 * Math.max(3, ...labels.map(({ length }) => length));
}
