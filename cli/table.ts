/** Columns of text, no wider than they may be. */
import stringWidth from "string-width";
import wrapAnsi from "wrap-ansi";
import { printableLine } from "./printable.ts";

/** How a table is laid out. */
export interface TableLayout {
  /** Columns of the terminal that it may take. */
  readonly width: number;
  /** Columns that are aligned to the right, such as numbers. */
  readonly right?: readonly number[];
}

const BETWEEN = 2;

/** The least that a column shrinks to where even its single words are too long together. */
const LEAST = 8;

/**
 * Rows of cells as lines, the columns two spaces apart. Where they are too wide together, the widest
 * are wrapped: between words, and within words only if nothing else helps. A line feed in a cell is
 * escaped.
 */
export function formatTable(
  cells: readonly (readonly string[])[],
  { width, right = [] }: TableLayout,
): string {
  const rows = cells.map((row) => row.map(printableLine));
  const widths = fitColumns(rows, width);
  return rows.flatMap((row) => {
    const wrapped = row.map((cell, i) => wrapCell(cell, widths[i]!));
    const height = Math.max(...wrapped.map(({ length }) => length));
    return Array.from(
      { length: height },
      (_, line) =>
        wrapped.map((lines, i) => pad(lines[line] ?? "", widths[i]!, right.includes(i)))
          .join(" ".repeat(BETWEEN)).trimEnd(),
    );
  }).join("\n");
}

/** The width of each column: its widest cell's, or less where that is too wide for the table. */
function fitColumns(rows: readonly (readonly string[])[], width: number): readonly number[] {
  const count = Math.max(0, ...rows.map(({ length }) => length));
  const columns = Array.from({ length: count }, (_, i) => rows.map((row) => row[i] ?? ""));
  const widest = (texts: readonly string[]) =>
    Math.min(width, Math.max(0, ...texts.map((text) => stringWidth(text))));
  const widths = columns.map(widest);
  const room = width - BETWEEN * Math.max(0, count - 1);
  const shrink = (least: readonly number[]) => {
    while (sum(widths) > room) {
      const most = Math.max(...widths.filter((own, i) => own > least[i]!));
      if (most === -Infinity) return;
      widths[widths.findLastIndex((own, i) => own === most && own > least[i]!)]!--;
    }
  };
  shrink(columns.map((column) => widest(column.flatMap((cell) => cell.split(/\s+/)))));
  shrink(columns.map(() => LEAST));
  return widths;
}

/** The lines of a cell. */
function wrapCell(cell: string, width: number): readonly string[] {
  return stringWidth(cell) <= width ? [cell] : wrapAnsi(cell, width, { hard: true }).split("\n");
}

/** Columns of a terminal that a text takes. */
export function textWidth(text: string): number {
  return stringWidth(text);
}

/** A text with spaces up to a width, behind it or before it. */
export function pad(text: string, width: number, right = false): string {
  const spaces = " ".repeat(Math.max(0, width - stringWidth(text)));
  return right ? spaces + text : text + spaces;
}

/** Breaks lines of prose that are too long between words; what follows is indented as its line is. */
export function wrapLines(text: string, width: number): string {
  return text.split("\n").flatMap((line) => {
    if (stringWidth(line) <= width) return [line];
    const indent = /^ */.exec(line)![0];
    return wrapAnsi(line.slice(indent.length), Math.max(LEAST, width - indent.length))
      .split("\n").map((part) => indent + part);
  }).join("\n");
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
