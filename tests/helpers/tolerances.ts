/** How far attention may be off in tests. */
import type { Precision } from "../../mod.ts";

/**
 * Largest difference from float64, relative to the outputs' root mean square. A `table16` and integers count from the
 * middle of the grids; the codebooks here, whose levels are exact in f32, all lie at one end, where they have fewer digits.
 */
export const TOLERANCES: Readonly<Record<Precision, number>> = {
  f32: 2e-5,
  int16: 1e-3,
  f16: 1e-2,
  int8: 3e-1,
};
