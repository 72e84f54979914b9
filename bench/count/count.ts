/** The count suite: what a GPU's compiler makes of attention kernels, per token and KV head of four query rows. */
import { BLOCK_ROWS, PAGE_TOKENS, WORKGROUP_SIZE } from "../../src/kernels/constants.ts";
import { layerParameters, stepParameters } from "../../src/cache/uniforms.ts";
import { layerConstants } from "../../src/cache/compiled_layer.ts";
import { type ResolvedOptions, resolveOptions } from "../../src/plan/options.ts";
import {
  CoupletError,
  type KernelInfo,
  type KernelNameParts,
  mropeSections,
  parseKernelName,
  parseScheme,
  type RopeParameters,
  spanKinds,
} from "../../mod.ts";
import { type CompiledKernel, compileForChip } from "../../tools/null_device.ts";
import { type Program, readProgram } from "./isa.ts";
import { Wave, type WaveCounts } from "./wave.ts";
import { tileLoops } from "./loops.ts";
import type { CountBench, KernelCount, TokenLoads } from "./results.ts";

/** Families whose kernels go through tiles. */
const FAMILIES: readonly KernelNameParts["family"][] = ["attend", "score", "mix"];

/** Whether a kernel's instructions can be counted per token. */
export function isCountable({ name }: Pick<KernelInfo, "name">): boolean {
  return FAMILIES.includes(parseKernelName(name).family);
}

/** The constants of a kernel of the only layer. */
function countedConstants(options: ResolvedOptions): Record<string, number> {
  return layerConstants(options, options.layers[0]!);
}

/**
 * Compiles kernels for a chip and counts what they do in a decode step. Nothing runs: the figures depend on the compiler alone.
 *
 * @param kernels Kernels of {@linkcode isCountable}.
 * @param overrides Pipeline-overridable constants, for the kernels that have them.
 * @throws {CoupletError} `device` where something that is needed is missing.
 */
export async function countKernels(
  kernels: readonly KernelInfo[],
  family: string,
  overrides: Readonly<Record<string, number>> = {},
): Promise<CountBench> {
  const sources = await Promise.all(kernels.map(async (kernel) => ({
    name: kernel.name,
    wgsl: (await kernel.load()).wgsl,
    constants: Object.fromEntries(
      Object.entries({ ...countedConstants(countedOptions(kernel, PAGE_TOKENS)), ...overrides })
        .filter(([name]) => kernel.overrides.includes(name)),
    ),
  })));
  const { mesa, dawn, kernels: compiled } = await compileForChip(sources, family);
  const counts: KernelCount[] = [];
  const refused: { kernel: string; why: string }[] = [];
  for (const [i, kernel] of kernels.entries()) {
    try {
      counts.push(countKernel(kernel, compiled[i]!, overrides.SPAN ?? kernel.span!));
    } catch (error) {
      if (!(error instanceof CoupletError)) throw error;
      refused.push({ kernel: kernel.name, why: error.parts.why });
    }
  }
  return {
    format: "couplet-bench-count",
    version: 1,
    family,
    mesa,
    dawn,
    overrides,
    counts,
    refused,
  };
}

/**
 * Counts a compiled kernel: what it does more of for one more tile.
 *
 * @param span Pages of a tile.
 * @throws {CoupletError} `kernel` where it cannot be counted.
 */
function countKernel(
  kernel: KernelInfo,
  compiled: CompiledKernel,
  span: number,
): KernelCount {
  const program = readProgram(compiled.disassembly);
  const tile = span * PAGE_TOKENS;
  const [less, more] = [1, 2].map((tiles) => runWorkgroup(kernel, program, tiles * tile));
  const issued = more!.issued.map((count, i) => (count - less!.issued[i]!) * program.lanes / tile);
  const sum = (of: RegExp) =>
    program.instructions.reduce((sum, { name }, i) => of.test(name) ? sum + issued[i]! : sum, 0);
  const instructions = sum(ARITHMETIC);
  if (!(instructions > 0)) {
    throw new CoupletError("kernel", {
      what: `Cannot count ${kernel.name}`,
      why: "it does no more for one more tile",
      remedy: "Compare the parameters of bench/count/count.ts with those that the kernel reads",
    });
  }
  const statistic = (name: string) => compiled.statistics.get(name) ?? NaN;
  return {
    kernel: kernel.name,
    tile,
    instructions,
    loops: tileLoops(program, issued, ARITHMETIC).map(({ instructions }) => instructions),
    scalar: sum(/^s_(?!waitcnt|clause|nop|delay_alu)/),
    registers: statistic("VGPRs"),
    spilled: statistic("Spilled VGPRs"),
    spills: sum(/^scratch_/),
    waves: statistic("Subgroups per SIMD"),
    loads: perToken(less!.loads, more!.loads, tile),
    gathers: perToken(less!.gathers, more!.gathers, tile),
  };
}

