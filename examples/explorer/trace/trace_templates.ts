/**
 * Finds out where each line of a kernel comes from. Every piece of every template gets a mark in front of it before it is
 * compiled; the generator's own renderer then renders rows as ever, and the marks say what each piece of the text was. Text
 * without its marks must be the kernel that is shipped.
 */
import { CoupletError } from "@couplet/kv";
import { createRenderer } from "../../../codegen/render/render.ts";
import type { KernelRow } from "../../../codegen/kernels/kernel_row.ts";
import { readTemplates } from "../../../codegen/render/templates.ts";
import { kernelLines, type KernelTrace, type LineSource } from "./kernel_trace.ts";

/** What a mark says of the text behind it. */
type Mark =
  | ({ readonly kind: "text" } & LineSource)
  | ({ readonly kind: "value"; readonly name: string } & LineSource)
  | { readonly kind: "call"; readonly chosen: boolean }
  | { readonly kind: "enter"; readonly file: string }
  | { readonly kind: "leave" };

/** The first code point of marks: a private one, which no template uses. */
const FIRST_MARK = 0xf0000;

/** Traces rows. */
export interface Tracer {
  /**
   * The trace of one row.
   *
   * @param wgsl The kernel as it is shipped.
   * @throws {CoupletError} `file` where the row and the templates give another text.
   */
  trace(row: KernelRow, wgsl: string): KernelTrace;
}

const TEMPLATES = new URL("../../../templates/", import.meta.url);

/** Reads `templates/`, or another folder, and marks them. */
export function createTracer(folder: URL = TEMPLATES): Tracer {
  const marks: Mark[] = [];
  const renderer = createRenderer(
    readTemplates(folder),
    (template, file) => markTemplate(template, file, marks),
  );
  return {
    trace(row, wgsl) {
      const text = readMarks(renderer.render(row), marks);
      return describe(row.name, wgsl, text, marks);
    },
  };
}

/** Puts marks in front of everything a template writes, and at its beginning and end. */
function markTemplate(template: hbs.AST.Program, file: string, marks: Mark[]): void {
  /** A statement that writes `text` behind a mark, or a mark alone. */
  function content({ loc }: hbs.AST.Node, mark: Mark, text = ""): PlainText {
    const value = String.fromCodePoint(FIRST_MARK + marks.length) + text;
    marks.push(mark);
    return { type: "ContentStatement", value, original: value, loc };
  }
  function inside(statement: hbs.AST.Statement): hbs.AST.Statement[] {
    const line = statement.loc.start.line - 1;
    if (isContent(statement)) {
      return contentLines(statement).map(([line, text]) =>
        content(statement, { kind: "text", file, line }, text)
      );
    }
    if (isMustache(statement)) {
      const name = (statement.path as hbs.AST.PathExpression).original;
      return [content(statement, { kind: "value", name, file, line }), statement];
    }
    if (isPartial(statement)) {
      const chosen = statement.name.type === "SubExpression";
      return [content(statement, { kind: "call", chosen }), statement];
    }
    if (isBlock(statement)) {
      for (const program of [statement.program, statement.inverse]) {
        if (program) program.body = program.body.flatMap(inside);
      }
    }
    return [statement];
  }
  template.body = [
    content(template, { kind: "enter", file }),
    ...template.body.flatMap(inside),
    content(template, { kind: "leave" }),
  ];
}

/** A piece of plain text, of whose `original` Handlebars's own types are wrong. */
interface PlainText extends hbs.AST.Statement {
  readonly value: string;
  /** The text before white space was taken off. */
  readonly original: string;
}

function isContent(node: hbs.AST.Statement): node is PlainText {
  return node.type === "ContentStatement";
}

function isMustache(node: hbs.AST.Statement): node is hbs.AST.MustacheStatement {
  return node.type === "MustacheStatement";
}

function isPartial(node: hbs.AST.Statement): node is hbs.AST.PartialStatement {
  return node.type === "PartialStatement";
}

function isBlock(node: hbs.AST.Statement): node is hbs.AST.BlockStatement {
  return node.type === "BlockStatement";
}

/** The lines of a piece of plain text, each with its line in the file. */
function contentLines(
  { value, original, loc }: PlainText,
): (readonly [line: number, text: string])[] {
  // Behind a line that holds nothing but a statement, Handlebars takes off the line's end.
  const removed = original.split("\n").length - value.split("\n").length;
  const first = loc.start.line - 1 + removed;
  return value.split(/(?<=\n)/).map((text, i) => [first + i, text] as const);
}

