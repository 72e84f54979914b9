import Handlebars from "handlebars";
import { median } from "../../demo/metrics.ts";
import type { Evaluation, QualityFigures } from "../figures/results.ts";
import { methodFronts } from "../figures/pareto.ts";
import { meanError } from "../figures/statistics.ts";
import { describeNoise, formatLength, meanAccuracy } from "../figures/summary.ts";
import { errorChart, logitChart } from "./error_chart.ts";
import { methodLabels } from "../figures/method_labels.ts";
import { perplexityChart } from "./perplexity_chart.ts";
import { type Chart, qualityCharts } from "./quality_chart.ts";
import { retrievalCharts } from "./retrieval_chart.ts";
import { usageCharts } from "./usage_chart.ts";

/** The evaluation as one HTML page that needs nothing else: plots as SVG, the style sheet inside. */
export async function formatReport(figures: Evaluation): Promise<string> {
  const read = (name: string) => Deno.readTextFile(new URL(name, import.meta.url));
  const [template, style] = await Promise.all([read("report.hbs"), read("report.css")]);
  const { methods, baseline, noiseFloor, settings, refused, adapter, model, seconds } = figures;
  const labels = methodLabels(methods);
  const fronts = methodFronts(methods);
  const charts: readonly Chart[] = methods.length === 0 ? retrievalCharts(figures) : [
    ...qualityCharts(figures),
    perplexityChart(figures),
    ...retrievalCharts(figures),
    errorChart(figures),
    logitChart(figures),
    ...usageCharts(figures),
  ];
  const render = Handlebars.compile(template, { strict: true });
  const helpers = { list: (...items: unknown[]) => items.slice(0, -1) };
  return render({
    style,
    model,
    adapter,
    settings,
    seconds: seconds.toFixed(0),
    charts,
    noiseFloor: {
      what: describeNoise(noiseFloor),
      ...noiseRow(noiseFloor.quality.different),
    },
    lengths: baseline.effectiveBits.map(formatLength),
    distances: baseline.retrieval.map(({ distance }) => distance),
    generated: settings.generation.prompts > 0,
    retrieved: baseline.retrieval.length > 0,
    baseline: {
      bits: baseline.effectiveBits.map(({ bits }) => ({ bits: bits.toFixed(2), front: false })),
      ...qualityRow(baseline.quality.different, baseline.quality.inDomain),
      retrieval: baseline.retrieval.map(() => "+0.00"),
      accuracy: percent(meanAccuracy(baseline.retrieval)),
    },
    refused,
    methods: methods.map((method, i) => ({
      label: labels[i],
      nominalBits: Number(method.nominalBits.toFixed(3)),
      bits: method.effectiveBits.map(({ bits }, length) => ({
        bits: bits.toFixed(2),
        front: fronts[i]![length]!,
      })),
      ...qualityRow(method.quality.different, method.quality.inDomain),
      retrieval: method.retrieval.map(({ excess }) => signed(excess)),
      accuracy: percent(meanAccuracy(method.retrieval)),
      parts: method.firstDifferences.length === 0 ? "" : median(method.firstDifferences),
      errors: [
        ...(["keys", "values"] as const).map((side) => {
          const error = meanError(method.codingError.filter((one) => one.side === side));
          return error === undefined ? "" : `${(100 * error).toPrecision(2)} %`;
        }),
        meanError(method.logitError)?.toPrecision(2) ?? "",
      ],
    })),
  }, { helpers });
}

function qualityRow(different: QualityFigures, inDomain: QualityFigures) {
  const row = (figures: QualityFigures) => ({
    perplexity: figures.perplexity.toFixed(2),
    change: signed((figures.ratio - 1) * 100),
    error: figures.ratioError === null ? "" : (figures.ratioError * 100).toFixed(2),
    divergence: figures.divergence.toFixed(4),
    agreement: (figures.agreement * 100).toFixed(1),
  });
  return { different: row(different), inDomain: row(inDomain) };
}

function noiseRow({ ratio, divergence, agreement }: QualityFigures) {
  return {
    change: Math.abs(ratio - 1).toExponential(1),
    divergence: divergence.toExponential(1),
    agreement: (agreement * 100).toFixed(1),
  };
}

function percent(share: number): string {
  return (share * 100).toFixed(1);
}

function signed(value: number): string {
  return `${value < 0 ? "" : "+"}${value.toFixed(2)}`;
}
