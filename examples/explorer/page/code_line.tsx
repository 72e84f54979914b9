import type { VNode } from "preact";
import type { Token } from "./highlight.ts";

/** A part of a line that stands out. */
export interface Emphasis {
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  /** What it is, shown where a pointer rests on it. */
  readonly title?: string;
}

/** A line of highlighted text; emphases come in order and do not overlap. */
export function CodeLine(
  { tokens, emphases = [] }: {
    readonly tokens: readonly Token[];
    readonly emphases?: readonly Emphasis[];
  },
): VNode {
  const parts: VNode[] = [];
  let column = 0;
  let inside: VNode[] = [];
  let next = 0;
  for (const { text, colour } of tokens) {
    for (let at = 0; at < text.length;) {
      const emphasis = emphases[next];
      const here = column + at;
      const within = emphasis !== undefined && here >= emphasis.start;
      const bound = emphasis === undefined ? Infinity : within ? emphasis.end : emphasis.start;
      const end = Math.min(text.length, bound - column);
      const piece = <span style={{ color: colour }}>{text.slice(at, end)}</span>;
      (within ? inside : parts).push(piece);
      at = end;
      if (within && column + at === emphasis.end) {
        parts.push(<mark title={emphasis.title}>{inside}</mark>);
        inside = [];
        next++;
      }
    }
    column += text.length;
  }
  return <>{parts}</>;
}
