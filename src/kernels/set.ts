/**
 * Kernel sets: the generated kernels in parts, each an entry of the package, so that a program
 * imports those of its own schemes and head dimension.
 */
import type { KernelNameParts } from "./name.ts";

/** The parts of a kernel's name that decide which set it stands in. */
export type KernelSetParts = Pick<KernelNameParts, "family" | "schemes" | "size">;

/**
 * The set a kernel stands in: `kmeans`; `<scheme>_d<headDim>`; `<keys>_<values>_d<headDim>` for
 * kernels that fuse two different schemes; `common_d<headDim>` and `common` for those that caches
 * of any scheme share, which the other sets hold as well.
 */
export function kernelSetName({ family, schemes, size }: KernelSetParts): string {
  if (family === "kmeans_assign" || family === "kmeans_update") return "kmeans";
  const distinct = [...new Set(schemes)];
  return [
    ...(distinct.length === 0 ? ["common"] : distinct),
    ...(size === undefined ? [] : [`d${size}`]),
  ].join("_");
}

/** What a program imports a set's `kernels` from. */
export function kernelSetEntry(name: string): string {
  return `@couplet/kv/kernels/${name}`;
}
