/**
 * No kernel may cost more on a GPU than published, by the count of the same compiler: a minute of compiling, and following
 * what it made. `.ci/run` runs this.
 *
 * @module
 */
import assert from "node:assert/strict";
import { countKernels } from "../../bench/count/count.ts";
import { PUBLISHED, readCounts, type TokenLoads } from "../../bench/count/results.ts";
import { manifest } from "../../generated/manifest.ts";
import { CoupletError } from "../../mod.ts";
import { compileForChip } from "../../tools/null_device.ts";

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
