import { outputWidth } from "../../../cli/output_width.ts";
import { wrapLines } from "../../../cli/table.ts";
import { median } from "../../demo/metrics.ts";
import { type Column, explainColumns, formatTable } from "../../tables/grouped.ts";
import { methodLabels, sharedLabel } from "./method_labels.ts";
import { methodFronts } from "./pareto.ts";
import type { EffectiveBits, Evaluation, MethodFigures, QualityFigures } from "./results.ts";
import { mean, meanError } from "./statistics.ts";

/** A method's figures, or the uncompressed cache's as far as they are. */
type Row = Pick<MethodFigures, "quality"> & Partial<MethodFigures> & { readonly label: string };

/**
 * The evaluation as tables, and what their columns mean.
 *
 * @param width Columns that it may take. Defaults to the terminal's.
 */
export function formatSummary(figures: Evaluation, width: number = outputWidth()): string {
  const { baseline, methods, settings, refused } = figures;
  const labels = methodLabels(methods);
  const rows: readonly Row[] = [
    { label: "f16", quality: baseline.quality },
    ...methods.map((method, i) => ({ ...method, label: labels[i]! })),
  ];
  const optional = (figure: (row: MethodFigures) => string) => (row: Row) =>
    isMethod(row) ? figure(row) : "";
  const groups = [
    { title: "", columns: [{ title: "keys/values", cell: ({ label }: Row) => label }] },
    { title: "different text", columns: qualityColumns(({ quality }) => quality.different) },
    { title: "in domain", columns: qualityColumns(({ quality }) => quality.inDomain) },
    ...(baseline.retrieval.length === 0 ? [] : [{
      title: "retrieval, nats above f16",
      columns: baseline.retrieval.map(({ distance }, i) => ({
        title: `${distance}`,
        cell: optional(({ retrieval }) => signed(retrieval[i]!.excess, 2)),
      })),
    }]),
    ...(settings.generation.prompts === 0 ? [] : [{
      title: "parts at",
      columns: [{
        title: "token",
        cell: optional(({ firstDifferences }) =>
          firstDifferences.length === 0 ? "" : `${median(firstDifferences)}`
        ),
      }],
    }]),
    {
      title: "coding error",
      columns: (["keys", "values"] as const).map((side) => ({
        title: side,
        cell: optional(({ codingError }) =>
          meanError(codingError.filter((one) => one.side === side))?.toFixed(4) ?? ""
        ),
      })),
    },
    {
      title: "logit",
      columns: [{
        title: "error",
        cell: optional(({ logitError }) => meanError(logitError)?.toFixed(3) ?? ""),
      }],
    },
  ];
  const text = [
    formatTable(groups, rows, width),
    "",
    formatBits(figures, width),
    "",
    ...refused.map(({ method, why }) => `refused: ${method}: ${why}`),
    ...(refused.length > 0 ? [""] : []),
    explain(figures, width),
  ].join("\n");
  return wrapLines(text, width);
}

/** What methods take at each length beside what they lose. */
function formatBits({ baseline, methods }: Evaluation, width: number): string {
  const labels = ["f16", ...methodLabels(methods)];
  const fronts = [baseline.effectiveBits.map(() => false), ...methodFronts(methods)];
  const rows = [{ ...baseline, nominalBits: 16 }, ...methods].map((figures, i) => ({
    ...figures,
    label: labels[i]!,
    front: fronts[i]!,
    accuracy: meanAccuracy(figures.retrieval),
    excess: i === 0 ? 0 : meanExcess(methods[i - 1]!),
  }));
  type BitsRow = typeof rows[number];
  return formatTable(
    [
      {
        title: "",
        columns: [
          { title: "keys/values", cell: ({ label }: BitsRow) => label },
          { title: "bits", cell: ({ nominalBits }) => `${Number(nominalBits.toFixed(3))}` },
        ],
      },
      {
        title: "effective bits",
        columns: baseline.effectiveBits.map((bits, i) => ({
          title: `${formatLength(bits)} `,
          cell: ({ effectiveBits, front }: BitsRow) =>
            `${effectiveBits[i]!.bits.toFixed(2)}${front[i] ? "*" : " "}`,
        })),
      },
      {
        title: "different text",
        columns: [
          { title: "x f16", cell: ({ quality }: BitsRow) => quality.different.ratio.toFixed(4) },
          { title: "KL", cell: ({ quality }) => quality.different.divergence.toFixed(4) },
        ],
      },
      ...(baseline.retrieval.length === 0 ? [] : [{
        title: "retrieval",
        columns: [
          { title: "nats", cell: ({ excess }: BitsRow) => signed(excess, 2) },
          { title: "right", cell: ({ accuracy }: BitsRow) => `${(accuracy * 100).toFixed(1)}%` },
        ],
      }]),
    ],
    rows,
    width,
  );
}

