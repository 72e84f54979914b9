import type { KernelInfo } from "../../../mod.ts";
import type { VNode } from "preact";
import { useMemo, useState } from "preact/hooks";
import {
  kernelLines,
  type KernelTrace,
  type LineSource,
  lineSources,
} from "../trace/kernel_trace.ts";
import { CodeLine, type Emphasis } from "./code_line.tsx";
import { type Highlight, loadHighlighter, type Token } from "./highlight.ts";
import { errorParts } from "./error_parts.ts";
import { Problem } from "./problem.tsx";
import { loadTemplates, loadTrace, type Templates } from "./static_files.ts";
import { useAsync } from "./use_async.ts";

/** A line of a kernel, and where it comes from. */
interface SourceLine {
  readonly number: number;
  readonly tokens: readonly Token[];
  readonly values: readonly Emphasis[];
  readonly source: LineSource;
  /** The template's line where it is not the kernel's. */
  readonly template?: { readonly tokens: readonly Token[]; readonly marks: readonly Emphasis[] };
  /** Present where the file is another than that of the lines before. */
  readonly begins?: {
    /** Whether the row chose the file by name. */
    readonly byRow: boolean;
  };
  /** Whether the row chose the file, or one that includes it. */
  readonly chosen: boolean;
  /** Whether there is nothing on it. */
  readonly blank: boolean;
}

/** A kernel's text beside its template; what the row decided stands out. */
export function SourceView({ kernel }: { readonly kernel: KernelInfo }): VNode {
  const [beside, setBeside] = useState(true);
  const loaded = useAsync(async () => {
    const [{ wgsl }, trace, templates, highlight] = await Promise.all([
      kernel.load(),
      loadTrace(kernel.name),
      loadTemplates(),
      loadHighlighter(),
    ]);
    return sourceLines(wgsl, trace, templates, highlight);
  }, [kernel.name]);
  return (
    <section class="source" aria-labelledby="source-heading">
      <h2 id="source-heading">WGSL</h2>
      <div class="legend">
        <label>
          <input
            type="checkbox"
            checked={beside}
            onChange={({ currentTarget }) => setBeside(currentTarget.checked)}
          />
          Template beside it
        </label>
        <span>
          <mark>128</mark> is a value of the kernel's row
        </span>
        <span class="chosen-key">a bar: a part that the row chose</span>
      </div>
      {loaded.state === "pending" && <p class="progress">Loading …</p>}
      {loaded.state === "failed" && (
        <Problem parts={errorParts(loaded.error, `Cannot show ${kernel.name}`)} />
      )}
      {loaded.state === "done" && <SourceTable lines={loaded.value} beside={beside} />}
    </section>
  );
}

function SourceTable(
  { lines, beside }: { readonly lines: readonly SourceLine[]; readonly beside: boolean },
): VNode {
  return useMemo(() => (
    <table class={beside ? "code beside" : "code"}>
      <colgroup>
        {beside && (
          <>
            <col class="number" />
            <col />
          </>
        )}
        <col class="number" />
        <col />
      </colgroup>
      <thead class="unseen">
        <tr>
          {beside && (
            <>
              <th scope="col">Line of the template</th>
              <th scope="col">Template</th>
            </>
          )}
          <th scope="col">Line</th>
          <th scope="col">WGSL</th>
        </tr>
      </thead>
      <tbody>{lines.flatMap((line) => sourceRows(line, beside))}</tbody>
    </table>
  ), [lines, beside]);
}

function sourceRows(line: SourceLine, beside: boolean): VNode[] {
  const { number, tokens, values, source, template, begins, chosen, blank } = line;
  const row = (
    <tr key={number} class={[chosen && "chosen", template && "differs"].filter(Boolean).join(" ")}>
      {beside && (
        <>
          <td class="number template" data-line={blank ? undefined : source.line + 1} />
          <td class="template">
            <code>
              {template === undefined
                ? <CodeLine tokens={tokens} />
                : <CodeLine tokens={template.tokens} emphases={template.marks} />}
            </code>
          </td>
        </>
      )}
      <td class="number" data-line={number} />
      <td>
        <code>
          <CodeLine tokens={tokens} emphases={values} />
        </code>
      </td>
    </tr>
  );
  if (!beside || begins === undefined) return [row];
  const heading = (
    <tr key={`${number} file`} class={chosen ? "file chosen" : "file"}>
      <th colSpan={4} scope="rowgroup">
        templates/{source.file}
        {begins.byRow && <span class="tag">chosen by the row</span>}
      </th>
    </tr>
  );
  return [heading, row];
}

/** Joins a kernel's text and its trace, line by line. */
function sourceLines(
  wgsl: string,
  trace: KernelTrace,
  templates: Templates,
  highlight: Highlight,
): SourceLine[] {
  const lines = kernelLines(wgsl);
  const tokens = highlight(lines.join("\n"));
  const sources = lineSources(trace);
  const files = new Map(trace.files.map((file) => [file, templates[file]!.split("\n")]));
  const byRow = new Set(trace.chosen.map(([, , file]) => trace.files[file]!));
  const values = new Map<number, Emphasis[]>();
  for (const [line, start, end, title] of trace.values) {
    values.set(line, [...values.get(line) ?? [], { start, end, title }]);
  }
  let file: string | undefined;
  return lines.map((text, index): SourceLine => {
    const source = sources[index]!;
    const original = files.get(source.file)![source.line]!;
    const blank = text.trim() === "";
    const begins = !blank && source.file !== file;
    if (begins) file = source.file;
    return {
      number: index + 1,
      tokens: tokens[index]!,
      values: values.get(index) ?? [],
      source,
      ...(original === text || blank ? {} : {
        template: { tokens: highlight(original)[0]!, marks: placeholders(original) },
      }),
      ...(begins ? { begins: { byRow: byRow.has(file!) } } : {}),
      chosen: trace.chosen.some(([first, last]) => index >= first && index <= last),
      blank,
    };
  });
}

/** The parts of a template's line that the row fills. */
function placeholders(line: string): Emphasis[] {
  return [...line.matchAll(/\{\{.*?\}\}/g)].map(({ index, 0: text }) => ({
    start: index,
    end: index + text.length,
    title: "filled from the row",
  }));
}
