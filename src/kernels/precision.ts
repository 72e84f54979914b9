/** The precision of products in attention. */
import type { KernelNameParts } from "./name.ts";

/**
 * The precision of attention, from the finest: how far outputs are from float64's on the same
 * codes, relative to their root mean square, while scores are of order ten; where they are larger,
 * all but `f32` are off by more. Sums are always f32, or exact in integers.
 *
 * - `f32`: at most 2e-5
 * - `int16`: at most 1e-3; 5e-4 was measured with `c8b8`, 2,048 tokens and scores of deviation 3.
 *   Weights and queries have two bytes: a weight is off by up to 2^-17 of the largest of 256 or 512
 *   tokens, a product by up to 2^-16 of the query's largest
 * - `f16`: at most 1e-2. Products of queries and keys, or tables of q.centroid, are rounded to f16:
 *   a score is off by up to 2^-11 of the largest products that it is summed from. Entries of tables
 *   beyond 65504 are clamped
 * - `int8`: at most 3e-1; 8e-2 was measured in the same way. Weights and queries have one byte: a
 *   weight is off by up to 2^-9 of the largest, a product by up to 2^-8. Codes of 1 or 2 bits make
 *   errors of 0.3 to 0.6 themselves, in every number; these are the largest of all
 */
export type Precision = "f32" | "int16" | "f16" | "int8";

/** All of them, from the finest. */
export const PRECISIONS: readonly Precision[] = ["f32", "int16", "f16", "int8"];

/** The least precision of attention, if none is asked for. */
export const DEFAULT_PRECISION: Precision = "int16";

/** The precision of an attention kernel, by its name. */
export function kernelPrecision({ variant, feature }: Partial<KernelNameParts>): Precision {
  if (feature === "int8" || feature === "int16") return feature;
  return variant === "table16" || feature === "f16" ? "f16" : "f32";
}

/** How far outputs may be off, relative to their root mean square, while scores are of order ten. */
export const PRECISION_BOUNDS: Readonly<Record<Precision, number>> = {
  f32: 2e-5,
  int16: 1e-3,
  f16: 1e-2,
  int8: 3e-1,
};

/** Whether a precision is as fine as another, or finer. */
export function isAsFine(precision: Precision, as: Precision): boolean {
  return PRECISIONS.indexOf(precision) <= PRECISIONS.indexOf(as);
}
