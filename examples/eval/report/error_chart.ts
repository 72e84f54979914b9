import * as Plot from "@observablehq/plot";
import type { Evaluation } from "../figures/results.ts";
import { methodLabels } from "./method_labels.ts";
import { labelWidth } from "./perplexity_chart.ts";
import type { Chart } from "./quality_chart.ts";
import { drawSvg, SERIES } from "./svg.ts";

/** Pixels of one cell. */
const CELL_WIDTH = 40;
const CELL_HEIGHT = 22;

/** Errors of the codes as a table of cells: methods by layer and head, a panel for each side. */
export function errorChart({ methods }: Evaluation): Chart {
  const labels = methodLabels(methods);
  const cells = methods.flatMap(({ codingError }, i) =>
    codingError.map(({ layer, side, head, error }) => ({
      label: labels[i]!,
      side,
      column: `${layer}.${head}`,
      error,
    }))
  );
  const logs = cells.map(({ error }) => Math.log(error)).filter(Number.isFinite);
  const [least, most] = [Math.min(...logs), Math.max(...logs)];
  const shade = (error: number) =>
    error > 0 ? 0.06 + 0.54 * (Math.log(error) - least) / Math.max(1e-9, most - least) : 0;
  return {
    title: "Error of the codes",
    text:
      "Squared error of the decoded vectors over their energy, in percent, by layer and KV head " +
      "(0.1 is layer 0, head 1). Stronger colour is more, on a scale of ratios.",
    legend: [],
    scrolls: true,
    panels: (["keys", "values"] as const).flatMap((side) => {
      const own = cells.filter((cell) => cell.side === side);
      if (own.length === 0) return [];
      const columns = [...new Set(own.map(({ column }) => column))];
      const rows = labels.filter((label) => own.some((cell) => cell.label === label));
      const width = labelWidth(rows);
      return [drawSvg({
        width: width + 12 + columns.length * CELL_WIDTH,
        height: 44 + rows.length * CELL_HEIGHT,
        marginLeft: width,
        marginRight: 12,
        marginTop: 36,
        marginBottom: 8,
        style: { fontSize: "11px" },
        x: { domain: columns, axis: "top", label: `${side}, layer.head`, labelAnchor: "left" },
        y: { domain: rows, label: null },
        marks: [
          Plot.cell(own, {
            x: "column",
            y: "label",
            fill: SERIES[0]!,
            fillOpacity: ({ error }: { error: number }) => shade(error),
            inset: 1,
          }),
          Plot.text(own, {
            x: "column",
            y: "label",
            text: ({ error }: { error: number }) => percent(error),
          }),
        ],
        opacity: { type: "identity" },
      })];
    }),
  };
}

function percent(share: number): string {
  const value = share * 100;
  return value < 0.005 ? "0" : value.toPrecision(2).replace(/^(\d)e\+1$/, "$10");
}
