/** Every kernel against the float64 oracle, one test a kernel. Two test files share the work, so that both cores have some. */
import assert from "node:assert/strict";
import {
  type CacheOptions,
  type KernelFamily,
  type KernelInfo,
  type KeyOptions,
  type KeyVariant,
  OPTIONAL_FEATURES,
  parseKernelName,
  parseScheme,
  type SchemeId,
} from "../mod.ts";
import { manifest } from "../generated/manifest.ts";
import { requestAdapter, requestTestDevice } from "../tools/adapter.ts";
import { kernelFeatures } from "../src/kernel_name.ts";
import { compareWithReference, type Move, type Scenario } from "./cache_oracle.ts";

/** Largest difference from float64, relative to the outputs' root mean square. */
const TOLERANCE = 2e-5;

/**
 * The same for kernels that round to f16. A `table16` counts from the middle of the grids; the codebooks here, whose
 * levels are exact in f32, all lie at one end, where it has fewer digits.
 */
const HALF_TOLERANCE = 1e-2;

const rows = manifest.map((kernel) => ({ kernel, parts: parseKernelName(kernel.name) }));

/**
 * Growth of one sequence by two tokens, beside another by one or none, over the edge of a page (tokens leave
 * the exact tier 5 tokens after they came), and a rollback. Every step has an entry of two tokens, so that a
 * kernel is compiled for one number of rows alone; tests/cache_test.ts covers the others.
 */
const MOVES: readonly Move[] = [
  { tokens: { 0: 2, 1: 1 } },
  ...Array.from({ length: 31 }, () => ({ tokens: { 0: 2 }, silent: true })),
  ...Array.from({ length: 5 }, () => ({ tokens: { 0: 2, 1: 1 } })),
  { tokens: { 0: 2, 1: 2 } },
  { truncate: 0, length: 73 },
  { tokens: { 0: 2 } },
  ...Array.from({ length: 30 }, () => ({ tokens: { 0: 2 }, silent: true })),
  { tokens: { 0: 2, 1: 1 } },
];

function options(
  keys: SchemeId,
  values: SchemeId,
  headDim: number,
  space: KeyOptions,
): CacheOptions {
  return {
    shape: { layers: 1, queryHeads: 2, keyValueHeads: 2, headDim },
    policy: { keys, values },
    keys: space,
    tiers: { sinks: 3, window: 2 },
    capacity: { sequences: 2, tokens: 200, sequenceTokens: 140, stepTokens: 4, appendTokens: 2 },
  };
}

/**
 * Keys coded with their rotary embedding turn by nothing here, because turned numbers are not exact in f32 and might be
 * coded otherwise than in float64; tests/rotated_cache_test.ts turns them.
 */
function keySpace(variant: KeyVariant, keys: SchemeId, headDim: number): KeyOptions {
  if (variant !== "rope") return { space: "as-scored" };
  const still = { inverseFrequencies: new Array<number>(headDim / 2).fill(0) };
  return {
    space: "pre-rope",
    rope: { layout: "half", theta: 10000, ...(parseScheme(keys).rotated ? still : {}) },
  };
}

/** What is run for a kernel that scores or attends, and how far it may be off. */
export function kernelScenario(kernel: KernelInfo): Scenario & { readonly tolerance: number } {
  const { schemes, size, variant, feature } = parseKernelName(kernel.name);
  const [keys, values = keys] = schemes as [SchemeId, SchemeId?];
  const half = variant === "table16" || feature === "f16";
  return {
    options: options(keys, values, size!, keySpace(variant!, keys, size!)),
    kernels: offering([kernel]),
    moves: MOVES,
    tolerance: half ? HALF_TOLERANCE : TOLERANCE,
  };
}

/** The manifest with only the given kernels among those that score or attend. */
function offering(kernels: readonly KernelInfo[]): KernelInfo[] {
  const others = rows.filter(({ parts }) => !["score", "attend"].includes(parts.family));
  return [...others.map(({ kernel }) => kernel), ...kernels];
}

/** Registers a test for every kernel of one family, and one that says that these tests reached `families`. */
export async function testKernels(
  family: KernelFamily,
  families: readonly KernelFamily[],
): Promise<void> {
  const { adapter } = await requestAdapter();
  const requiredFeatures = OPTIONAL_FEATURES.filter((feature) => adapter.features.has(feature));
  const device = await requestTestDevice({ requiredFeatures });
  const runs = ({ name }: KernelInfo) =>
    kernelFeatures(parseKernelName(name)).every((feature) => device.features.has(feature));
  const run = new Set<string>();
  for (const { kernel, parts } of rows) {
    if (parts.family !== family) continue;
    const name = `${kernel.name} agrees with float64, its records bit for bit`;
    // What needs subgroups runs under Dawn, in tests/kernels_dawn_test.ts.
    Deno.test({ name, ignore: !runs(kernel) }, async () => {
      const { tolerance, ...scenario } = kernelScenario(kernel);
      const { plan, error } = await compareWithReference(device, {
        ...scenario,
        features: device.features,
      });
      const layer = plan.layers[0]!;
      for (const part of [layer, layer.decode, layer.prefill]) {
        for (const value of Object.values(part)) {
          if (typeof value === "object" && "load" in value) run.add(value.name);
        }
      }
      assert.ok(run.has(kernel.name), "the plan uses the kernel");
      assert.ok(error < tolerance, `the largest difference is ${error}`);
    });
  }

  Deno.test(`every kernel to ${families.join(", ")} was run against the oracle`, () => {
    const missed = rows.filter(({ kernel, parts }) =>
      families.includes(parts.family) && runs(kernel) && !run.has(kernel.name)
    );
    assert.deepEqual(missed.map(({ kernel }) => kernel.name), []);
  });
}
