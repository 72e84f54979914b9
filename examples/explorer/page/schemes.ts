/** The schemes that kernels are there for, and at which head dimensions. */
import { parseScheme, type SchemeId } from "../../../mod.ts";
import { kernels } from "./kernels.ts";

/** Head dimensions by scheme, of schemes for single tokens; those of fewer bits come first. */
export const schemeHeadDims: ReadonlyMap<SchemeId, readonly number[]> = collect();

function collect(): Map<SchemeId, readonly number[]> {
  const found = new Map<SchemeId, Set<number>>();
  for (const { parts: { schemes, size } } of kernels) {
    for (const scheme of schemes) {
      if (parseScheme(scheme).forSpans) continue;
      const sizes = found.get(scheme) ?? new Set();
      found.set(scheme, sizes.add(size!));
    }
  }
  const bits = (id: SchemeId) => parseScheme(id).bits;
  return new Map(
    [...found]
      .sort(([a], [b]) => bits(a) - bits(b) || (a < b ? -1 : 1))
      .map(([scheme, sizes]) => [scheme, [...sizes].sort((a, b) => a - b)]),
  );
}
