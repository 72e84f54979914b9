/** A column of a table. */
export interface Column<Row> {
  readonly title: string;
  /** The cell of a row. */
  readonly cell: (row: Row) => string;
}

/** Columns that stand under one heading. */
export interface ColumnGroup<Row> {
  readonly title: string;
  readonly columns: readonly Column<Row>[];
}

const BETWEEN_COLUMNS = "  ";
const BETWEEN_GROUPS = " | ";

/**
 * An aligned table with two lines of headings: the groups', then the columns'. The very first column is
 * aligned to the left, all others to the right.
 */
export function formatTable<Row>(
  groups: readonly ColumnGroup<Row>[],
  rows: readonly Row[],
): string {
  const blocks = groups.map((group, i) => formatGroup(group, rows, i === 0));
  const lines = blocks[0]?.map((_, line) => blocks.map((block) => block[line]!)) ?? [];
  return lines
    .map((parts) => parts.join(/^-+$/.test(parts[0]!) ? "-+-" : BETWEEN_GROUPS).trimEnd())
    .join("\n");
}

/** The lines of one group, all of one width: two headings, a rule, the rows. */
function formatGroup<Row>(
  { title, columns }: ColumnGroup<Row>,
  rows: readonly Row[],
  first: boolean,
): readonly string[] {
  const lines = [
    columns.map((column) => column.title),
    ...rows.map((row) => columns.map(({ cell }) => cell(row))),
  ];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const [heading, ...body] = lines.map((line) =>
    line
      .map((cell, i) => first && i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))
      .join(BETWEEN_COLUMNS)
  );
  const width = Math.max(title.length, heading!.length);
  const place = (line: string) => first ? line.padEnd(width) : line.padStart(width);
  return [title.padEnd(width), place(heading!), "-".repeat(width), ...body.map(place)];
}
