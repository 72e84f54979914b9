/** README's figures of the demo, as the demo prints them. */
import assert from "node:assert/strict";
import { PUBLISHED, readCounts } from "../../bench/count/results.ts";
import { explainRows, formatRows, type Memory, type Row } from "../../examples/demo/report.ts";
import { parseSchemePairs } from "../../examples/demo/scheme_pairs.ts";
import { assertNarrow, NARROW } from "../helpers/width.ts";

const README = await Deno.readTextFile(new URL("../../README.md", import.meta.url));

/** The block that begins with the demo's table. */
const BLOCK = /```text\n( +\| effective bits[\s\S]*?)\n```/.exec(README)![1]!;

const SETTINGS = { window: 64, sinks: 4 };

/** Figures of a table's lines, by the schemes that they begin with: those of each group. */
function figuresOf(table: string): ReadonlyMap<string, readonly (readonly string[])[]> {
  return new Map(
    table.split("\n").slice(3).map((line) => {
      const [first, ...groups] = line.split("|").map((part) => part.trim().split(/\s+/));
      return [first![0]!, [first!.slice(1), ...groups]];
    }),
  );
}

function quality([perplexity, change, divergence, agreement]: readonly string[]) {
  // What rounds to zero keeps its sign.
  const sign = change!.startsWith("-") ? -1e-6 : 0;
  return {
    tokens: 0,
    perplexity: Number(perplexity),
    perplexityChange: parseFloat(change!) / 100 + sign,
    divergence: Number(divergence),
    agreement: parseFloat(agreement!) / 100,
  };
}

/** The rows that the block shows, rounded as it shows them. */
function shownRows(): Row[] {
  const [sizes, qualities] = BLOCK.split("\n\n").map(figuresOf);
  const scratch = /scratch, (\d+) to (\d+)\s+KiB/.exec(BLOCK)!.slice(1).map(Number);
  return [...sizes!].map(([id, groups], i): Row => {
    const [[bits], effective, [kib, times], [ms, slower]] = groups as string[][] as [
      string[],
      string[],
      string[],
      string[],
    ];
    const [, codesAlone, withTiers] = qualities!.get(id)!;
    const memory = (sequences: number, tokens: number, which: number): Memory => ({
      sequences,
      tokens: sequences * tokens,
      bytes: Number(kib) * 1024,
      effectiveBits: Number(effective![which]),
      timesSmaller: Number(times),
    });
    const byKind = { codes: 0, exact: 0, codebooks: 0, tables: 0, spans: 0, total: 0 };
    return {
      pair: { ...parseSchemePairs(id).at(-1)!, bits: Number(bits) },
      memory: {
        run: {
          ...memory(4, 512, 0),
          byKind: { ...byKind, scratch: scratch[i === 0 ? 0 : 1]! * 1024 },
        },
        extrapolated: [memory(1, 4096, 1), memory(1, 32768, 2)],
      },
      codesAlone: quality(codesAlone!),
      withTiers: quality(withTiers!),
      attention: { milliseconds: Number(ms), timesUncompressed: Number(slower) },
    };
  });
}

Deno.test("README has the demo's tables as they are printed at 80 columns", async () => {
  const rows = shownRows();
  assert.ok(rows.length > 8);
  const counts = await readCounts(PUBLISHED);
  const printed = [formatRows(rows, SETTINGS, NARROW), explainRows(rows, SETTINGS, counts, NARROW)];
  assertNarrow(BLOCK);
  assert.equal(BLOCK, printed.join("\n\n"));
});
