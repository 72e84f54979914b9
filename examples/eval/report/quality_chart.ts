import * as Plot from "@observablehq/plot";
import type { Evaluation, MethodFigures } from "../figures/results.ts";
import { methodFronts } from "../figures/pareto.ts";
import { formatLength } from "../figures/summary.ts";
import { methodFamily, methodLabels, tiersLabel } from "../figures/method_labels.ts";
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

/** Sizes of a panel, in pixels. */
const PANEL = { width: 360, height: 280, marginLeft: 48, marginRight: 40, marginTop: 28 } as const;

/** Sizes of a name's letters, in pixels. */
const LETTER_WIDTH = 6.5;
const LINE_HEIGHT = 12;

/** Divergences are shown from here on: less is rounding. */
const LEAST_DIVERGENCE = 1e-6;

/** KL divergence against effective bits: a chart for each pair of tiers, a panel for each length. */
export function qualityCharts({ methods, baseline }: Evaluation): readonly Chart[] {
  const labels = methodLabels(methods);
  const families = [...new Set(methods.map(methodFamily))];
  const tiers = [...new Set(methods.map(tiersLabel))];
  const divergences = methods.map(shownDivergence);
  const fronts = methodFronts(methods);
  return tiers.map((tier): Chart => {
    const chosen = methods.flatMap((method, i) => tiersLabel(method) === tier ? [i] : []);
    const own = families.filter((family) =>
      chosen.some((i) => methodFamily(methods[i]!) === family)
    );
    return {
      title: `Quality against effective bits, ${tier}`,
      scrolls: false,
      text: "KL divergence from f16 on different text, nats per token: lower is better. " +
        "A curve joins schemes that couple as many channels, learned alike. The broken line is the " +
        "front: no other takes fewer bits and loses less.",
      legend: own.map((family) => ({
        shape: drawShape(families.indexOf(family)),
        label: family,
      })),
      panels: baseline.effectiveBits.map((length, panel) =>
        qualityPanel(
          chosen.map((i) => point(methods[i]!, labels[i]!, panel, fronts[i]![panel]!)),
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
  /** Whether it is on the front. */
  readonly front: boolean;
}

function point(method: MethodFigures, label: string, panel: number, front: boolean): Point {
  const family = methodFamily(method);
  return {
    name: method.name,
    label,
    family,
    curve: `${family} ${method.weights} ${method.keySpace}`,
    bits: method.effectiveBits[panel]!.bits,
    divergence: shownDivergence(method),
    front,
  };
}

function shownDivergence({ quality }: MethodFigures): number {
  return Math.max(LEAST_DIVERGENCE, quality.different.divergence);
}

function qualityPanel(
  points: readonly Point[],
  families: readonly string[],
  title: string,
  divergences: readonly number[],
): string {
  const sorted = points.toSorted((a, b) => a.bits - b.bits);
  const domain = [Math.min(...divergences) / 1.3, Math.max(...divergences) * 1.3] as const;
  const x = bitTicks(points);
  return drawSvg({
    ...PANEL,
    style: { fontSize: "11px" },
    x: { type: "log", base: 2, label: `effective bits at ${title} →`, ...x },
    y: {
      type: "log",
      label: "↑ KL, nats",
      grid: true,
      domain: [...domain],
      ticks: logTicks(...domain),
      tickFormat: (value: number) => `${Number(value.toPrecision(1))}`,
    },
    opacity: { type: "identity" },
    color: { domain: [...families], range: families.map((_, i) => SERIES[i % SERIES.length]!) },
    symbol: { domain: [...families], range: families.map((_, i) => SHAPES[i % SHAPES.length]!) },
    marks: [
      Plot.line(sorted, { x: "bits", y: "divergence", z: "curve", stroke: "family" }),
      Plot.line(sorted.filter(({ front }) => front), {
        x: "bits",
        y: "divergence",
        stroke: "var(--faint)",
        strokeWidth: 5,
        strokeOpacity: 0.35,
        strokeDasharray: "7,4",
        ariaLabel: () => "the front",
      }),
      Plot.dot(sorted, {
        x: "bits",
        y: "divergence",
        fill: "family",
        symbol: "family",
        fillOpacity: ({ front }: Point) => front ? 1 : 0.55,
        r: 4.5,
        title: ({ label, bits, divergence, front }: Point) =>
          `${label}: ${bits.toFixed(2)} bits, ${divergence.toPrecision(3)} nats${
            front ? ", on the front" : ""
          }`,
      }),
      Plot.text(withRoomForNames(sorted, x.domain, domain), {
        x: "bits",
        y: "divergence",
        text: "name",
        dx: 7,
        dy: -7,
        textAnchor: "start",
      }),
    ],
  });
}

/** The points whose names do not cover each other's, those on the front first, and the best. */
function withRoomForNames(
  points: readonly Point[],
  bits: readonly [number, number],
  divergences: readonly [number, number],
): readonly Point[] {
  const along = (value: number, [least, most]: readonly [number, number]) =>
    Math.log(value / least) / Math.log(most / least);
  const named: { readonly point: Point; readonly left: number; readonly y: number }[] = [];
  for (
    const point of points.toSorted((a, b) =>
      Number(b.front) - Number(a.front) || a.divergence - b.divergence
    )
  ) {
    const left = along(point.bits, bits) * (PANEL.width - PANEL.marginLeft - PANEL.marginRight);
    const y = along(point.divergence, divergences) * (PANEL.height - PANEL.marginTop);
    const covers = named.some((other) => {
      // The name of the one to the left reaches towards the other.
      const { name } = left < other.left ? point : other.point;
      return Math.abs(y - other.y) < LINE_HEIGHT &&
        Math.abs(left - other.left) < name.length * LETTER_WIDTH;
    });
    if (!covers) named.push({ point, left, y });
  }
  return named.map(({ point }) => point);
}

/** Room around the points, and ticks at powers of two, or closer where these are few. */
function bitTicks(points: readonly Point[]): { ticks: number[]; domain: [number, number] } {
  const bits = points.map(({ bits }) => bits);
  const [least, most] = [Math.min(...bits) / 1.15, Math.max(...bits) * 1.15];
  const closer = most / least < 6 ? [1, 1.25, 1.5] : [1];
  const ticks = [0.25, 0.5, 1, 2, 4, 8, 16, 32]
    .flatMap((power) => closer.map((part) => power * part))
    .filter((tick) => tick >= least && tick <= most);
  return { ticks, domain: [least, most] };
}

/** Powers of ten, and twice these where there are few. */
function logTicks(least: number, most: number): number[] {
  const parts = most / least < 1e4 ? [1, 2] : [1];
  const first = Math.floor(Math.log10(least));
  return Array.from({ length: Math.ceil(Math.log10(most)) - first + 1 }, (_, i) => first + i)
    .flatMap((power) => parts.map((part) => part * 10 ** power))
    .filter((tick) => tick >= least && tick <= most);
}
