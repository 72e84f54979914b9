/** Filters of the list of kernels. */
import type { NamedKernel } from "./kernels.ts";

/** The properties of a kernel that a list of choices filters by. */
export type Facet = "family" | "scheme" | "size" | "variant" | "feature";

/** What the list shows: kernels with all chosen properties whose name holds all words. */
export interface KernelFilter extends Readonly<Partial<Record<Facet, string>>> {
  /** Words, in any order. */
  readonly words: string;
}

/** The values of a property that a kernel has. */
function facetValues({ parts }: NamedKernel, facet: Facet): readonly string[] {
  const { family, schemes, size, variant, feature } = parts;
  switch (facet) {
    case "family":
      return [family];
    case "scheme":
      return [...new Set(schemes)];
    case "size":
      return size === undefined ? [] : [sizeName(parts)];
    case "variant":
      return variant === undefined ? [] : [variant];
    case "feature":
      return [feature ?? "none"];
  }
}

/** A kernel's size as its name has it. */
function sizeName({ family, size }: NamedKernel["parts"]): string {
  return `${family.startsWith("kmeans") ? "c" : "d"}${size}`;
}

/** The kernels that a filter leaves, in their own order. */
export function filterKernels(
  kernels: readonly NamedKernel[],
  filter: KernelFilter,
): readonly NamedKernel[] {
  const { words, ...facets } = filter;
  const wanted = words.toLowerCase().split(/\s+/).filter((word) => word !== "");
  const chosen = Object.entries(facets) as [Facet, string][];
  return kernels.filter((kernel) =>
    wanted.every((word) => kernel.info.name.includes(word)) &&
    chosen.every(([facet, value]) => facetValues(kernel, facet).includes(value))
  );
}

/** The values of a property, and how many kernels each would leave beside the other filters. */
export function facetChoices(
  kernels: readonly NamedKernel[],
  filter: KernelFilter,
  facet: Facet,
): readonly (readonly [value: string, count: number])[] {
  const { [facet]: _, ...others } = filter;
  const counts = new Map<string, number>();
  for (const kernel of kernels) {
    for (const value of facetValues(kernel, facet)) counts.set(value, 0);
  }
  for (const kernel of filterKernels(kernels, others)) {
    for (const value of facetValues(kernel, facet)) counts.set(value, counts.get(value)! + 1);
  }
  const byNumber = new Intl.Collator("en", { numeric: true }).compare;
  return [...counts].sort(([a], [b]) => byNumber(a, b));
}
