/** The limits of devices that plans check. */
import type { KernelLimits } from "../kernels/select.ts";

/** The limits a plan checks. */
export type PlanLimits =
  & KernelLimits
  & Pick<
    GPUSupportedLimits,
    "maxStorageBufferBindingSize" | "maxBufferSize" | "maxComputeWorkgroupsPerDimension"
  >;

/** WebGPU's default limits, which every device offers. */
export const BASE_LIMITS: PlanLimits = {
  maxComputeWorkgroupStorageSize: 16384,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeInvocationsPerWorkgroup: 256,
  maxStorageBufferBindingSize: 134217728,
  maxBufferSize: 268435456,
  maxComputeWorkgroupsPerDimension: 65535,
};

/** The same, with bindings of any size: for plans that say how large a binding they need. */
export const BOUNDLESS_LIMITS: PlanLimits = {
  ...BASE_LIMITS,
  maxStorageBufferBindingSize: Infinity,
  maxBufferSize: Infinity,
};
