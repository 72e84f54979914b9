import assert from "node:assert/strict";
import {
  type CacheOptions,
  type KernelInfo,
  type KeyOptions,
  type KeyVariant,
  manifest,
  parseKernelName,
  type SchemeId,
} from "../mod.ts";
import { requestTestDevice } from "../tools/adapter.ts";
import { compareWithReference, type Move } from "./cache_oracle.ts";

/** Largest difference from float64, relative to the outputs' root mean square. */
const TOLERANCE = 2e-5;

const rows = manifest.map((kernel) => ({ kernel, parts: parseKernelName(kernel.name) }));

/** Lengths 1, odd ones, and both sides of a page's edge; sequences of different lengths in one step. */
const MOVES: readonly Move[] = [
  { tokens: { 0: 1 } },
  { tokens: { 0: 6, 1: 3 } },
  { tokens: { 0: 61, 1: 1 } },
  { tokens: { 0: 1 } },
  { tokens: { 0: 1, 1: 64 } },
  { tokens: { 0: 1, 1: 5 } },
  { tokens: { 0: 1 } },
  { truncate: 0, length: 67 },
  { tokens: { 0: 5 } },
];

function options(keys: SchemeId, values: SchemeId, headDim: number, space: KeyOptions): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 6, keyValueHeads: 2, headDim },
    policy: { keys, values },
    keys: space,
    tiers: { sinks: 3, window: 2 },
    capacity: { sequences: 2, tokens: 200, sequenceTokens: 140, stepTokens: 70, appendTokens: 64 },
  };
}

function keySpace(variant: KeyVariant): KeyOptions {
  return variant === "rope"
    ? { space: "pre-rope", rope: { layout: "half", theta: 10000 } }
    : { space: "as-scored" };
}

/** The manifest with only the given kernels among those that score or attend. */
function offering(kernels: readonly KernelInfo[]): KernelInfo[] {
  const others = rows.filter(({ parts }) => !["score", "attend"].includes(parts.family));
  return [...others.map(({ kernel }) => kernel), ...kernels];
}

const device = await requestTestDevice();
const run = new Set<string>();

for (const { kernel, parts } of rows) {
  if (parts.variant === undefined) continue;
  const [keys, values = keys] = parts.schemes as [SchemeId, SchemeId?];
  Deno.test(`${kernel.name} agrees with float64, its records bit for bit`, async () => {
    const { plan, error } = await compareWithReference(device, {
      options: options(keys, values, parts.size, keySpace(parts.variant!)),
      kernels: offering([kernel]),
      moves: MOVES,
    });
    const layer = plan.layers[0]!;
    for (const part of [layer, layer.decode, layer.prefill]) {
      for (const value of Object.values(part)) {
        if (typeof value === "object" && "load" in value) run.add(value.name);
      }
    }
    assert.ok(run.has(kernel.name), "the plan uses the kernel");
    assert.ok(error < TOLERANCE, `the largest difference is ${error}`);
  });
}

Deno.test("every kernel of the cache was run against the oracle", () => {
  const missed = rows.filter(({ kernel, parts }) =>
    !parts.family.startsWith("kmeans_") && !run.has(kernel.name)
  );
  assert.deepEqual(missed.map(({ kernel }) => kernel.name), []);
});
