/** What renders kernels, apart from Handlebars, whose types users of the generator lack. */
import type { KernelRow } from "../kernels/kernel_row.ts";

/** The templates, compiled, with a record of which partials were used. */
export interface Renderer {
  /** The WGSL of one row. */
  render(row: KernelRow): string;
  /** The path in `templates/` of the template that a row is rendered from. */
  pathOf(row: KernelRow): string;
  /** Template files that no row rendered so far has used. */
  unusedTemplates(): string[];
}
