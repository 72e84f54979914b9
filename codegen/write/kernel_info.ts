/** Rows as the runtime knows them, from their WGSL. */
import type { KernelInfo } from "../../src/kernels/kernel.ts";
import { workgroupBytes } from "../render/workgroup_bytes.ts";
import type { KernelRow } from "../kernels/kernel_row.ts";

/** The names of a kernel's overrides, in order. */
function overridesOf(wgsl: string): string[] {
  return [...wgsl.matchAll(/^override (\w+):/gm)].map(([, name]) => name!);
}

/** The manifest's row of a rendered kernel. */
export function kernelInfo({ name, bindings, span, reason }: KernelRow, wgsl: string): KernelInfo {
  return {
    name,
    bindings,
    overrides: overridesOf(wgsl),
    ...(span === undefined ? {} : { span }),
    workgroupBytes: workgroupBytes(wgsl),
    reason,
    load: () => Promise.resolve({ wgsl }),
  };
}
