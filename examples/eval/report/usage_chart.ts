import * as Plot from "@observablehq/plot";
import type { Evaluation } from "../figures/results.ts";
import type { Chart } from "./quality_chart.ts";
import { drawShape, drawSvg, SERIES } from "./svg.ts";

const SIDES = ["keys", "values"] as const;

/** How evenly centroids are used: a panel for each scheme, weights and space; none where nothing is learned. */
export function usageCharts({ methods }: Evaluation): readonly Chart[] {
  // The codes of a window's tokens come later, from the same codebooks: one method of each kind shows it.
  const kinds = new Map(
    methods.filter(({ codeUsage }) => codeUsage.length > 0).toReversed()
      .map((method) => [`${method.name} ${method.weights} ${method.keySpace}`, method]),
  );
  if (kinds.size === 0) return [];
  const spaces = new Set(methods.map(({ keySpace }) => keySpace));
  return [{
    title: "Use of the codebooks",
    scrolls: false,
    text:
      "Uses of the centroids, from the most used to the least, over what each would have if all were " +
      "used alike; a line for each layer and side. Dead centroids are those that no token used.",
    legend: SIDES.map((label, i) => ({ shape: drawShape(i), label })),
    panels: [...kinds.values()].toReversed().map(({ name, weights, keySpace, codeUsage }) => {
      const lines = codeUsage.flatMap(({ layer, side, uses }) =>
        uses.map((use, i) => ({
          line: `${layer} ${side}`,
          side,
          rank: ((i + 0.5) / uses.length) * 100,
          use,
        }))
      );
      const dead = codeUsage.map(({ dead }) => dead * 100);
      const title = [name, weights, ...(spaces.size > 1 ? [keySpace] : [])].join(", ");
      return drawSvg({
        width: 360,
        height: 220,
        marginLeft: 40,
        marginTop: 40,
        style: { fontSize: "11px" },
        x: { domain: [0, 100], label: "centroids, % →", ticks: 5 },
        y: {
          grid: true,
          zero: true,
          label: `↑ ${title}: ${Math.min(...dead).toFixed(1)} to ${
            Math.max(...dead).toFixed(1)
          } % dead, of ${codeUsage[0]!.tokens} tokens`,
        },
        color: { domain: [...SIDES], range: SERIES.slice(0, 2) },
        marks: [
          Plot.ruleY([0]),
          Plot.ruleY([1], { strokeDasharray: "3,3", strokeOpacity: 0.6 }),
          Plot.line(lines, { x: "rank", y: "use", z: "line", stroke: "side", strokeWidth: 1.2 }),
        ],
      });
    }),
  }];
}
