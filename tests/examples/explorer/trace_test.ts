import assert from "node:assert/strict";
import { expandTable } from "../../../codegen/rows/expand.ts";
import { TABLE } from "../../../codegen/package_table.ts";
import { kernelLines, lineSources } from "../../../examples/explorer/trace/kernel_trace.ts";
import { findKernel } from "../../../examples/explorer/page/kernels.ts";
import { createTracer } from "../../../examples/explorer/trace/trace_templates.ts";
import { refuses } from "../../helpers/refusals.ts";

/** One head dimension has every template and partial. */
const rows = expandTable(TABLE).filter(({ name }) => !/_d(80|96|128|256)/.test(name));

Deno.test("createTracer().trace names for every line the template's line that gives it", async () => {
  const tracer = createTracer();
  const templates = new Map<string, string[]>();
  const read = (file: string) => {
    const url = new URL(`../../../templates/${file}`, import.meta.url);
    if (!templates.has(file)) templates.set(file, Deno.readTextFileSync(url).split("\n"));
    return templates.get(file)!;
  };
  for (const row of rows) {
    const { wgsl } = await findKernel(row.name)!.info.load();
    const trace = tracer.trace(row, wgsl);
    const sources = lineSources(trace);
    const lines = kernelLines(wgsl);
    assert.equal(sources.length, lines.length);
    // Put back what the row wrote, last first, so that columns stay what they are.
    for (const [line, start, end, name] of [...trace.values].reverse()) {
      const text = lines[line]!;
      lines[line] = `${text.slice(0, start)}{{${name}}}${text.slice(end)}`;
    }
    lines.forEach((text, i) => {
      const { file, line } = sources[i]!;
      const template = read(file)[line]!;
      // A line with a loop in it is written several times over; a blank one may stand for a statement.
      if (template.includes("{{#") || text === "") return;
      assert.equal(text, template, `${row.name}:${i + 1} from ${file}:${line + 1}`);
    });
  }
});

Deno.test("createTracer().trace marks the partials that a row chose", async () => {
  const [row] = rows.filter(({ name }) => name === "attend_c8b8_c8b8_d64_plain");
  const { wgsl } = await findKernel(row!.name)!.info.load();
  const { files, chosen } = createTracer().trace(row!, wgsl);
  const lines = kernelLines(wgsl);
  for (
    const [file, text] of [
      ["score_plain", "fn score_tokens("],
      ["chunks_wide", "fn key_chunks("],
      ["chunks_wide", "fn value_chunks("],
      ["codes_word", "fn value_codes("],
    ]
  ) {
    const parts = chosen.filter(([, , index]) => files[index]!.endsWith(`/${file}.hbs`))
      .map(([first, last]) => lines.slice(first, last + 1).join("\n"));
    assert.equal(parts.filter((part) => part.includes(text!)).length, 1, `${text}`);
  }
  assert.ok(!files.includes("attention/rope/score_rope.hbs"));
});

Deno.test("createTracer().trace refuses a kernel that the templates do not give", async () => {
  const [row] = rows;
  const { wgsl } = await findKernel(row!.name)!.info.load();
  refuses("file", () => createTracer().trace(row!, wgsl.replace("fn main", "fn other")));
});
