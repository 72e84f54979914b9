/**
 * A table in Markdown, aligned as `deno fmt` aligns it, followed by a blank line.
 *
 * @param right Indices of columns that are aligned to the right.
 */
export function markdownTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
): string {
  const widths = head.map((_, column) =>
    Math.max(...[head, ...rows].map((row) => row[column]!.length), 3)
  );
  const line = (cells: readonly string[]) =>
    `| ${
      cells.map((cell, column) =>
        right.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!)
      ).join(" | ")
    } |\n`;
  const rule = widths.map((width, column) =>
    right.includes(column) ? `${"-".repeat(width - 1)}:` : "-".repeat(width)
  );
  return [head, rule, ...rows].map(line).join("");
}
