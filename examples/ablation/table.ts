import { explainColumns, formatTable } from "../tables/grouped.ts";
import type { Ablation, AblationRow } from "./results.ts";

/**
 * The ablation as a table, and what its columns mean.
 *
 * @param width Columns that it may take. Defaults to the terminal's.
 */
export function formatAblation({ rows, perplexity, settings }: Ablation, width?: number): string {
  const { text, calibration, context } = settings;
  return [
    formatTable<AblationRow>(
      [
        {
          title: "",
          columns: [
            { title: "row", cell: ({ title }) => title },
            { title: "scheme", cell: ({ scheme }) => scheme },
            { title: "against", cell: ({ from = "" }) => from },
          ],
        },
        {
          title: "perplexity",
          columns: [
            { title: "change", cell: ({ quality }) => percent(quality.ratio - 1) },
            {
              title: "+-",
              cell: ({ quality: { ratioError } }) =>
                ratioError === null ? "" : (ratioError * 100).toFixed(1),
            },
            {
              title: "against",
              cell: ({ change }) => change === undefined ? "" : percent(change - 1),
            },
          ],
        },
        {
          title: "",
          columns: [
            { title: "KL", cell: ({ quality }) => quality.divergence.toFixed(4) },
            { title: "top-1", cell: ({ quality }) => `${(quality.agreement * 100).toFixed(1)}%` },
          ],
        },
        {
          title: "coding error",
          columns: [
            { title: "keys", cell: ({ codingError }) => codingError.keys.toFixed(4) },
            { title: "values", cell: ({ codingError }) => codingError.values.toFixed(4) },
          ],
        },
        {
          title: "logit",
          columns: [{ title: "error", cell: ({ logitError }) => logitError.toFixed(3) }],
        },
      ],
      rows,
      width,
    ),
    "",
    explainColumns([
      [
        "on",
        `${text.contexts} contexts of ${context} tokens of ${text.name}, exact perplexity ${
          perplexity.toFixed(2)
        }; every token coded, in float64`,
      ],
      ["codebooks", `from ${calibration.tokens} tokens of ${calibration.name}`],
    ], width),
  ].join("\n");
}

function percent(share: number): string {
  return `${share < 0 ? "" : "+"}${(share * 100).toFixed(1)}%`;
}