/** A rendered text without its marks, and what they said. */
interface MarkedText {
  readonly text: string;
  /** For each UTF-16 unit of the text, the index of the mark that says what it is. */
  readonly origins: Uint32Array;
  /** Where partials that the row chose begin and end. */
  readonly chosen: readonly {
    readonly file: string;
    readonly start: number;
    readonly end: number;
  }[];
}

function readMarks(rendered: string, marks: readonly Mark[]): MarkedText {
  const pieces: string[] = [];
  const origins = new Uint32Array(rendered.length);
  const chosen: { file: string; start: number; end: number }[] = [];
  const open: ({ file: string; start: number } | undefined)[] = [];
  let length = 0;
  let origin = 0;
  let called = false;
  for (const piece of rendered.split(/([\u{f0000}-\u{ffffd}])/u)) {
    const index = (piece.codePointAt(0) ?? 0) - FIRST_MARK;
    const mark = marks[index];
    if (mark === undefined) {
      origins.fill(origin, length, length + piece.length);
      length += piece.length;
      pieces.push(piece);
    } else if (mark.kind === "call") {
      called = mark.chosen;
    } else if (mark.kind === "enter") {
      open.push(called ? { file: mark.file, start: length } : undefined);
      called = false;
    } else if (mark.kind === "leave") {
      const partial = open.pop();
      if (partial !== undefined) chosen.push({ ...partial, end: length });
    } else {
      origin = index;
    }
  }
  return { text: pieces.join(""), origins: origins.subarray(0, length), chosen };
}

/** The trace of the shipped text: that of the rendered one, of which the renderer has taken off white space. */
function describe(
  name: string,
  wgsl: string,
  { text, origins, chosen }: MarkedText,
  marks: readonly Mark[],
): KernelTrace {
  const lines = kernelLines(wgsl);
  const from = alignWhiteSpace(name, lines.join("\n"), text);
  const files: string[] = [];
  const indexOf = (file: string) => {
    if (!files.includes(file)) files.push(file);
    return files.indexOf(file);
  };
  const runs: [number, number, number][] = [];
  const values: [number, number, number, string][] = [];
  const ranges = chosen.map(({ file }) => ({ file, first: Infinity, last: -Infinity }));
  let start = 0;
  for (const [line, content] of lines.entries()) {
    const lead = content.search(/\S/);
    const at = from[start + Math.max(0, lead)]!;
    const source = marks[origins[at]!] as Extract<Mark, LineSource>;
    const file = indexOf(source.file);
    const run = runs.at(-1);
    if (run !== undefined && run[1] === file && run[2] + run[0] === source.line) run[0]++;
    else runs.push([1, file, source.line]);

    let previous: number | undefined;
    for (let column = 0; column < content.length; column++) {
      const index = origins[from[start + column]!]!;
      const mark = marks[index]!;
      if (mark.kind === "value") {
        if (index === previous) values.at(-1)![2] = column + 1;
        else values.push([line, column, column + 1, mark.name]);
      }
      previous = index;
    }
    if (lead >= 0) {
      chosen.forEach((partial, i) => {
        if (at < partial.start || at >= partial.end) return;
        ranges[i]!.first = Math.min(ranges[i]!.first, line);
        ranges[i]!.last = line;
      });
    }
    start += content.length + 1;
  }
  return {
    files,
    runs,
    values,
    chosen: ranges
      .filter(({ last }) => last >= 0)
      .map(({ file, first, last }) => [first, last, indexOf(file)]),
  };
}

/**
 * For each UTF-16 unit of the shipped text, its index in the rendered one.
 *
 * @throws {CoupletError} `file` where the texts differ by more than white space that was taken off.
 */
function alignWhiteSpace(name: string, shipped: string, rendered: string): Uint32Array {
  const from = new Uint32Array(shipped.length);
  let at = 0;
  for (let i = 0; i < shipped.length; i++) {
    while (rendered.charCodeAt(at) !== shipped.charCodeAt(i)) {
      if (rendered[at] !== "\n" && rendered[at] !== " ") {
        throw new CoupletError("file", {
          what: `Cannot trace ${name} back to its templates`,
          why: `they give another text from character ${i} on`,
          remedy: "Run `deno task generate`",
        });
      }
      at++;
    }
    from[i] = at++;
  }
  return from;
}
