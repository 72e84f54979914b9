/** Rows as the runtime knows them, with their WGSL at hand. */
import type { KernelInfo } from "../../src/kernels/kernel.ts";
import { workgroupBytes } from "../render/workgroup_bytes.ts";
import type { KernelRow } from "../kernels/kernel_row.ts";

/** The names of a kernel's overrides, in order. */
function overridesOf(wgsl: string): string[] {
  return [...wgsl.matchAll(/^override (\w+):/gm)].map(([, name]) => name!);
}

/** What the manifest says of a row whose WGSL was rendered. */
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