/** The share of answers' tokens that are the likeliest, over all distances. */
export function meanAccuracy(retrieval: readonly { readonly accuracy: number }[]): number {
  return mean(retrieval.map(({ accuracy }) => accuracy));
}

/** The loss on answers above the uncompressed cache's, over all distances. */
function meanExcess({ retrieval }: MethodFigures): number {
  return mean(retrieval.map(({ excess }) => excess));
}

function isMethod(row: Row): row is MethodFigures & Row {
  return row.policy !== undefined;
}

function explain(figures: Evaluation, width: number): string {
  const { baseline, methods, noiseFloor, settings, seconds } = figures;
  const { retrieval, generation, texts } = settings;
  const noise = noiseFloor.quality.different;
  const shared = sharedLabel(methods);
  return [
    explainColumns([
      ...(shared === "" ? [] : [["keys/values", `of all: ${shared}`] as const]),
      [
        "effective bits",
        "all that stays resident, codebooks too, over all key and value channels, at sequences x tokens; " +
        "* where no other with the same exact tiers takes fewer and loses less (KL)",
      ],
      [
        "ppl, x f16",
        `perplexity on ${texts.different.contexts} and ${texts.inDomain.contexts} contexts of ${settings.context} tokens; over f16's, with its standard error`,
      ],
      [
        "KL, top-1",
        "KL divergence from f16 in nats per token; share of tokens with the same likeliest next token",
      ],
      [
        "noise floor",
        `${describeNoise(noiseFloor)}: perplexity changes by ${
          Math.abs(noise.ratio - 1).toExponential(1)
        } of itself, KL ${noise.divergence.toExponential(1)}, top-1 ${
          (noise.agreement * 100).toFixed(1)
        }%`,
      ],
      ...(baseline.retrieval.length === 0 ? [] : [
        [
          "retrieval",
          `loss on an invented name planted so many tokens before, ${retrieval.trials} each; f16's own, planted and not: ${
            baseline.retrieval.map(({ distance, planted, notPlanted }) =>
              `${distance}: ${planted.toFixed(2)}, ${notPlanted.toFixed(2)}`
            ).join("; ")
          }; right: share of the names' tokens that are the likeliest`,
        ] as const,
      ]),
      ...(generation.prompts === 0 ? [] : [
        [
          "parts at",
          `median over ${generation.prompts} prompts of the first of ${generation.tokens} greedy tokens that f16 does not write`,
        ] as const,
      ]),
      [
        "coding error",
        "squared error of decoded vectors over their energy around their mean, mean over layers and heads",
      ],
      [
        "logit error",
        "root mean square of what coded keys change of the logits, without each query's mean change",
      ],
    ], width),
    "",
    `${seconds.toFixed(0)} seconds in all; docs/evaluation.md says more about each figure.`,
  ].join("\n");
}

function qualityColumns(quality: (row: Row) => QualityFigures): readonly Column<Row>[] {
  return [
    { title: "ppl", cell: (row) => quality(row).perplexity.toFixed(2) },
    { title: "x f16", cell: (row) => quality(row).ratio.toFixed(4) },
    { title: "+-", cell: (row) => quality(row).ratioError?.toFixed(4) ?? "" },
    { title: "KL", cell: (row) => quality(row).divergence.toFixed(4) },
    { title: "top-1", cell: (row) => `${(quality(row).agreement * 100).toFixed(1)}%` },
  ];
}

function signed(value: number, digits: number): string {
  return `${value < 0 ? "" : "+"}${value.toFixed(digits)}`;
}

/** What the noise floor compares with the uncompressed cache. */
export function describeNoise(
  { chunk, window, sinks, allCoded }: Evaluation["noiseFloor"],
): string {
  return allCoded
    ? "keys and values rounded to f16"
    : `f16 in steps of ${chunk}, window ${window}, sinks ${sinks}`;
}

/** Sequences times tokens, such as 1x512 or 8x32k. */
export function formatLength({ sequences, tokens }: EffectiveBits): string {
  return `${sequences}x${tokens % 1024 === 0 ? `${tokens / 1024}k` : tokens}`;
}
