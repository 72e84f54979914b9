/**
 * Every kernel of a head dimension against the float64 oracle, one test a kernel that scores or attends. One test file
 * has one head dimension, because all of its kernels share what stores, encodes, decodes, mixes and combines.
 */
import assert from "node:assert/strict";
import {
  BASE_LIMITS,
  type CacheOptions,
  type CachePlan,
  type KernelFamily,
  type KernelInfo,
  type KernelNameParts,
  type KeyOptions,
  type KeyVariant,
  mropeSections,
  OPTIONAL_FEATURES,
  parseKernelName,
  parseScheme,
  type PlanLimits,
  type SchemeId,
  spanKinds,
} from "../../mod.ts";
import { manifest } from "../../generated/manifest.ts";
import { kernelFeatures } from "../../src/kernels/name.ts";
import { kernelPrecision } from "../../src/kernels/precision.ts";
import { requestAdapter, requestTestDevice } from "../../tools/adapter.ts";
import { compareWithRun, type Offer } from "./cache_oracle.ts";
import { TOLERANCES } from "./tolerances.ts";
import { type Move, ReferenceRun, type Scenario } from "./reference_run.ts";

/** Families that have tests of their own: forks copy, calibration clusters. */
const ELSEWHERE: readonly KernelFamily[] = [
  "copy",
  "restore",
  "page_table",
  "remap",
  "kmeans_assign",
  "kmeans_update",
  "kmeans_search",
];

const rows = manifest
  .map((kernel) => ({ kernel, parts: parseKernelName(kernel.name) }))
  .filter(({ parts }) => !ELSEWHERE.includes(parts.family));

/** The head dimensions that the manifest has kernels for; each needs a test file. */
export const testedHeadDims: readonly number[] = [
  ...new Set(rows.map(({ parts }) => parts.size!)),
];

/**
 * Growth of one sequence by two tokens, beside another by one or none, over the edge of a page (tokens leave
 * the exact tier 5 tokens after they came), and a rollback. Every step has an entry of two tokens, so that a
 * kernel is compiled for one number of rows alone; tests/cache/cache_test.ts covers the others.
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

/**
 * Keys coded with their rotary embedding, or a part of it, turn by nothing here, because turned numbers are not exact in
 * f32 and might be coded otherwise than in float64; tests/cache/hadamard_test.ts and tests/cache/anchored_test.ts turn
 * them.
 */
function keySpace(variant: KeyVariant, keys: SchemeId, headDim: number): KeyOptions {
  if (variant === "anchored") {
    const inverseFrequencies = Array.from(
      { length: headDim / 2 },
      (_, i) => i < 16 ? 1 / (1 + i) : 0,
    );
    return { space: "anchored", rope: { layout: "half", theta: 10000, inverseFrequencies } };
  }
  if (variant === "mrope") {
    const sections = headDim === 64
      ? mropeSections([11, 11, 10], { interleaved: true })
      : mropeSections([16, 24, 24]);
    return { space: "pre-rope", rope: { layout: "half", theta: 10000, sections } };
  }
  if (variant !== "rope") return { space: "as-scored" };
  const still = { inverseFrequencies: new Array<number>(headDim / 2).fill(0) };
  return {
    space: "pre-rope",
    rope: { layout: "half", theta: 10000, ...(parseScheme(keys).positional ? still : {}) },
  };
}

/** What a kernel that scores or attends is run on. */
function optionsFor({ schemes, size, variant }: KernelNameParts): CacheOptions {
  const [keys, values = keys] = schemes as [SchemeId, SchemeId?];
  const forSpans = [keys, values].some((id) => parseScheme(id).forSpans);
  return {
    shape: { layers: 1, queryHeads: 2, keyValueHeads: 2, headDim: size! },
    policy: forSpans ? { keys: "f16", values: "f16" } : { keys, values },
    ...(forSpans ? { spans: spanKinds({ span: { keys, values, tokens: 100, count: 1 } }) } : {}),
    keys: keySpace(variant!, keys, size!),
    tiers: { sinks: 3, window: 2 },
    capacity: { sequences: 2, tokens: 200, sequenceTokens: 140, stepTokens: 4, appendTokens: 2 },
  };
}

/** Limits under which tables of any size are planned: the planner leaves out those that take much of the largest binding. */
const LIMITS: PlanLimits = { ...BASE_LIMITS, maxStorageBufferBindingSize: 2 ** 32 };

/** How far a kernel that scores or attends may be off. */
function toleranceFor(parts: KernelNameParts): number {
  return TOLERANCES[kernelPrecision(parts)];
}

/** Whether a kernel has a test of its own: those that score or attend, and those that mix otherwise than all others. */
function asks(parts: KernelNameParts): boolean {
  return parts.family === "score" || parts.family === "attend" || isStaged(parts);
}

function isStaged({ family, feature }: Pick<KernelNameParts, "family" | "feature">): boolean {
  return family === "mix" && feature !== undefined;
}

/** Every third step as one of an image, whose positions are in no order. */
function positioned(move: Move, index: number): Move {
  if (!("tokens" in move) || index % 3 > 0) return move;
  const positions = Object.fromEntries(
    Object.entries(move.tokens).map(([sequence, tokens]) => [
      sequence,
      Array.from({ length: 3 * tokens }, (_, i) => (7 * index + 31 * i + Number(sequence)) % 29),
    ]),
  );
  return { ...move, positions };
}

