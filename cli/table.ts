/** Columns of text. */
import { printableLine } from "./printable.ts";

/**
 * Rows of cells as lines, the columns two spaces apart. A line feed in a cell is escaped.
 *
 * @param right Columns that are aligned to the right, such as numbers.
 */
export function formatTable(
  cells: readonly (readonly string[])[],
  right: readonly number[] = [],
): string {
  const rows = cells.map((row) => row.map(printableLine));
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, i) => widths[i] = Math.max(widths[i] ?? 0, cell.length));
  }
  return rows.map((row) =>
    row.map((cell, i) => right.includes(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!))
      .join("  ").trimEnd()
  ).join("\n");
}

/** A number of bytes in the largest binary unit that leaves it at least 1, with three digits. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10));
  const value = bytes / 1024 ** power;
  const digits = power === 0 ? 0 : value < 10 ? 2 : value < 100 ? 1 : 0;
  return `${value.toFixed(digits)} ${units[power]}`;
}
