/** Where the lines of a kernel come from: what the build writes for each kernel, and the page reads. */

/** The templates a kernel was rendered from, line by line. Lines count from 0. */
export interface KernelTrace {
  /** Paths in `templates/` of the files that gave a line. */
  readonly files: readonly string[];
  /**
   * Runs of consecutive lines that come from consecutive lines of one file: `[lines, file, first]`, with `file` an index
   * of `files` and `first` the file's line that the run's first line comes from.
   */
  readonly runs: readonly (readonly [lines: number, file: number, first: number])[];
  /** What the row wrote into a line: `[line, start, end, name]`, columns from 0, `end` exclusive. */
  readonly values: readonly (readonly [line: number, start: number, end: number, name: string])[];
  /** Partials that the row chose by name: `[first, last, file]`, lines of the kernel, both inclusive. */
  readonly chosen: readonly (readonly [first: number, last: number, file: number])[];
}

/** The line of a template that a line of a kernel comes from. */
export interface LineSource {
  /** Path in `templates/`. */
  readonly file: string;
  /** Line of the file, from 0. */
  readonly line: number;
}

/** The source of each line of a kernel. */
export function lineSources({ files, runs }: KernelTrace): LineSource[] {
  return runs.flatMap(([lines, file, first]) =>
    Array.from({ length: lines }, (_, i) => ({ file: files[file]!, line: first + i }))
  );
}

/** The lines of a kernel's text, without the line ends that a module puts around it. */
export function kernelLines(wgsl: string): string[] {
  return wgsl.trim().split("\n");
}
