import * as Plot from "@observablehq/plot";
import type { Evaluation, MethodFigures } from "../results.ts";
import { formatLength } from "../summary.ts";
import { methodFamily, methodLabels, tiersLabel } from "./method_labels.ts";
import { drawShape, drawSvg, SERIES, SHAPES } from "./svg.ts";

/** A chart of several panels with its words. */
export interface Chart {
  readonly title: string;
  readonly text: string;
  readonly legend: readonly { readonly shape: string; readonly label: string }[];
  /** SVG. */
  readonly panels: readonly string[];
  /** Whether panels keep their size on narrow screens, and scroll. */
  readonly scrolls: boolean;
}

/** More points than this carry no names of their own. */
const MOST_NAMES = 12;

/** KL divergence against effective bits: a chart for each pair of tiers, a panel for each length. */
export function qualityCharts({ methods, baseline }: Evaluation): readonly Chart[] {
  const labels = methodLabels(methods);
  const families = [...new Set(methods.map(methodFamily))];
  const tiers = [...new Set(methods.map(tiersLabel))];
  const divergences = methods.map(({ quality }) => quality.different.divergence);
  return tiers.map((tier): Chart => {
    const chosen = methods.flatMap((method, i) => tiersLabel(method) === tier ? [i] : []);
    const own = families.filter((family) =>
      chosen.some((i) => methodFamily(methods[i]!) === family)
    );
    return {
      title: `Quality against effective bits, ${tier}`,
      scrolls: false,
      text: "KL divergence from f16 on different text, nats per token: lower is better. " +
        "A curve joins schemes that couple as many channels, learned alike.",
      legend: own.map((family) => ({
        shape: drawShape(families.indexOf(family)),
        label: family,
      })),
      panels: baseline.effectiveBits.map((length, panel) =>
        qualityPanel(
          chosen.map((i) => point(methods[i]!, labels[i]!, panel)),
          families,
          `${formatLength(length)} tokens`,
          divergences,
        )
      ),
    };
  });
}

interface Point {
  readonly name: string;
  readonly label: string;
  readonly family: string;
  /** What one line joins. */
  readonly curve: string;
  readonly bits: number;
  readonly divergence: number;
}

function point(method: MethodFigures, label: string, panel: number): Point {
  const family = methodFamily(method);
  return {
    name: method.name,
    label,
    family,
    curve: `${family} ${method.weights} ${method.keySpace}`,
    bits: method.effectiveBits[panel]!.bits,
    divergence: method.quality.different.divergence,
  };
}

function qualityPanel(
  points: readonly Point[],
  families: readonly string[],
  title: string,
  divergences: readonly number[],
): string {
  const sorted = points.toSorted((a, b) => a.bits - b.bits);
  const domain = [Math.min(...divergences) / 1.3, Math.max(...divergences) * 1.3] as const;
  return drawSvg({
    width: 360,
    height: 280,
    marginLeft: 48,
    marginRight: 40,
    marginTop: 28,
    style: { fontSize: "11px" },
    x: { type: "log", base: 2, label: `effective bits at ${title} →`, ...bitTicks(points) },
    y: {
      type: "log",
      label: "↑ KL, nats",
      grid: true,
      domain: [...domain],
      ticks: logTicks(...domain),
      tickFormat: (value: number) => `${Number(value.toPrecision(1))}`,
    },
    color: { domain: [...families], range: families.map((_, i) => SERIES[i % SERIES.length]!) },
    symbol: { domain: [...families], range: families.map((_, i) => SHAPES[i % SHAPES.length]!) },
    marks: [
      Plot.line(sorted, { x: "bits", y: "divergence", z: "curve", stroke: "family" }),
      Plot.dot(sorted, {
        x: "bits",
        y: "divergence",
        fill: "family",
        symbol: "family",
        r: 4.5,
        title: ({ label, bits, divergence }: Point) =>
          `${label}: ${bits.toFixed(2)} bits, ${divergence.toPrecision(3)} nats`,
      }),
      ...(points.length > MOST_NAMES ? [] : [
        Plot.text(sorted, {
          x: "bits",
          y: "divergence",
          text: "name",
          dx: 7,
          dy: -7,
          textAnchor: "start",
        }),
      ]),
    ],
  });
}

/** Room around the points, and ticks at powers of two, or closer where these are few. */
function bitTicks(points: readonly Point[]): { ticks: number[]; domain: [number, number] } {
  const bits = points.map(({ bits }) => bits);
  const [least, most] = [Math.min(...bits) / 1.15, Math.max(...bits) * 1.15];
  const closer = most / least < 6 ? [1, 1.25, 1.5, 1.75] : [1];
  const ticks = [0.25, 0.5, 1, 2, 4, 8, 16, 32]
    .flatMap((power) => closer.map((part) => power * part))
    .filter((tick) => tick >= least && tick <= most);
  return { ticks, domain: [least, most] };
}

/** Powers of ten, with 2 and 5 between where there are few. */
function logTicks(least: number, most: number): number[] {
  const parts = most / least < 1e4 ? [1, 2, 5] : [1];
  const first = Math.floor(Math.log10(least));
  return Array.from({ length: Math.ceil(Math.log10(most)) - first + 1 }, (_, i) => first + i)
    .flatMap((power) => parts.map((part) => part * 10 ** power))
    .filter((tick) => tick >= least && tick <= most);
}
