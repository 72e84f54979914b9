/** The entries that export the package's kernels. */
import { manifest as ofPackage } from "../generated/manifest.ts";
import type { KernelInfo } from "../src/kernels/kernel.ts";
import { type KernelNameParts, parseKernelName } from "../src/kernels/name.ts";
import { kernelSetEntry, kernelSetName } from "../src/kernels/set.ts";

/**
 * The entry that holds a kernel; undefined for those that many entries hold, and for a user's own.
 */
export function kernelEntry(kernel: KernelInfo): string | undefined {
  const parts = parseKernelName(kernel.name);
  const shared = parts.schemes.length === 0 && !parts.family.startsWith("kmeans");
  return shared || !ofPackage.includes(kernel) ? undefined : kernelSetEntry(kernelSetName(parts));
}

/** The entries that hold all of some kernels, without those included in another. */
export function kernelEntries(kernels: readonly KernelInfo[]): readonly string[] {
  const pairs = kernels.map(({ name }) => parseKernelName(name)).filter(isPair);
  const needed = kernels.filter(({ name }) => {
    const parts = parseKernelName(name);
    return isPair(parts) ||
      !pairs.some((pair) =>
        pair.size === parts.size && parts.schemes.every((scheme) => pair.schemes.includes(scheme))
      );
  });
  return [...new Set(needed.flatMap((kernel) => kernelEntry(kernel) ?? []))].sort();
}

/** Whether an entry of its own holds the kernel, and with it those of both schemes. */
function isPair({ schemes }: KernelNameParts): boolean {
  return new Set(schemes).size === 2;
}
