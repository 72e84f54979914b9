/** No kernel may cost more on a GPU than published, by the count of the same compiler. */
import assert from "node:assert/strict";
import picomatch from "picomatch";
import { chooseKernels, countKernels } from "../../../bench/count/count.ts";
import { COUNTED } from "../../../bench/count/kernels.ts";
import { PUBLISHED, readCounts, type TokenLoads } from "../../../bench/count/results.ts";
import { manifest } from "../../../generated/manifest.ts";
import { CoupletError } from "../../../mod.ts";
import { compileForChip } from "../../../tools/null_device.ts";

/** Another order of instructions is no regression. */
const MARGIN = 1.01;

const published = await readCounts(PUBLISHED);

/** Why kernels cannot be compared with what was published; undefined where they can. */
async function whyNot(): Promise<string | undefined> {
  try {
    const { mesa, dawn } = await compileForChip([], published.family);
    if (mesa === published.mesa && dawn === published.dawn) return undefined;
    return `figures are of ${published.mesa}, Dawn ${published.dawn}; here are ${mesa}, Dawn ${dawn}`;
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    return error.parts.why;
  }
}

const reason = await whyNot();
if (reason !== undefined) {
  console.error(`NOT RUN: counts of a GPU's instructions, because ${reason}`);
}

Deno.test({
  name: "no kernel has more instructions, spills or gathers than published (bench/results/navi21)",
  ignore: reason !== undefined,
}, async () => {
  const named = new Set(published.counts.map(({ kernel }) => kernel));
  const kernels = manifest.filter(({ name }) => named.has(name));
  assert.equal(kernels.length, named.size);
  const { counts, refused } = await countKernels(kernels, published.family);
  assert.deepEqual(refused, []);
  const bytes = (loads: Readonly<Record<string, TokenLoads>>) =>
    Object.values(loads).reduce((sum, { bytes }) => sum + bytes, 0);
  const dearer = counts.flatMap((found) => {
    const ceiling = published.counts.find(({ kernel }) => kernel === found.kernel)!;
    const figures = [
      ["instructions", found.instructions, MARGIN * ceiling.instructions],
      ["spilled registers", found.spilled, ceiling.spilled],
      ["gathered bytes", bytes(found.gathers), bytes(ceiling.gathers)],
    ] as const;
    return figures.filter(([, value, most]) => value > most)
      .map(([what, value, most]) => `${found.kernel}: ${value} ${what}, at most ${most}`);
  });
  // Where that is meant: deno task bench count --json bench/results/navi21/count.json
  assert.deepEqual(dearer, []);
});

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
