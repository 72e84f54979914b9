/** How generated modules are written. */

/** The languages of generated modules. */
export const LANGUAGES = ["typescript", "javascript"] as const;

/**
 * The language of generated modules: TypeScript, whose modules import each other as `.ts` files, or
 * JavaScript with declarations beside it, for Node and for bundlers.
 */
export type Language = (typeof LANGUAGES)[number];

/** How modules are written. */
export interface ModuleStyle {
  /** Module that `KernelInfo` is imported from: relative to the manifest, or bare. */
  readonly types: string;
  readonly language: Language;
}

/** Modules of this package. */
export const OF_PACKAGE: ModuleStyle = {
  types: "../src/kernels/kernel.ts",
  language: "typescript",
};

/** Modules of a user. */
export function ofUser(language: Language = "typescript"): ModuleStyle {
  return { types: "@couplet/kv", language };
}

/** The path of a module. */
export function modulePath(path: string, { language }: ModuleStyle): string {
  return `${path}.${language === "typescript" ? "ts" : "js"}`;
}

/** The annotation of a constant's type, which JavaScript lacks. */
export function annotation(type: string, { language }: ModuleStyle): string {
  return language === "typescript" ? `: ${type}` : "";
}

/** An exported list of kernels. */
export interface KernelList {
  /** The module's path, without what its language adds. */
  readonly path: string;
  /** What the module begins with: its origin and its documentation. */
  readonly head: string;
  /** Imports of values. */
  readonly imports: string;
  /** Specifier of the module that `KernelInfo` is imported from. */
  readonly types: string;
  /** What stands before the list. */
  readonly before?: string;
  /** The list's documentation, name and value. */
  readonly doc: string;
  readonly name: string;
  readonly value: string;
}

/** The files of a list's module: itself, and in JavaScript its declarations. */
export function listFiles(
  { path, head, imports, types, before = "", doc, name, value }: KernelList,
  style: ModuleStyle,
): [path: string, text: string][] {
  const type = "readonly KernelInfo[]";
  const typeImport = `import type { KernelInfo } from "${types}";\n\n`;
  const documented = `/** ${doc} */\n`;
  const module = (types: string) =>
    `${head}${imports}${types}${before}${documented}` +
    `export const ${name}${annotation(type, style)} = ${value};\n`;
  if (style.language === "typescript") return [[modulePath(path, style), module(typeImport)]];
  return [
    [modulePath(path, style), module("\n")],
    [`${path}.d.ts`, `${head}${typeImport}${documented}export declare const ${name}: ${type};\n`],
  ];
}
