import { outputWidth } from "../../../cli/output_width.ts";
import { wrapLines } from "../../../cli/table.ts";
import { explainColumns, formatTable } from "../../tables/grouped.ts";
import type { AnswerFigures, VisionEvaluation, VisionFigures } from "./results.ts";

/** A method's figures, or the exact video's as far as they are. */
type Row = AnswerFigures & Partial<VisionFigures> & { readonly name: string };

/**
 * The evaluation as a table, and what its columns mean.
 *
 * @param width Columns that it may take. Defaults to the terminal's.
 */
export function formatVisionSummary(
  figures: VisionEvaluation,
  width: number = outputWidth(),
): string {
  const { exact, methods, refused } = figures;
  const rows: readonly Row[] = [{ name: "exact (f16)", effectiveBits: 16, ...exact }, ...methods];
  const optional = (value: number | null | undefined, digits: number) =>
    value === null || value === undefined ? "" : value.toFixed(digits);
  const groups = [
    { title: "", columns: [{ title: "keys/values", cell: ({ name }: Row) => name }] },
    {
      title: "of a video",
      columns: [
        { title: "bits", cell: ({ effectiveBits }: Row) => optional(effectiveBits, 3) },
        {
          title: "KiB",
          cell: ({ bytes }: Row) => optional(bytes === null ? null : bytes! / 1024, 1),
        },
      ],
    },
    {
      title: "right answers, %",
      columns: [
        { title: "all", cell: ({ accuracy }: Row) => percent(accuracy) },
        {
          title: "+-",
          cell: ({ accuracyError }: Row) => accuracyError === null ? "" : percent(accuracyError),
        },
        ...exact.kinds.map(({ kind }, i) => ({
          title: kind,
          cell: ({ kinds }: Row) => percent(kinds[i]!.accuracy),
        })),
      ],
    },
    {
      title: "loss on answers",
      columns: [
        { title: "nats", cell: ({ loss }: Row) => loss.toFixed(3) },
        { title: "above", cell: ({ excess }: Row) => optional(excess, 3) },
        { title: "+-", cell: ({ excessError }: Row) => optional(excessError, 3) },
      ],
    },
    {
      title: "against exact",
      columns: [
        { title: "KL", cell: ({ divergence }: Row) => optional(divergence, 4) },
        { title: "+-", cell: ({ divergenceError }: Row) => optional(divergenceError, 4) },
        {
          title: "top-1",
          cell: ({ agreement }: Row) => agreement === undefined ? "" : `${percent(agreement)}%`,
        },
      ],
    },
  ];
  const text = [
    formatTable(groups, rows, width),
    "",
    ...refused.map(({ method, why }) => `refused: ${method}: ${why}`),
    ...(refused.length > 0 ? [""] : []),
    explain(figures, width),
  ].join("\n");
  return wrapLines(text, width);
}

function explain({ settings, exact, seconds }: VisionEvaluation, width: number): string {
  return [
    explainColumns([
      [
        "bits, KiB",
        "all that stays of a video's keys and values: codes, metadata and a span's levels, over " +
        `${settings.visualTokens} tokens and all channels; codebooks, which all videos share, are not counted`,
      ],
      [
        "right answers",
        `of ${exact.answers} about ${settings.videos} videos, with the standard error over videos`,
      ],
      [
        "loss",
        "on the right answer; above the exact video's, with the standard error over videos",
      ],
      [
        "KL, top-1",
        "KL divergence from the exact video's answers in nats; share with the same likeliest answer",
      ],
      ["no video", "questions alone: what the model guesses"],
      [
        "..._literal",
        "a method to the letter, decoded on the CPU; VidKV's bits are those that its code stores",
      ],
    ], width),
    "",
    `${seconds.toFixed(0)} seconds in all; docs/vision.md says more.`,
  ].join("\n");
}

function percent(share: number): string {
  return (100 * share).toFixed(1);
}
