/**
 * The sizes that bundles and the published package keep to, and whether they do.
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
  /** Bytes that it should stay below. */
  readonly goal: number;
  /** Bytes from which the build fails: above the goal only as long as that is missed. */
  readonly ceiling: number;
}

/**
 * What an engine's bundle may take without kernels, one kernel, both gzipped, and all that JSR gets, as it is. A ceiling above
 * its goal is to come down.
 */
export const BUDGETS = {
  engine: { goal: 27_000, ceiling: 36_700 },
  // Snapshots bring a file format with checks of its own.
  engineWithSnapshots: { goal: 32_000, ceiling: 43_400 },
  // The longest kernels miss their goal: `attend` with keys before their rotary embedding, most of all anchored ones in integers,
  // whose sums are unrolled.
  kernel: { goal: 3_000, ceiling: 9_400 },
  // JSR takes 20 MB at most.
  published: { goal: 14_200_000, ceiling: 14_200_000 },
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

/** Holds the size of a bundle against its budget. */
export function judge(name: string, size: Size, budget: Budget): Verdict {
  return verdict(`${name}: ${describeSize(size)}`, size.gzipped, budget);
}

/** Holds the bytes of what is published against their budget. */
export function judgePublished(name: string, bytes: number, budget: Budget): Verdict {
  return verdict(`${name}: ${kilobytes(bytes)}`, bytes, budget);
}

function verdict(measured: string, bytes: number, { goal, ceiling }: Budget): Verdict {
  const meets = bytes < goal;
  const passes = bytes < ceiling;
  const result = meets
    ? `under ${kilobytes(goal)}`
    : `MISSES ${kilobytes(goal)} by ${kilobytes(bytes - goal)}`;
  const failure = passes ? "" : `, and FAILS at ${kilobytes(ceiling)}`;
  return { line: `${measured}: ${result}${failure}`, meets, passes };
}

/** A size for people, in kB of 1000 bytes. */
export function describeSize({ raw, gzipped }: Size): string {
  return `${kilobytes(raw)}, ${kilobytes(gzipped)} gzipped`;
}

function kilobytes(bytes: number): string {
  return `${(bytes / 1000).toFixed(1)} kB`;
}
