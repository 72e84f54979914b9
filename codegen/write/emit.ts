/** Everything that is generated, as text. */
import { parseKernelName } from "../../src/kernels/name.ts";
import { kernelSetName } from "../../src/kernels/set.ts";
import type { KernelRow } from "../kernels/kernel_row.ts";
import {
  isPackage,
  kernelSetFile,
  kernelSets,
  manifestFile,
  setFolder,
  setPath,
} from "./kernel_sets.ts";
import type { Renderer } from "../render/render.ts";

/** Path in the folder of generated files to content. */
export type GeneratedFiles = ReadonlyMap<string, string>;

/** @param template The template's path in `templates/`. */
function kernelFile(row: KernelRow, wgsl: string, template: string, types: string): string {
  const origin = isPackage(types)
    ? `// Generated from templates/${template} by \`deno task generate\`. Do not edit: change the template, or\n` +
      `// the row in codegen/variants.ts (${row.reason}).\n\n`
    : `// Generated from ${template} by @couplet/kv/generate. Do not edit: generate it again.\n\n`;
  return origin +
    `/** WGSL of \`${row.name}\`. */\n` +
    `export const wgsl: string = \`\n${wgsl.replaceAll("\\", "\\\\").replaceAll("`", "\\`")}\`;\n`;
}

/** A kernel is in the folder of its set. */
function kernelPath(name: string): string {
  return `${setFolder(kernelSetName(parseKernelName(name)))}/${name}.wgsl.ts`;
}

function renderAll(rows: readonly KernelRow[], renderer: Renderer): Map<string, string> {
  return new Map(rows.map((row) => [row.name, renderer.render(row)]));
}

function kernelFiles(
  rows: readonly KernelRow[],
  texts: ReadonlyMap<string, string>,
  renderer: Renderer,
  types: string,
): [path: string, text: string][] {
  return rows.map((row) => [
    kernelPath(row.name),
    kernelFile(row, texts.get(row.name)!, renderer.pathOf(row), types),
  ]);
}

/**
 * The modules of single kernels alone, which any part of the rows has.
 *
 * @param types As {@linkcode emitFiles} takes it.
 */
export function emitKernels(
  rows: readonly KernelRow[],
  renderer: Renderer,
  types: string,
): GeneratedFiles {
  return new Map(kernelFiles(rows, renderAll(rows, renderer), renderer, types));
}

/**
 * The kernels, their sets and the manifest.
 *
 * @param types Module the manifest imports `KernelInfo` from: relative to the manifest, or bare.
 */
export function emitFiles(
  rows: readonly KernelRow[],
  renderer: Renderer,
  types: string,
): GeneratedFiles {
  const texts = renderAll(rows, renderer);
  const sets = kernelSets(rows);
  const setTypes = types.startsWith(".") ? `../${types}` : types;
  return new Map([
    ...kernelFiles(rows, texts, renderer, types),
    ...sets.map((set): [string, string] => [
      setPath(set.name),
      kernelSetFile(set, texts, setTypes),
    ]),
    ["manifest.ts", manifestFile(sets, types)],
  ]);
}
