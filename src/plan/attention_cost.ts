/**
 * Estimates what one layer's attention costs: work in units whose costs were fitted to
 * measurements, divided among the workgroups. It ranks combinations of kernels. It does not predict
 * a device's times (`tune()` measures them).
 */
import { tokenBytes } from "./sizes.ts";
import type { ResolvedLayer, ResolvedOptions } from "./options.ts";
import { defaultSplits, headBlocks, type SplitTarget, type StepSize, stepSplits } from "./steps.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import { BLOCK_ROWS, PAGE_TOKENS, TARGET_WORKGROUPS } from "../kernels/constants.ts";
import type { KernelFeature, KeyVariant } from "../kernels/name.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { ReadingWork, SchemeId } from "../schemes/scheme.ts";
import { kernelParts } from "../kernels/select.ts";

/** Kernels that attend together, and how they are compiled. */
export interface AttentionCandidate {
  /** The kernels, by what they do. */
  readonly kernels: {
    readonly attend?: KernelInfo;
    readonly table?: KernelInfo;
    readonly score?: KernelInfo;
    readonly mix?: KernelInfo;
  };
  /** Pages of a coded tile. */
  readonly span: number;
}

/**
 * Units of work. Each counts all `BLOCK_ROWS` query rows of a block, because a lane computes them
 * at once.
 */
export type WorkUnit =
  /** Reading a scheme's vectors. */
  | keyof ReadingWork
  /** Multiply-adds of keys and values. */
  | "products"
  /** Entries read of tables of q.centroid in a storage buffer, in f32. */
  | "tableLoads"
  /** The same in f16. */
  | "table16Loads"
  /** Entries read of tables of q.centroid in workgroup memory. */
  | "lutLoads"
  /** Pairs of channels rotated by the rotary embedding. */
  | "rotations"
  /** Chunks of queries loaded. Each serves all pages of a tile. */
  | "queryLoads"
  /** Tokens that go through the softmax. */
  | "tokens"
  /** Multiply-adds that fill tables of q.centroid in storage buffers. */
  | "tableProducts"
  /** The same in workgroup memory. */
  | "lutProducts"
  /** Tokens whose scores a second kernel loads. */
  | "scores"
  /** Bytes read from memory or written to it. */
  | "bytes"
  /** Dispatches. Each waits for the one before. */
  | "dispatches";

/** A unit whose cost is fitted. */
export type FittedUnit = Exclude<WorkUnit, "products" | "bytes" | "dispatches">;

/** Work by unit. */
export type Work = Readonly<Partial<Record<WorkUnit, number>>>;

/** The work of one step's attention in one layer. */
export interface AttentionWork {
  /** Work of each coded tile. */
  readonly tile: Work;
  /** Tiles of all blocks of query rows. */
  readonly tiles: number;
  /** Tiles of the workgroup that has the most. */
  readonly share: number;
  /** Work of each workgroup besides its tiles. */
  readonly workgroup: Work;
  /** Workgroups that have a tile. */
  readonly workgroups: number;
  /** All other work: dispatches, and filling tables of q.centroid. */
  readonly beside: Work;
}

/** Bytes of a score of four rows, written and then read. */
const SCORE_BYTES = 2 * 4 * BLOCK_ROWS;

/**
 * What one unit costs, in picoseconds of one core, as `bench/fit_cost.ts` fitted it to llvmpipe
 * (LLVM 15.0.6, 256 bits): 228 measurements, which it explains within 11 % (root mean square). The
 * kernels it ranked first took at most 2 % longer than the fastest. Costs of a tile and of a
 * workgroup besides their tokens were fitted as well, and are 0.
 */
const FITTED: Readonly<Record<FittedUnit, number>> = {
  gathers: 3900,
  levels: 1060,
  universal: 6490,
  tableLoads: 7960,
  table16Loads: 7450,
  lutLoads: 7570,
  rotations: 2470,
  queryLoads: 35300,
  tokens: 199_000,
  tableProducts: 5370,
  lutProducts: 28800,
  scores: 60200,
};

/** The units whose costs are fitted. */
export const FITTED_UNITS: readonly FittedUnit[] = /* @__PURE__ */ Object.keys(
  FITTED,
) as FittedUnit[];

/**
 * What each unit costs: those that are not fitted as on a GPU, because a software adapter shows
 * nothing of it. A test compares them with `bench/results/navi21/count.json`, what RDNA2's compiler
 * makes of kernels.
 */
export const UNIT_COSTS: Readonly<Record<WorkUnit, number>> = {
  ...FITTED,
  // What a gathered code takes beside them over 5.5: 4 instructions of a lane for the rows of a
  // block, and 22. llvmpipe does them while it goes through the lanes of a load. The fitted costs
  // were fitted beside it.
  products: 708,
  // As long as 7 instructions, of which attention to f16 has 1,218 a token: so many does a large
  // GPU's lane do while it loads a byte (an H200 7, an RX 6800 XT 20).
  bytes: 2900,
  // A GPU idles for a few microseconds.
  dispatches: TARGET_WORKGROUPS * 5_000_000,
};

/**
 * The factor of a tile's work with an optional feature. Subgroups save a barrier and change no
 * result. Products in f16 lose precision, and take longer where they were measured (1.05 to 1.2
 * times, on llvmpipe) or counted (1.08 to 1.23 times, for RDNA2). Integers take a chip that has no
 * instruction for them twice as long, and staged centroids take the softmax four times. So only a
 * tuning record chooses those three.
 */
