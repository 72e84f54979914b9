/** The kernels that put tokens into the exact tier. */
import type { KernelInfo } from "../kernels/kernel.ts";
import { requireKernel } from "../kernels/select.ts";
import type { SideDims } from "../model/side.ts";
import type { PlanLimits } from "./limits.ts";

/** The kernels that store new tokens of a layer exactly. */
export interface StoreKernels {
  /** Stores keys, and values of as many channels. */
  readonly store: KernelInfo;
  /** Stores values; absent where they have as many channels as keys. */
  readonly storeValues?: KernelInfo;
}

/** The kernels that store tokens of a layer. */
export function findStores(
  kernels: readonly KernelInfo[],
  { headDim, valueHeadDim }: SideDims,
  limits: PlanLimits,
): StoreKernels {
  const find = (headDim: number) =>
    requireKernel(kernels, { family: "store", schemes: [], headDim }, limits);
  const store = find(headDim);
  return headDim === valueHeadDim ? { store } : { store, storeValues: find(valueHeadDim) };
}
