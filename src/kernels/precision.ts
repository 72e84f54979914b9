/** The precision of products in attention. */
import type { KernelNameParts } from "./name.ts";

/**
 * The precision of products of queries and keys. Sums, and products of weights and values, are
 * always f32.
 *
 * - `f32`: outputs differ from float64's on the same codes by at most 2e-5 of their root mean
 *   square
 * - `f16`: products, or tables of q.centroid, are rounded to f16. A score is off by up to 2^-11 of
 *   the largest products that it is summed from: outputs are within 1e-2 while scores are of order
 *   ten, and off by more where they are larger. Entries of tables beyond 65504 are clamped.
 */
export type Precision = "f32" | "f16";

/** The precision of an attention kernel, by its name. */
export function kernelPrecision({ variant, feature }: Partial<KernelNameParts>): Precision {
  return variant === "table16" || feature === "f16" ? "f16" : "f32";
}
