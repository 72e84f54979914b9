import type { Quality } from "../demo/metrics.ts";
import type { CodingErrorsOfRun } from "./coding_error.ts";
import type { CodeUsageFigures } from "./figures/results.ts";
import type { Answer } from "./retrieval.ts";

/** What is measured of a run of the model. */
export interface Measured {
  /** By context, those of the different text first. */
  readonly qualities: readonly Quality[];
  /** Of the planted texts. */
  readonly answers: readonly Answer[];
  /** Written text. */
  readonly written: readonly (readonly number[])[];
}

/** What is measured of a method beside that. */
export interface MeasuredMethod extends Measured, CodingErrorsOfRun {
  readonly codeUsage: readonly CodeUsageFigures[];
}

/** What is measured of some methods beside one uncompressed run. */
export interface MeasuredMethods {
  readonly baseline: Measured;
  /** Of the uncompressed run by another way. */
  readonly noise: readonly Quality[];
  /** The uncompressed run's answers where nothing is planted. */
  readonly hidden: readonly Answer[];
  readonly methods: readonly MeasuredMethod[];
}
