/**
 * Generates kernels that the package does not have: other code widths, other head dimensions, other
 * pairs of schemes whose attention is fused. The result is modules in TypeScript or in JavaScript.
 * Write them to a folder of your own, and pass their kernels to `planCache` as `kernels`.
 *
 * ```ts
 * import { generateKernels } from "@couplet/kv/generate";
 *
 * const files = generateKernels({ pairs: ["c4b6/c8b6"], headDims: [48] });
 * console.log([...files.keys()]); // kernels, sets of them, and manifest.ts
 * ```
 *
 * {@linkcode writeFiles} writes them, in Deno or Node; Deno needs permission to read and write the
 * folder:
 *
 * ```ts ignore
 * writeFiles(new URL("./my_kernels/", import.meta.url), files);
 * ```
 *
 * @module
 */
import { templates } from "../generated/templates.ts";
import { checkOptions } from "../src/base/check_options.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import { type Language, ofUser } from "./write/module_style.ts";
import { emitFiles, type GeneratedFiles } from "./write/emit.ts";
import { expandTable } from "./rows/expand.ts";
import { createRenderer } from "./render/render.ts";
import { otherTemplates } from "./schemes/find.ts";
import { USER_FIELDS, type UserRows, userTable } from "./rows/user_table.ts";

export { type Difference, writeFiles } from "./write/compare.ts";
export { plainMix, plainScore } from "./kernels/attention.ts";
export type { IntegerKernels } from "./kernels/integers.ts";
export {
  codecKernel,
  type Context,
  type KernelRow,
  type TemplateValue,
} from "./kernels/kernel_row.ts";
export { decodeRow, encoderSizes, loadedChunks, recordSizes } from "./schemes/common.ts";
export { type FamilyKernels, registerKernels } from "./schemes/find.ts";
export {
  type CodebookReads,
  encoderBindings,
  type SchemeKernels,
} from "./schemes/scheme_kernels.ts";
export type { GeneratedFiles, Language, SchemeId, UserRows };

/**
 * Generates modules of kernels for your own schemes, fused pairs and head dimensions: the kernels,
 * their sets, and the module `manifest`, which exports all kernels as `manifest`. They import types from
 * `@couplet/kv`.
 *
 * @throws {CoupletError} `scheme` where no family of schemes knows an id; `shape` where a scheme
 * does not divide a head dimension, or there are no kernels for it; `usage` where a pair is
 * malformed, or nothing is requested.
 */
export function generateKernels(rows: UserRows): GeneratedFiles {
  checkOptions("usage", "Cannot generate kernels", USER_FIELDS, rows);
  const texts = new Map([...templates, ...otherTemplates]);
  return emitFiles(expandTable(userTable(rows)), createRenderer(texts), ofUser(rows.language));
}
