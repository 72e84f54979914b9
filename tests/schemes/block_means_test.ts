/** Means of blocks as whole numbers of a shared step. */
import assert from "node:assert/strict";
import { readMeans, writeMeans } from "../../src/schemes/block_means.ts";

/** Means of two bytes, how they are read, and their step. */
const MEANS: readonly {
  readonly what: string;
  readonly means: readonly number[];
  readonly read: readonly number[];
  readonly step: number;
}[] = [
  {
    what: "keeps multiples of the step that the largest mean allows",
    means: [2000, -2000.0625, 0.125, 0],
    read: [2000, -2000.0625, 0.125, 0],
    step: 1 / 16,
  },
  {
    what: "rounds to the nearest step, ties to even",
    means: [1024, 0.04, -0.04, 0.03125, -0.09375],
    read: [1024, 0.0625, -0.0625, 0, -0.125],
    step: 1 / 16,
  },
  {
    what: "is as fine as small means are",
    means: [0.001, -0.0015],
    read: [Math.round(0.001 * 2 ** 24) / 2 ** 24, -Math.round(0.0015 * 2 ** 24) / 2 ** 24],
    step: 2 ** -24,
  },
  {
    what: "goes no further than its largest whole number",
    means: [32767.75, -32767.75],
    read: [32767, -32767],
    step: 1,
  },
  { what: "writes zeros as zeros", means: [0, -0], read: [0, 0], step: 2 ** -54 },
];

for (const { what, means, read, step } of MEANS) {
  Deno.test(`writeMeans() ${what}`, () => {
    const headDim = means.length + means.length % 2;
    const record = new Uint32Array(headDim / 2 + 1);
    writeMeans(record, Float64Array.from({ length: headDim }, (_, i) => means[i] ?? 0), 16);
    assert.deepEqual([...readMeans(record, headDim, 16)].slice(0, means.length), read);
    assert.equal(new Float32Array(record.buffer).at(-1), step);
  });
}

Deno.test("writeMeans() writes means of one byte with a step 256 times as large", () => {
  const record = new Uint32Array(3);
  writeMeans(record, Float64Array.of(100, -1, 3, 0.4), 8);
  assert.deepEqual([...readMeans(record, 4, 8)], [100, -1, 3, 0]);
  assert.equal(record[0], 0x0003ff64);
});
