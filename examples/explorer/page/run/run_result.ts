/** How a kernel is run, and what a run finds. */
import type { Check } from "./check_kernel.ts";
import type { Times } from "./time_kernel.ts";

/** What was timed, and how long it took. */
export interface TimedRun {
  readonly label: string;
  /** Kernels that took part. */
  readonly kernels: readonly string[];
  readonly milliseconds: Times;
}

/** What a run found. */
export interface RunResult {
  readonly checks: readonly Check[];
  /** What was timed. */
  readonly timed: string;
  readonly times: readonly TimedRun[];
}

/** How a run is to be. */
export interface RunOptions {
  /** Tokens of the sequence that is timed. */
  readonly tokens: number;
  /** Of the random numbers. */
  readonly seed: number;
  /** Told what begins. */
  readonly onProgress: (text: string) => void;
}
