/** A column of a table. */
export interface Column<Row> {
  /** Heading, over one line or more. */
  readonly title: readonly string[];
  /** The cell of a row. */
  readonly cell: (row: Row) => string;
}

/** An aligned table: the first column to the left, all others to the right, two spaces between. */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const headings = Math.max(...columns.map(({ title }) => title.length));
  const lines = [
    ...Array.from(
      { length: headings },
      // Short headings stand at the bottom, next to their figures.
      (_, line) => columns.map(({ title }) => title[line - headings + title.length] ?? ""),
    ),
    ...rows.map((row) => columns.map(({ cell }) => cell(row))),
  ];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  const formatted = lines.map((line) =>
    line
      .map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))
      .join("  ")
      .trimEnd()
  );
  const rule = widths.map((width) => "-".repeat(width)).join("  ");
  return [...formatted.slice(0, headings), rule, ...formatted.slice(headings)].join("\n");
}
