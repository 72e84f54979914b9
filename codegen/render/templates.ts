/** The texts of `templates/`: read from the folder, or written into a module that a published package can load. */

/** Path in the folder of templates (`attend.wgsl.hbs`, `partials/tiles.hbs`) to text. */
export type TemplateTexts = ReadonlyMap<string, string>;

/** Reads a folder of templates and of partials, in the order of their names. */
export function readTemplates(folder: URL): TemplateTexts {
  const names = (prefix: string, ending: string): string[] =>
    [...Deno.readDirSync(new URL(prefix, folder))]
      .filter(({ name }) => name.endsWith(ending))
      .map(({ name }) => prefix + name)
      .sort();
  const paths = [...names("", ".wgsl.hbs"), ...names("partials/", ".hbs")];
  return new Map(paths.map((path) => [path, Deno.readTextFileSync(new URL(path, folder))]));
}

/** The module that holds the texts. A module is cached, checked by lock files and bundled, as a folder is not. */
export function templatesFile(texts: TemplateTexts): string {
  const entries = [...texts].map(([path, text]) => {
    const escaped = text.replaceAll("\\", "\\\\").replaceAll("`", "\\`").replaceAll("${", "\\${");
    return `  [${JSON.stringify(path)}, \`${escaped}\`],\n`;
  });
  return "// Generated from templates/ by `deno task generate`. Do not edit: change the templates.\n\n" +
    "/** The texts of templates/ by path, for generation outside of the repository. */\n" +
    `export const templates: ReadonlyMap<string, string> = new Map([\n${entries.join("")}]);\n`;
}