const FEATURE_GAIN: Readonly<Record<KernelFeature, number>> = {
  f16: 1.1,
  subgroups: 0.95,
  int16: 2,
  int8: 2,
  staged: 2,
};

/** The work of scoring one token's coded key, without bytes. */
function keyWork(
  variant: KeyVariant,
  scheme: SchemeId,
  headDim: number,
  span: number,
): Work {
  const { layout, work } = parseScheme(scheme);
  if (/lut|table/.test(variant)) {
    return { [`${variant}Loads`]: layout(headDim).codes };
  }
  return {
    ...work(headDim),
    products: headDim,
    queryLoads: headDim / 4 / span,
    // At most: of anchored keys fewer, the same for all kernels that score them.
    rotations: variant === "plain" ? 0 : headDim / 2,
  };
}

/**
 * Bytes of an entry of a table of q.centroid in a storage buffer: a product for each row of a
 * block.
 */
function tableEntryBytes(variant: KeyVariant): number {
  return BLOCK_ROWS * (variant === "table16" ? 2 : 4);
}

/** The tokens that a query at the end of `context` tokens sees in a layer. */
function seenTokens({ slidingWindow }: ResolvedLayer, context: number): number {
  return slidingWindow === 0 ? context : Math.min(slidingWindow, context);
}

/**
 * The work of one step's attention in one layer.
 *
 * @param context Tokens of each sequence. All count as coded.
 * @param splits How it is cut into workgroups.
 */
export function attentionWork(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  step: StepSize,
  context: number,
  { kernels: { attend, table, score, mix }, span }: AttentionCandidate,
  splits: Pick<SplitTarget, "workgroups" | "span"> = defaultSplits(options, layer),
): AttentionWork {
  const { keys, values, queryHeads, keyValueHeads, headDim, valueHeadDim } = layer;
  const maxTokens = step.tokens / step.entries;
  const blocks = step.entries * keyValueHeads * headBlocks(maxTokens * queryHeads, keyValueHeads);
  const seen = seenTokens(layer, context);
  const tiles = Math.ceil(seen / (span * PAGE_TOKENS));
  const target = { ...splits, queryHeads, keyValueHeads };
  const share = Math.ceil(
    tiles / stepSplits(options, target, { ...step, maxTokens, context: seen }),
  );
  const dispatches = [attend, table, score, mix].filter((kernel) => kernel !== undefined).length;
  const { variant: keyVariant } = kernelParts((attend ?? score)!);
  const { feature } = kernelParts((attend ?? mix)!);
  const variant = keyVariant!;
  const { centroids, channels, layout } = parseScheme(keys);
  const entries = layout(headDim).codes * centroids;
  const fill = entries * channels;
  // Values are mixed token by token, but the last tile counts as full, so that more tokens never
  // cost less.
  const bytes = tokenBytes(layer) + (mix === undefined ? 0 : SCORE_BYTES);
  const token = sum(keyWork(variant, keys, headDim, span), parseScheme(values).work(valueHeadDim), {
    products: valueHeadDim,
    tokens: 1,
    bytes,
    ...(mix === undefined ? {} : { scores: 1 }),
  });
  return {
    tile: times(span * PAGE_TOKENS * (feature === undefined ? 1 : FEATURE_GAIN[feature]), token),
    tiles: blocks * tiles,
    share,
    workgroup: variant === "lut" ? { lutProducts: fill } : {},
    workgroups: blocks * Math.ceil(tiles / share),
    beside: table === undefined ? { dispatches } : {
      dispatches,
      tableProducts: blocks * fill,
      bytes: blocks * 2 * tableEntryBytes(variant) * entries,
    },
  };
}

function times(factor: number, work: Work): Work {
  return Object.fromEntries(Object.entries(work).map(([unit, count]) => [unit, factor * count]));
}

function sum(...works: readonly Work[]): Work {
  const total: Partial<Record<WorkUnit, number>> = {};
  for (const work of works) {
    for (const unit of Object.keys(work) as WorkUnit[]) {
      total[unit] = (total[unit] ?? 0) + work[unit]!;
    }
  }
  return total;
}

/** The sum over all workgroups: the cost on a device that is always busy. */
export function totalWork(
  { tile, tiles, workgroup, workgroups, beside }: AttentionWork,
): Work {
  return sum(times(tiles, tile), times(workgroups, workgroup), beside);
}

function workCost(work: Work): number {
  return (Object.keys(work) as WorkUnit[])
    .reduce((total, unit) => total + work[unit]! * UNIT_COSTS[unit], 0);
}

/**
 * Estimated cost of one step's attention in one layer, cut as it is without a tuning record, on a
 * device that runs `TARGET_WORKGROUPS` workgroups at a time. With no more workgroups than that, the
 * one with the most tiles decides. Costs are comparable among candidates of the same layer and
 * step.
 *
 * @param context Tokens of each sequence.
 */
export function attentionCost(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  step: StepSize,
  context: number,
  candidate: AttentionCandidate,
): number {
  const work = attentionWork(options, layer, step, context, candidate);
  return Math.max(work.tiles, work.share * TARGET_WORKGROUPS) * workCost(work.tile) +
    Math.max(work.workgroups, TARGET_WORKGROUPS) * workCost(work.workgroup) +
    workCost(work.beside);
}
