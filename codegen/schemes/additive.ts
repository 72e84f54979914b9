/** Kernels of normalised, additive codes. */
import { raise } from "../../src/base/raise.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";
import type { SchemeKernels } from "./scheme_kernels.ts";

/** The kernels of one scheme at one head dimension. */
export function additiveKernels({ id }: Scheme, _headDim: number): SchemeKernels {
  raise("scheme", `Cannot generate kernels for ${id}`, "it has none yet", "Use the reference");
}
