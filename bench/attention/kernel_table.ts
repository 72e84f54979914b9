/** Which kernels rows attended with, and what each took, as text. */
import { type Column, formatTable } from "../../examples/tables/grouped.ts";
import { PAGE_TOKENS } from "../../mod.ts";
import type { AttentionRow, Panel, RowFigures } from "./results.ts";
import { formatTime } from "../measure/figures.ts";

/** A row with its series' name. */
interface NamedRow {
  readonly name: string;
  readonly row: AttentionRow;
}

/** What a kernel took of a row. */
export interface KernelShare extends NamedRow {
  readonly kernel: string;
  readonly milliseconds: number;
  /** Of what all of the row's kernels took. */
  readonly share: number;
}

/** A row's scheme and context. */
const PLACE: readonly Column<NamedRow>[] = [
  { title: "scheme", cell: ({ name }) => name },
  { title: "context", cell: ({ row }) => `${row.context}` },
];

function namedRows({ series }: Panel): readonly NamedRow[] {
  return series.flatMap(({ name, figures }) =>
    figures.map(({ row }: RowFigures) => ({ name, row }))
  );
}

/** The times of all kernels of a panel that were measured. */
export function kernelShares(panel: Panel): readonly KernelShare[] {
  return namedRows(panel).flatMap(({ name, row }) => {
    const profile = row.profile ?? [];
    const sum = profile.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
    return profile.map((one) => ({ name, row, ...one, share: one.milliseconds / sum }));
  });
}

/** Pages of a tile as tokens; nothing where a file does not say. */
export function formatTile({ span }: AttentionRow): string {
  return span === undefined ? "–" : `${span * PAGE_TOKENS}`;
}

/** Into how many workgroups a step was cut, and into how many splits each block of queries came by that. */
export function formatSplits({ workgroups, splits }: AttentionRow): string {
  return workgroups === undefined ? "–" : `${workgroups} (${splits})`;
}

/** The kernels of rows that were tuned, and how they were cut; undefined where none was. */
export function formatChoices(panel: Panel, width: number): string | undefined {
  const rows = namedRows(panel).filter(({ row }) => row.tuning !== undefined);
  if (rows.length === 0) return undefined;
  return formatTable<NamedRow>(
    [
      { title: "", columns: PLACE },
      {
        title: "chosen by tuning",
        columns: [
          { title: "kernels", cell: ({ row }) => row.tuning!.candidates[0]!.kernels.join(" + ") },
          { title: "tile", cell: ({ row }) => formatTile(row) },
          { title: "workgroups (splits)", cell: ({ row }) => formatSplits(row) },
          { title: "of", cell: ({ row }) => `${row.tuning!.candidates.length}` },
        ],
      },
    ],
    rows,
    width,
  );
}

/** The time of each kernel; undefined where nobody asked for it. */
export function formatProfiles(panel: Panel, width: number): string | undefined {
  const rows = kernelShares(panel);
  if (rows.length === 0) return undefined;
  return formatTable<KernelShare>(
    [
      { title: "", columns: PLACE },
      {
        title: "time by kernel",
        columns: [
          { title: "kernel", cell: ({ kernel }) => kernel },
          { title: "ms", cell: ({ milliseconds }) => formatTime(milliseconds) },
          { title: "share", cell: ({ share }) => `${(100 * share).toFixed(0)}%` },
        ],
      },
    ],
    rows,
    width,
  );
}
