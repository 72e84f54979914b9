/** The difference of two texts, line by line. */
import { diffArrays, diffWordsWithSpace } from "diff";
import type { Emphasis } from "./code_line.tsx";

/** A line of a difference; indices count lines of the texts from 0. */
export type DiffLine =
  | { readonly kind: "equal"; readonly before: number; readonly after: number }
  | { readonly kind: "removed"; readonly before: number; readonly changes: readonly Emphasis[] }
  | { readonly kind: "added"; readonly after: number; readonly changes: readonly Emphasis[] };

/** Lines of a difference, or equal ones that need not be seen. */
export interface DiffSection {
  /** Whether it is only what stands far from any change. */
  readonly equal: boolean;
  readonly lines: readonly DiffLine[];
}

/** Equal lines that are shown beside changes. */
const CONTEXT = 3;

/** The lines of both texts. What a removed line and the added one in its place differ in is marked in both. */
export function diffLines(before: readonly string[], after: readonly string[]): DiffLine[] {
  const lines: DiffLine[] = [];
  let from = 0;
  let to = 0;
  let removed: number[] = [];
  for (const { value, added, removed: gone } of diffArrays([...before], [...after])) {
    if (gone) {
      removed = value.map(() => from++);
      lines.push(...removed.map((at): DiffLine => ({ kind: "removed", before: at, changes: [] })));
    } else if (added) {
      const first = lines.length - removed.length;
      value.forEach((text, i) => {
        const at = removed[i];
        const changes = at === undefined ? [[], []] as const : wordChanges(before[at]!, text);
        if (at !== undefined) {
          lines[first + i] = { kind: "removed", before: at, changes: changes[0] };
        }
        lines.push({ kind: "added", after: to++, changes: changes[1] });
      });
      removed = [];
    } else {
      lines.push(...value.map((): DiffLine => ({ kind: "equal", before: from++, after: to++ })));
      removed = [];
    }
  }
  return lines;
}

/** What is only in the one line, and only in the other; nothing where they have little in common. */
function wordChanges(before: string, after: string): readonly [Emphasis[], Emphasis[]] {
  const gone: Emphasis[] = [];
  const come: Emphasis[] = [];
  let from = 0;
  let to = 0;
  let common = 0;
  for (const { value, added, removed } of diffWordsWithSpace(before, after)) {
    if (removed) gone.push({ start: from, end: from + value.length });
    if (added) come.push({ start: to, end: to + value.length });
    if (!added) from += value.length;
    if (!removed) to += value.length;
    if (!added && !removed) common += value.trim().length;
  }
  return 2 * common < Math.max(before.trim().length, after.trim().length) ? [[], []] : [gone, come];
}

/** Sections in turn: changes with some equal lines beside them, and the equal lines between. */
export function diffSections(lines: readonly DiffLine[]): DiffSection[] {
  const near = new Uint8Array(lines.length);
  lines.forEach(({ kind }, i) => {
    if (kind !== "equal") near.fill(1, Math.max(0, i - CONTEXT), i + CONTEXT + 1);
  });
  const sections: { equal: boolean; lines: DiffLine[] }[] = [];
  lines.forEach((line, i) => {
    const equal = near[i] === 0;
    if (sections.at(-1)?.equal !== equal) sections.push({ equal, lines: [] });
    sections.at(-1)!.lines.push(line);
  });
  return sections;
}
