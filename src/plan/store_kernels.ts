import type { KernelInfo } from "../kernels/kernel.ts";

/** The kernels that store new tokens exactly: the same one where both sides have as many channels. */
export interface StoreKernels {
  /** Stores keys. */
  readonly storeKeys: KernelInfo;
  /** Stores values. */
  readonly storeValues: KernelInfo;
}