/** The moves of these options: what is for spans is run on one of two pages. */
function movesFor({ spans, keys }: CacheOptions): readonly Move[] {
  if (keys.space === "pre-rope" && "sections" in keys.rope) return MOVES.map(positioned);
  if (spans === undefined) return MOVES;
  return [
    { tokens: { 0: 2, 1: 1 } },
    { span: 0, name: "span", tokens: 100 },
    { tokens: { 0: 2, 1: 2 } },
    { tokens: { 0: 1, 1: 1 } },
  ];
}

/** A kernel that scores or attends, and all kernels of its head dimension that do neither. */
function offering(kernel: KernelInfo): KernelInfo[] {
  const { size, schemes, ...asked } = parseKernelName(kernel.name);
  if (isStaged(asked)) {
    const score = `score_${schemes[0]}_d${size}_plain`;
    return manifest.filter(({ name }) => {
      const { size: own, family } = parseKernelName(name);
      return name === kernel.name || name === score ||
        !/^(attend|score|mix)/.test(family) && (own === undefined || own === size);
    });
  }
  // Beside a span there are tokens of the sequence's own.
  const beside = schemes.some((id) => parseScheme(id).forSpans) ? `score_f16_d${size}_plain` : "";
  const others = manifest.filter(({ name }) => {
    const parts = parseKernelName(name);
    return name === beside || !asks(parts) && (parts.size === undefined || parts.size === size);
  });
  return [...others, kernel];
}

/** What is run for a kernel that scores or attends, and how far it may be off. */
export function kernelScenario(
  kernel: KernelInfo,
): Scenario & Pick<Offer, "kernels" | "limits" | "precision"> & { readonly tolerance: number } {
  const parts = parseKernelName(kernel.name);
  const options = optionsFor(parts);
  return {
    options,
    kernels: offering(kernel),
    limits: LIMITS,
    moves: movesFor(options),
    precision: kernelPrecision(parts),
    tolerance: toleranceFor(parts),
  };
}

/** A kernel that scores or attends beside the reference. */
export interface KernelComparison {
  readonly plan: CachePlan;
  /** Largest difference from float64, relative to the outputs' root mean square. */
  readonly error: number;
  /** What it must be below. */
  readonly tolerance: number;
}

/**
 * Runs a kernel that scores or attends beside the reference. Kernels that are run on the same thing should follow each
 * other: they share what the reference makes of it.
 *
 * @throws {Error} where records differ.
 */
export async function compareKernel(
  device: GPUDevice,
  kernel: KernelInfo,
): Promise<KernelComparison> {
  const parts = parseKernelName(kernel.name);
  const { plan, error } = await compareWithRun(device, referenceRun(optionsFor(parts)), {
    kernels: offering(kernel),
    limits: LIMITS,
    features: device.features,
    precision: kernelPrecision(parts),
  });
  return { plan, error, tolerance: toleranceFor(parts) };
}

/** The kernels of a head dimension that score or attend, those that are run on the same thing behind each other. */
export function comparedKernels(headDim: number): readonly KernelInfo[] {
  const own = rows.filter(({ parts }) => parts.size === headDim && asks(parts));
  const groups = Map.groupBy(own, ({ parts }) => JSON.stringify(optionsFor(parts)));
  return [...groups.values()].flat().map(({ kernel }) => kernel);
}

/** The names of the kernels that a plan of one layer takes. */
function plannedKernels({ layers: [layer], spans: [span] }: CachePlan): string[] {
  const { keys, values, decode, prefill } = { ...span?.layers[0] };
  return [layer!, layer!.decode, layer!.prefill, keys, values, decode, prefill].flatMap((part) =>
    Object.values(part ?? {}).flatMap((value) =>
      typeof value === "object" && "load" in value ? [value.name] : []
    )
  );
}

/** Registers a test for each kernel of a head dimension that scores or attends, and one that says that these reached all. */
export async function testKernels(headDim: number): Promise<void> {
  const { adapter } = await requestAdapter();
  const requiredFeatures = OPTIONAL_FEATURES.filter((feature) => adapter.features.has(feature));
  const device = await requestTestDevice({ requiredFeatures });
  const runs = (parts: KernelNameParts) =>
    kernelFeatures(parts).every((feature) => device.features.has(feature));
  const own = rows.filter(({ parts }) => parts.size === headDim);
  const run = new Set<string>();

  for (const kernel of comparedKernels(headDim)) {
    const name = `${kernel.name} agrees with float64, its records bit for bit`;
    // What needs subgroups runs under Dawn, in tests/ci/kernels_dawn.ts.
    Deno.test({ name, ignore: !runs(parseKernelName(kernel.name)) }, async () => {
      const { plan, error, tolerance } = await compareKernel(device, kernel);
      for (const name of plannedKernels(plan)) run.add(name);
      assert.ok(run.has(kernel.name), "the plan uses the kernel");
      assert.ok(error < tolerance, `the largest difference is ${error}`);
    });
  }

  Deno.test(`every kernel of head dimension ${headDim} was run against the oracle`, () => {
    const missed = own.filter(({ kernel, parts }) => runs(parts) && !run.has(kernel.name));
    assert.deepEqual(missed.map(({ kernel }) => kernel.name), []);
  });
}

/** The last run of the reference, and what it was run on. */
let last: { readonly id: string; readonly run: ReferenceRun } | undefined;

function referenceRun(options: CacheOptions): ReferenceRun {
  const id = JSON.stringify(options);
  if (last?.id !== id) {
    last = { id, run: new ReferenceRun({ options, moves: movesFor(options) }) };
  }
  return last.run;
}
