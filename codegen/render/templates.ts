/**
 * The texts of `templates/`: read from the folder, or written into a module that a published
 * package can load.
 */
import { readdirSync, readFileSync } from "node:fs";

/** Path in the folder of templates (`attention/attend.wgsl.hbs`, `attention/tiles.hbs`) to text. */
export type TemplateTexts = ReadonlyMap<string, string>;

/** Reads templates and partials of a folder and its subfolders, in the order of their paths. */
export function readTemplates(folder: URL): TemplateTexts {
  const within = (prefix: string): string[] =>
    readdirSync(new URL(prefix || ".", folder), { withFileTypes: true }).flatMap((entry) => {
      if (entry.isDirectory()) return within(`${prefix}${entry.name}/`);
      return entry.name.endsWith(".hbs") ? [prefix + entry.name] : [];
    });
  return new Map(
    within("").sort().map((path) => [path, readFileSync(new URL(path, folder), "utf8")]),
  );
}

/**
 * The module that holds the texts. Unlike a folder, a module is cached, checked by lock files and
 * bundled.
 */
export function templatesFile(texts: TemplateTexts): string {
  const entries = [...texts].map(([path, text]) => {
    const escaped = text.replaceAll("\\", "\\\\").replaceAll("`", "\\`").replaceAll("${", "\\${");
    return `  [${JSON.stringify(path)}, \`${escaped}\`],\n`;
  });
  return "// Generated from templates/ by `deno task generate`. Do not edit: change the templates.\n\n" +
    "/** The texts of templates/ by path, for generation outside of the repository. */\n" +
    `export const templates: ReadonlyMap<string, string> = new Map([\n${entries.join("")}]);\n`;
}
