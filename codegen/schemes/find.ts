/** Finds the room of a scheme's family. */
import { parseScheme, type Scheme, type SchemeFamily, type SchemeId } from "../../src/scheme.ts";
import { coupledKernels } from "./coupled.ts";
import { hadamardKernels } from "./hadamard.ts";
import { halfKernels } from "./half.ts";
import type { SchemeKernels } from "./scheme_kernels.ts";
import { uniformKernels } from "./uniform.ts";

const ROOMS: Readonly<Record<SchemeFamily, (scheme: Scheme, headDim: number) => SchemeKernels>> = {
  half: halfKernels,
  coupled: coupledKernels,
  uniform: uniformKernels,
  hadamard: hadamardKernels,
};

/** The kernels of a scheme at one head dimension. */
export function schemeKernels(id: SchemeId, headDim: number): SchemeKernels {
  const scheme = parseScheme(id);
  return ROOMS[scheme.family](scheme, headDim);
}
