/** The kernels the page shows, with what their names say. */
import { manifest } from "../../../generated/manifest.ts";
import { type KernelInfo, type KernelNameParts, parseKernelName } from "../../../mod.ts";

/** A kernel and its parsed name. */
export interface NamedKernel {
  /** Its row of the manifest. */
  readonly info: KernelInfo;
  /** What its name says. */
  readonly parts: KernelNameParts;
}

/** Every generated kernel, in the manifest's order. */
export const kernels: readonly NamedKernel[] = manifest.map((info) => ({
  info,
  parts: parseKernelName(info.name),
}));

const byName: ReadonlyMap<string, NamedKernel> = new Map(
  kernels.map((kernel) => [kernel.info.name, kernel]),
);

/** The kernel of a name, or undefined where there is none. */
export function findKernel(name: string): NamedKernel | undefined {
  return byName.get(name);
}
