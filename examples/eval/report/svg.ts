import * as Plot from "@observablehq/plot";
import { DOMParser } from "linkedom";

/** What plots are made of without a browser. */
const document = new DOMParser().parseFromString("<html></html>", "text/html");

/** Colours of series, from the style sheet, so that they follow light and dark. */
export const SERIES: readonly string[] = Array.from(
  { length: 8 },
  (_, i) => `var(--series-${i + 1})`,
);

/** Shapes of series: colours are not all that tells them apart, and come again later. */
export const SHAPES = [
  "circle",
  "square",
  "triangle",
  "diamond",
  "cross",
  "star",
  "wye",
] as const;

/** A plot as an SVG element's text. */
export function drawSvg(options: Plot.PlotOptions): string {
  // Enough of a document for Plot, which wants a browser's.
  const page = document as unknown as NonNullable<Plot.PlotOptions["document"]>;
  const plot = Plot.plot({ ...options, document: page });
  return (plot as unknown as { readonly outerHTML: string }).outerHTML;
}

/** One shape alone, as a legend shows it. */
export function drawShape(index: number): string {
  return drawSvg({
    width: 14,
    height: 14,
    margin: 0,
    axis: null,
    marks: [
      Plot.dot([[0, 0]], {
        frameAnchor: "middle",
        symbol: SHAPES[index % SHAPES.length]!,
        fill: SERIES[index % SERIES.length]!,
        r: 4.5,
      }),
    ],
  });
}
