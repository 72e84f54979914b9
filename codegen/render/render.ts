/** Renders kernels from templates, and refuses names that are unknown or unused. */
import Handlebars from "handlebars";
import { BINDING_TYPES, bindingSpace } from "../../src/kernels/bindings.ts";
import { CoupletError } from "../../src/base/errors.ts";
import type { KernelRow, TemplateValue } from "../kernels/kernel_row.ts";
import type { Renderer } from "./renderer.ts";
import type { TemplateTexts } from "./templates.ts";

type Compiled = (context: unknown) => string;

/**
 * Called with each parsed template before it is compiled. It may change it in place.
 *
 * @param file The template's path in `templates/`.
 */
export type PrepareTemplate = (template: hbs.AST.Program, file: string) => void;

/**
 * A context that reports unknown names, which Handlebars' strict mode misses in helper arguments,
 * and remembers the used ones.
 */
function audited(path: string, context: object, used: Set<string>): object {
  return new Proxy(context, {
    get(target, name, receiver) {
      if (typeof name === "symbol" || name === "length" || name in Object.prototype) {
        return Reflect.get(target, name, receiver);
      }
      if (!Object.hasOwn(target, name)) {
        throw new CoupletError("usage", {
          what: "Cannot render a template",
          why: `it uses "${path}${name}", which the row does not define`,
          remedy: "Correct the template, or define the name in codegen/rows/expand.ts",
        });
      }
      used.add(path + name);
      const value = Reflect.get(target, name, receiver) as TemplateValue;
      if (Array.isArray(value)) {
        return value.map((item) => audited(`${path}${name}.`, item, used));
      }
      return typeof value === "object" ? audited(`${path}${name}.`, value, used) : value;
    },
  });
}

function namesOf(path: string, context: TemplateValue): string[] {
  if (Array.isArray(context)) return context.flatMap((item) => namesOf(path, item));
  if (typeof context !== "object") return [];
  return Object.entries(context).flatMap(([name, value]) => [
    path + name,
    ...namesOf(`${path}${name}.`, value),
  ]);
}

/**
 * Compiles templates, after `prepare` has seen each. A template is found by its file name,
 * `<name>.wgsl.hbs`, and a partial by its own, `<name>.hbs`, in any folder.
 *
 * @throws {CoupletError} `usage` where two files have one name.
 */
export function createRenderer(
  texts: TemplateTexts,
  prepare: PrepareTemplate = () => {},
): Renderer {
  const handlebars = Handlebars.create();
  const unused = new Set(texts.keys());
  const options = { noEscape: true, strict: true, preventIndent: true };
  function compile(text: string, file: string): Compiled {
    const template = handlebars.parse(text);
    prepare(template, file);
    return handlebars.compile(template, options);
  }
  const templates = new Map<string, { readonly path: string; readonly compiled: Compiled }>();
  const places = new Map<string, string>();
  for (const [path, text] of texts) {
    const file = path.slice(path.lastIndexOf("/") + 1);
    const other = places.get(file);
    if (other !== undefined) {
      throw new CoupletError("usage", {
        what: "Cannot read the templates",
        why: `${other} and ${path} have one name`,
        remedy: "Rename one of them",
      });
    }
    places.set(file, path);
    if (file.endsWith(".wgsl.hbs")) {
      templates.set(file.slice(0, -".wgsl.hbs".length), { path, compiled: compile(text, path) });
      continue;
    }
    const partial = file.slice(0, -".hbs".length);
    const compiled = compile(text.trimEnd() + "\n", path);
    handlebars.registerPartial(partial, (context: unknown, runtime: unknown) => {
      unused.delete(path);
      return (compiled as (c: unknown, r: unknown) => string)(context, runtime);
    });
  }

  function templateOf(row: KernelRow) {
    const template = templates.get(row.template);
    if (template !== undefined) return template;
    throw new CoupletError("usage", {
      what: `Cannot render ${row.name}`,
      why: `there is no template "${row.template}"`,
      remedy: `Write ${row.template}.wgsl.hbs in a folder of templates/`,
    });
  }

  return {
    render(row) {
      const { path, compiled } = templateOf(row);
      const bindings = row.bindings.map((binding, index) => ({
        index,
        name: binding,
        space: bindingSpace(binding),
        type: BINDING_TYPES[binding],
      }));
      const context = { ...row.context, bindings };
      const used = new Set<string>();
      const text = compiled(audited("", context, used));
      unused.delete(path);
      const idle = namesOf("", context).filter((name) => !used.has(name));
      if (idle.length > 0) {
        throw new CoupletError("usage", {
          what: `Cannot render ${row.name}`,
          why: `the template does not use ${idle.join(", ")}`,
          remedy: "Remove the names from codegen/rows/expand.ts, or use them",
        });
      }
      return text.replaceAll(/\n{3,}/g, "\n\n").trim() + "\n";
    },
    pathOf: (row) => templateOf(row).path,
    unusedTemplates: () => [...unused].sort(),
  };
}
