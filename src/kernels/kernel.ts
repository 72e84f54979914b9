import type { BindingName } from "./bindings.ts";

/**
 * One generated kernel: a row of the manifest. What its name says is read with `parseKernelName`.
 */
export interface KernelInfo {
  /** `<family>[_<scheme>[_<scheme>]]_(d<headDim>|c<channels>)[_<variant>][_<feature>]`. */
  readonly name: string;
  /** Resources of bind group 0, in order of their binding index. */
  readonly bindings: readonly BindingName[];
  /** Pipeline-overridable constants of the kernel. */
  readonly overrides: readonly string[];
  /** Most pages a workgroup scores at once (the override `SPAN`), for the attention families. */
  readonly span?: number;
  /** Bytes of workgroup memory at that number of pages. */
  readonly workgroupBytes: number;
  /** Why the generator's table has the row. */
  readonly reason: string;
  /** Loads the WGSL text. */
  readonly load: () => Promise<{ readonly wgsl: string }>;
}
