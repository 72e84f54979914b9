/**
 * Kernel sets: the generated kernels in parts, each an entry of the package. A program imports only
 * those of its schemes and head dimension.
 */
import type { KernelNameParts } from "./name.ts";

/** The parts of a kernel's name that decide which set it is in. */
export type KernelSetParts = Pick<KernelNameParts, "family" | "schemes" | "size">;

/**
 * The set a kernel is in: `kmeans`; `<scheme>_d<headDim>`; `<keys>_<values>_d<headDim>` for kernels
 * that fuse two different schemes; `common_d<headDim>` and `common` for those that caches of any
 * scheme share, which the other sets hold as well.
 */
export function kernelSetName({ family, schemes, size }: KernelSetParts): string {
  if (family.startsWith("kmeans")) return "kmeans";
  const distinct = [...new Set(schemes)];
  return [
    ...(distinct.length === 0 ? ["common"] : distinct),
    ...(size === undefined ? [] : [`d${size}`]),
  ].join("_");
}

/** The entry that exports a set's `kernels`. */
export function kernelSetEntry(name: string): string {
  return `@couplet/kv/kernels/${name}`;
}
