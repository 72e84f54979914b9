/** Everything that is generated, as text. */
import { parseKernelName } from "../../src/kernels/name.ts";
import { kernelSetName } from "../../src/kernels/set.ts";
import type { KernelRow } from "../kernels/kernel_row.ts";
import { isPackage, kernelSetFiles, kernelSets, manifestFiles, setFolder } from "./kernel_sets.ts";
import { annotation, modulePath, type ModuleStyle, scopeFiles } from "./module_style.ts";
import type { Renderer } from "../render/renderer.ts";

/** Path in the folder of generated files to content. */
export type GeneratedFiles = ReadonlyMap<string, string>;

/** @param template The template's path in `templates/`. */
function kernelFile(
  row: KernelRow,
  wgsl: string,
  template: string,
  style: ModuleStyle,
): string {
  const origin = isPackage(style)
    ? `// Generated from templates/${template} by \`deno task generate\`. Do not edit: change the template, or\n` +
      `// the row in codegen/variants.ts (${row.reason}).\n\n`
    : `// Generated from ${template} by @couplet/kv/generate. Do not edit: generate it again.\n\n`;
  return origin +
    `/** WGSL of \`${row.name}\`. */\n` +
    `export const wgsl${annotation("string", style)} = \`\n${
      wgsl.replaceAll("\\", "\\\\").replaceAll("`", "\\`")
    }\`;\n`;
}

/** A kernel is in the folder of its set. */
function kernelPath(name: string, style: ModuleStyle): string {
  return modulePath(`${setFolder(kernelSetName(parseKernelName(name)))}/${name}.wgsl`, style);
}

function renderAll(rows: readonly KernelRow[], renderer: Renderer): Map<string, string> {
  return new Map(rows.map((row) => [row.name, renderer.render(row)]));
}

function kernelFiles(
  rows: readonly KernelRow[],
  texts: ReadonlyMap<string, string>,
  renderer: Renderer,
  style: ModuleStyle,
): [path: string, text: string][] {
  return rows.map((row) => [
    kernelPath(row.name, style),
    kernelFile(row, texts.get(row.name)!, renderer.pathOf(row), style),
  ]);
}

/** The modules of single kernels alone, which any part of the rows has. */
export function emitKernels(
  rows: readonly KernelRow[],
  renderer: Renderer,
  style: ModuleStyle,
): GeneratedFiles {
  return new Map(kernelFiles(rows, renderAll(rows, renderer), renderer, style));
}

/** The kernels, their sets and the manifest. */
export function emitFiles(
  rows: readonly KernelRow[],
  renderer: Renderer,
  style: ModuleStyle,
): GeneratedFiles {
  const texts = renderAll(rows, renderer);
  const sets = kernelSets(rows);
  return new Map([
    ...kernelFiles(rows, texts, renderer, style),
    ...sets.flatMap((set) => kernelSetFiles(set, texts, style)),
    ...manifestFiles(sets, style),
    ...scopeFiles(style),
  ]);
}
