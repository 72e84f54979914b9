/** The kernels the suites plan with: the package's, and those that it lacks for what is measured. */
import { expandTable } from "../../codegen/rows/expand.ts";
import { kernelInfo } from "../../codegen/write/kernel_info.ts";
import { createRenderer } from "../../codegen/render/render.ts";
import { userTable } from "../../codegen/rows/user_table.ts";
import { manifest } from "../../generated/manifest.ts";
import { templates } from "../../generated/templates.ts";
import type { KernelInfo, SchemeId } from "../../mod.ts";

const names = new Set(manifest.map(({ name }) => name));
const rendered = new Map<string, readonly KernelInfo[]>();

/** Kernels for schemes at a head dimension; ablations are in the package where they are compared, and rendered elsewhere. */
export function benchKernels(schemes: readonly SchemeId[], headDim: number): readonly KernelInfo[] {
  const missing = schemes.filter((scheme) => !names.has(`encode_${scheme}_d${headDim}`));
  if (missing.length === 0) return manifest;
  const key = `${[...missing].sort()} ${headDim}`;
  let kernels = rendered.get(key);
  if (kernels === undefined) {
    const renderer = createRenderer(templates);
    const rows = expandTable(userTable({ schemes: missing, headDims: [headDim] }));
    const others = rows.filter(({ name }) => !names.has(name))
      .map((row) => kernelInfo(row, renderer.render(row)));
    rendered.set(key, kernels = [...manifest, ...others]);
  }
  return kernels;
}
