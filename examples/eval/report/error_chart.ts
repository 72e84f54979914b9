import * as Plot from "@observablehq/plot";
import type { Evaluation } from "../figures/results.ts";
import { methodLabels } from "../figures/method_labels.ts";
import { labelWidth } from "./perplexity_chart.ts";
import type { Chart } from "./quality_chart.ts";
import { drawSvg, SERIES } from "./svg.ts";

/** Pixels of one cell. */
const CELL_WIDTH = 40;
const CELL_HEIGHT = 22;

/** An error of one layer and KV head. */
interface Cell {
  /** The method's. */
  readonly label: string;
  /** `layer.head`. */
  readonly column: string;
  readonly error: number;
}

/** Errors of the codes as a table of cells: methods by layer and head, a panel for each side. */
export function errorChart({ methods }: Evaluation): Chart {
  const labels = methodLabels(methods);
  const cells = methods.flatMap(({ codingError }, i) =>
    codingError.map(({ side, ...error }) => ({ side, ...cell(labels[i]!, error) }))
  );
  return {
    title: "Error of the codes",
    text: "Squared error of the decoded vectors over their energy around their mean, in percent, " +
      "by layer and KV head (0.1 is layer 0, head 1). Stronger colour is more, on a scale of ratios.",
    legend: [],
    scrolls: true,
    panels: (["keys", "values"] as const).flatMap((side) =>
      errorPanel(cells.filter((cell) => cell.side === side), cells, labels, side, percent)
    ),
  };
}

/** What the keys' errors change of the logits, as a table of cells: methods by layer and head. */
export function logitChart({ methods }: Evaluation): Chart {
  const labels = methodLabels(methods);
  const cells = methods.flatMap(({ logitError }, i) =>
    logitError.map((error) => cell(labels[i]!, error))
  );
  return {
    title: "Error of the logits",
    text:
      "Root mean square of what coded keys change of the scaled logits of the model's own queries, " +
      "without each query's mean change, which softmax does not feel; by layer and KV head.",
    legend: [],
    scrolls: true,
    panels: errorPanel(cells, cells, labels, "logits", digits),
  };
}

function cell(
  label: string,
  { layer, head, error }: { readonly layer: number; readonly head: number; readonly error: number },
): Cell {
  return { label, column: `${layer}.${head}`, error };
}

/**
 * A panel of cells; none where there is no cell.
 *
 * @param all Those that share a scale of colours.
 */
function errorPanel(
  cells: readonly Cell[],
  all: readonly Cell[],
  labels: readonly string[],
  title: string,
  format: (error: number) => string,
): string[] {
  if (cells.length === 0) return [];
  const logs = all.map(({ error }) => Math.log(error)).filter(Number.isFinite);
  const [least, most] = [Math.min(...logs), Math.max(...logs)];
  const shade = (error: number) =>
    error > 0 ? 0.06 + 0.54 * (Math.log(error) - least) / Math.max(1e-9, most - least) : 0;
  const columns = [...new Set(cells.map(({ column }) => column))];
  const rows = labels.filter((label) => cells.some((cell) => cell.label === label));
  const width = labelWidth(rows);
  return [drawSvg({
    width: width + 12 + columns.length * CELL_WIDTH,
    height: 44 + rows.length * CELL_HEIGHT,
    marginLeft: width,
    marginRight: 12,
    marginTop: 36,
    marginBottom: 8,
    style: { fontSize: "11px" },
    x: { domain: columns, axis: "top", label: `${title}, layer.head`, labelAnchor: "left" },
    y: { domain: rows, label: null },
    marks: [
      Plot.cell(cells, {
        x: "column",
        y: "label",
        fill: SERIES[0]!,
        fillOpacity: ({ error }: Cell) => shade(error),
        inset: 1,
      }),
      Plot.text(cells, { x: "column", y: "label", text: ({ error }: Cell) => format(error) }),
    ],
    opacity: { type: "identity" },
  })];
}

function percent(share: number): string {
  const value = share * 100;
  return value < 0.005 ? "0" : digits(value);
}

function digits(value: number): string {
  return value.toPrecision(2).replace(/^(\d)e\+1$/, "$10");
}