/** Instructions of lanes that compute. */
const ARITHMETIC = /^v_/;

/** What the first workgroup of a decode step does, all of its waves together. */
function runWorkgroup(kernel: KernelInfo, program: Program, tokens: number): WaveCounts {
  const contents = bufferContents(kernel, tokens);
  const bindings = kernel.bindings.map((name) => ({ name, ...contents[name] }));
  const count = WORKGROUP_SIZE / program.lanes;
  const waves = Array.from(
    { length: count },
    (_, index) => new Wave(program, bindings, index, count).run(),
  );
  return waves.reduce((a, b) => ({
    issued: a.issued.map((count, i) => count + b.issued[i]!),
    loads: addLoads(a.loads, b.loads),
    gathers: addLoads(a.gathers, b.gathers),
  }));
}

/** Llama 3's rotary embedding, whose frequencies decide how long anchors are. */
const ROPE: RopeParameters = { layout: "half", theta: 500000 };

/** One sequence, all of it coded, and one KV head. */
function countedOptions(kernel: KernelInfo, tokens: number): ResolvedOptions {
  const { schemes, size, variant } = parseKernelName(kernel.name);
  const policy = { keys: schemes[0]!, values: schemes.at(-1)! };
  const { forSpans } = parseScheme(policy.keys);
  const resolved = resolveOptions({
    shape: { layers: 1, queryHeads: BLOCK_ROWS, keyValueHeads: 1, headDim: size! },
    policy: forSpans ? { keys: "f16", values: "f16" } : policy,
    keys: variant === "rope"
      ? { space: "pre-rope", rope: ROPE }
      : variant === "mrope"
      ? { space: "pre-rope", rope: { ...ROPE, sections: mropeSections([size! / 2, 0, 0]) } }
      : variant === "anchored"
      ? { space: "anchored", rope: ROPE }
      : { space: "as-scored" },
    tiers: { sinks: 0, window: 0 },
    capacity: { sequences: 1, tokens, sequenceTokens: tokens, stepTokens: 1, appendTokens: 1 },
    ...(forSpans ? { spans: spanKinds({ span: { ...policy, tokens, count: 1 } }) } : {}),
  });
  const [options = resolved] = resolved.spans;
  return options;
}

/** What decides which way a kernel goes, in one workgroup. */
function bufferContents(
  kernel: KernelInfo,
  tokens: number,
): Readonly<Record<string, { readonly content: Uint32Array }>> {
  const options = countedOptions(kernel, tokens);
  const heads = { first: 0, count: 1 };
  // Wherever codebooks are, they are loaded in the same way.
  const offsets = { values: 2 ** 16, keyScale: 0, valueScale: 0 };
  const step = [{ slot: 0, start: tokens - 1, count: 1, exactFrom: tokens }];
  const rows = { splits: 1, scoreStride: tokens, partialStride: 1 };
  return {
    layer: { content: layerParameters(options, options.layers[0]!, heads, offsets) },
    step: { content: stepParameters(step, rows) },
    pages: { content: Uint32Array.from({ length: tokens / PAGE_TOKENS }, (_, page) => page) },
  };
}

function addLoads(a: WaveCounts["loads"], b: WaveCounts["loads"]): WaveCounts["loads"] {
  const sum = new Map(a);
  for (const [name, { count, bytes }] of b) {
    const own = sum.get(name) ?? { count: 0, bytes: 0 };
    sum.set(name, { count: own.count + count, bytes: own.bytes + bytes });
  }
  return sum;
}

function perToken(
  less: WaveCounts["loads"],
  more: WaveCounts["loads"],
  tile: number,
): Readonly<Record<string, TokenLoads>> {
  const differences = [...more].map(([name, { count, bytes }]) => {
    const before = less.get(name) ?? { count: 0, bytes: 0 };
    return [name, {
      count: (count - before.count) / tile,
      bytes: (bytes - before.bytes) / tile,
    }] as const;
  });
  return Object.fromEntries(differences.filter(([, { count }]) => count > 0));
}

/**
 * Kernels by name or pattern.
 *
 * @throws {CoupletError} `usage` where nothing that can be counted has the name.
 */
export function chooseKernels(
  manifest: readonly KernelInfo[],
  patterns: readonly string[],
  matches: (pattern: string) => (name: string) => boolean,
): readonly KernelInfo[] {
  const countable = manifest.filter(isCountable);
  const chosen = patterns.flatMap((pattern) => {
    const matching = matches(pattern);
    const found = countable.filter(({ name }) => matching(name));
    if (found.length > 0) return found;
    throw new CoupletError("usage", {
      what: "Cannot count instructions",
      why: `no attend, score or mix kernel is called ${pattern}`,
      remedy: "Use a name of docs/kernel_names.md, or a pattern such as 'attend_*_d128_rope'",
    });
  });
  return [...new Set(chosen)];
}
