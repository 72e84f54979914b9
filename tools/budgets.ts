/**
 * The sizes a bundle keeps to, gzipped, and whether it does.
 *
 * @module
 */

/** Bytes of a file, minified. */
export interface Size {
  /** As loaded. */
  readonly raw: number;
  /** As sent. */
  readonly gzipped: number;
}

/** What one thing may take. */
export interface Budget {
  /** Bytes, gzipped, that it should stay below. */
  readonly goal: number;
  /** Bytes, gzipped, from which the build fails: above the goal only as long as that is missed. */
  readonly ceiling: number;
}

/** What an engine's bundle may take without kernels, and one kernel. A ceiling above its goal is to come down. */
export const BUDGETS = {
  engine: { goal: 25_000, ceiling: 27_500 },
  // Snapshots bring a file format with checks of its own.
  engineWithSnapshots: { goal: 25_000, ceiling: 32_500 },
  // The longest kernels miss their goal: `attend` with keys before their rotary embedding, most of all rotated codes.
  kernel: { goal: 3_000, ceiling: 5_000 },
} as const satisfies Record<string, Budget>;

/** Something measured, against its budget. */
export interface Verdict {
  /** One line for people. */
  readonly line: string;
  /** Whether the goal is met. */
  readonly meets: boolean;
  /** Whether the build may go on. */
  readonly passes: boolean;
}

/** Holds a size against its budget. */
export function judge(name: string, size: Size, { goal, ceiling }: Budget): Verdict {
  const meets = size.gzipped < goal;
  const passes = size.gzipped < ceiling;
  const verdict = meets
    ? `under ${kilobytes(goal)}`
    : `MISSES ${kilobytes(goal)} by ${kilobytes(size.gzipped - goal)}`;
  const failure = passes ? "" : `, and FAILS at ${kilobytes(ceiling)}`;
  return { line: `${name}: ${describeSize(size)}: ${verdict}${failure}`, meets, passes };
}

/** A size for people, in kB of 1000 bytes. */
export function describeSize({ raw, gzipped }: Size): string {
  return `${kilobytes(raw)}, ${kilobytes(gzipped)} gzipped`;
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}
