/** Tables of figures, with columns in groups. */
import { outputWidth } from "../../cli/output_width.ts";
import { formatTable as formatCells, pad, textWidth } from "../../cli/table.ts";

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
 * aligned to the left, all others to the right. Groups that do not fit beside the others follow in further
 * tables below, each of which begins with the very first column.
 *
 * @param width Columns that it may take. Defaults to the terminal's.
 */
export function formatTable<Row>(
  groups: readonly ColumnGroup<Row>[],
  rows: readonly Row[],
  width: number = outputWidth(),
): string {
  const [first, ...others] = groups;
  if (first === undefined) return "";
  const label = formatGroup({ title: "", columns: first.columns.slice(0, 1) }, rows, true);
  const tables = [[formatGroup(first, rows, true)]];
  const room = width - textWidth(label[0]!) - BETWEEN_GROUPS.length;
  for (const group of others.flatMap((group) => splitGroup(group, rows, room))) {
    const block = formatGroup(group, rows, false);
    const last = tables.at(-1)!;
    if (textWidth([...last, block].map((one) => one[0]!).join(BETWEEN_GROUPS)) <= width) {
      last.push(block);
    } else tables.push([label, block]);
  }
  return tables.map(joinBlocks).join("\n\n");
}

/** What columns mean: their names, and a text for each. */
export function explainColumns(
  meanings: readonly (readonly [columns: string, meaning: string])[],
  width: number = outputWidth(),
): string {
  return formatCells(meanings, { width });
}

/** A group as several, each of which fits the room. */
function splitGroup<Row>(
  group: ColumnGroup<Row>,
  rows: readonly Row[],
  room: number,
): readonly ColumnGroup<Row>[] {
  const { title, columns } = group;
  if (columns.length < 2 || textWidth(formatGroup(group, rows, false)[0]!) <= room) return [group];
  const half = Math.ceil(columns.length / 2);
  return [columns.slice(0, half), columns.slice(half)]
    .flatMap((part) => splitGroup({ title, columns: part }, rows, room));
}

/** Groups side by side. */
function joinBlocks(blocks: readonly (readonly string[])[]): string {
  const lines = blocks[0]!.map((_, line) => blocks.map((block) => block[line]!));
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
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => textWidth(line[i]!))));
  const [heading, ...body] = lines.map((line) =>
    line.map((cell, i) => pad(cell, widths[i]!, !(first && i === 0))).join(BETWEEN_COLUMNS)
  );
  const width = Math.max(textWidth(title), textWidth(heading!));
  const place = (line: string) => pad(line, width, !first);
  return [pad(title, width), place(heading!), "-".repeat(width), ...body.map(place)];
}
