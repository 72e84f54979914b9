import type { BindingName } from "./kernel_bindings.ts";

/** One generated kernel: a row of the manifest. What its name says is read with `parseKernelName`. */
export interface KernelInfo {
  /** `<family>[_<scheme>[_<scheme>]]_(d<headDim>|c<channels>)[_<variant>]`. */
  readonly name: string;
  /** Resources of bind group 0, in order of their binding index. */
  readonly bindings: readonly BindingName[];
  /** Most query rows one workgroup serves (the override `ROWS`), for the attention families. */
  readonly rows?: number;
  /** Bytes of workgroup memory at that number of rows. */
  readonly workgroupBytes: number;
  /** Why the row is in the table. */
  readonly reason: string;
  /** Loads the WGSL text. */
  readonly load: () => Promise<{ readonly wgsl: string }>;
}
