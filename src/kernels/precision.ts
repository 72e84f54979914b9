/** How many digits attention's products have. */
import type { KernelNameParts } from "./name.ts";

/**
 * What products of queries and keys are taken in. Sums, and products of weights and values, are f32
 * always.
 *
 * - `f32`: outputs are within 2e-5 of their root mean square of what float64 makes of the same
 *   codes
 * - `f16`: products are rounded to f16, or tables of them are. A score is off by up to 2^-11 of the
 *   largest products that it is summed from: outputs are within 1e-2 as long as scores are of order
 *   ten, and off by more where they are larger. Entries of tables beyond 65504 are clamped.
 */
export type Precision = "f32" | "f16";

/** The precision of a kernel that attends, by its name. */
export function kernelPrecision({ variant, feature }: Partial<KernelNameParts>): Precision {
  return variant === "table16" || feature === "f16" ? "f16" : "f32";
}
