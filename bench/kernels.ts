/** The kernels the suites plan with. */
export { manifest as KERNELS } from "../generated/manifest.ts";
