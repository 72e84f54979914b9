/** Readable texts of kernels. */
import { expandTable } from "../codegen/rows/expand.ts";
import { TABLE } from "../codegen/package_table.ts";
import { createRenderer } from "../codegen/render/render.ts";
import { templates } from "../generated/templates.ts";
import type { KernelInfo } from "../src/kernels/kernel.ts";
import { kernels as ofPackage } from "./kernels.ts";

/**
 * The WGSL of kernels, whole and with comments.
 *
 * The package's kernels are minified, so they are rendered from their templates. A user's own are
 * returned as generated.
 */
export async function readableWgsl(kernels: readonly KernelInfo[]): Promise<readonly string[]> {
  const rows = new Map(expandTable(TABLE).map((row) => [row.name, row]));
  const { render } = createRenderer(templates);
  return await Promise.all(kernels.map(async (kernel) => {
    const row = ofPackage.includes(kernel) ? rows.get(kernel.name) : undefined;
    return row === undefined ? (await kernel.load()).wgsl.trimStart() : render(row);
  }));
}
