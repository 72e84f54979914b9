/** What is published of the instructions of kernels; tests/ci/ceilings.ts holds kernels against it. */
import assert from "node:assert/strict";
import picomatch from "picomatch";
import { chooseKernels } from "../../../bench/count/count.ts";
import { COUNTED } from "../../../bench/count/kernels.ts";
import { PUBLISHED, readCounts } from "../../../bench/count/results.ts";
import { formatCounts } from "../../../bench/count/table.ts";
import { assertNarrow, NARROW } from "../../helpers/width.ts";
import { manifest } from "../../../generated/manifest.ts";

const published = await readCounts(PUBLISHED);

Deno.test("figures are published of all kernels that are counted without a name", () => {
  assert.deepEqual(
    published.counts.map(({ kernel }) => kernel),
    chooseKernels(manifest, COUNTED, picomatch).map(({ name }) => name),
  );
});

Deno.test("bench/README.md: counts are what was published", async () => {
  const text = await Deno.readTextFile(new URL("../../../bench/README.md", import.meta.url));
  const rows = text.split("**What a GPU's compiler makes of them.**")[1]!.split("\n")
    .filter((line) => /^\| `attend_/.test(line))
    .map((line) => line.split("|").slice(1, 6).map((cell) => cell.replaceAll("`", "").trim()));
  assert.ok(rows.length > 8);
  for (const row of rows) {
    const count = published.counts.find(({ kernel }) => kernel === row[0])!;
    const gathers = Object.values(count.gathers);
    const sum = (of: "count" | "bytes") => gathers.reduce((sum, own) => sum + own[of], 0);
    const spilled = count.spilled === 0 ? "" : ` (${count.spilled})`;
    assert.deepEqual(row.slice(1), [
      count.instructions.toFixed(0),
      count.loops.map((instructions) => instructions.toFixed(0)).join(" + "),
      `${count.registers}${spilled}`,
      gathers.length === 0 ? "–" : `${sum("count").toFixed(0)}, ${sum("bytes").toFixed(0)}`,
    ], row[0]!);
  }
});

Deno.test("formatCounts fits 80 columns", () => {
  assertNarrow(formatCounts(published, NARROW));
});
