import assert from "node:assert/strict";
import { manifest } from "../../generated/manifest.ts";
import { type Capacity, planCache } from "../../mod.ts";
import { drawCapacity } from "../../tools/draw_capacity.ts";

const page = await Deno.readTextFile(new URL("../../docs/capacity.md", import.meta.url));

const BASE: Capacity = {
  sequences: 4,
  tokens: 16384,
  sequenceTokens: 8192,
  stepTokens: 512,
  appendTokens: 256,
};

function bytesOf(capacity: Capacity) {
  return planCache({
    shape: { layers: 16, queryHeads: 32, keyValueHeads: 8, headDim: 64 },
    policy: { keys: "c8b8", values: "c8b8" },
    keys: { space: "pre-rope", rope: { layout: "half", theta: 500000 } },
    tiers: { sinks: 4, window: 64 },
    capacity,
    kernels: manifest,
  }).bytes;
}

function mebibytes(bytes: number): string {
  return (bytes / 2 ** 20).toFixed(1);
}

Deno.test("docs/capacity.md: the costs of the numbers are the planner's", () => {
  const base = bytesOf(BASE);
  const written = new Map(
    [...page.matchAll(/^\| (\S+) +\| +([\d.]+) \| (.*?) *\|$/gm)]
      .map(([, name, cost, text]) => [name!.replaceAll("`", ""), [cost!, text!]] as const),
  );
  assert.deepEqual(
    [...written].map(([name, [cost]]) => [name, cost]),
    [
      ["nothing", mebibytes(base.total)],
      ...Object.entries(BASE).map(([name, number]) => [
        name,
        mebibytes(bytesOf({ ...BASE, [name]: 2 * number }).total - base.total),
      ]),
    ],
  );
  assert.deepEqual(
    written.get("nothing")![1].match(/[\d.]+/g),
    [base.codes, base.exact, base.codebooks, base.scratch].map(mebibytes),
  );
  assert.ok(
    page.includes(
      JSON.stringify(BASE).replaceAll(/"/g, "").replaceAll(/([:,{])/g, "$1 ").replace("}", " }"),
    ),
  );
});

Deno.test("docs/pictures/capacity.svg is what tools/draw_capacity.ts draws", async () => {
  const path = new URL("../../docs/pictures/capacity.svg", import.meta.url);
  assert.equal(drawCapacity(), await Deno.readTextFile(path));
});
