/**
 * Context shift: tokens leave a sequence in its middle, and those after them move up. Codes do not
 * depend on positions where keys are coded before their rotary embedding, so only page tables and
 * the places of exact tokens change.
 */
import { checkOptions, type Fields, FINITE } from "../base/check_options.ts";
import { raise } from "../base/raise.ts";
import { NEAR_TOKENS, PAGE_TOKENS } from "../kernels/constants.ts";
import { keyAnchors } from "../model/anchors.ts";
import { SIDES } from "../model/side.ts";
import { isOwn, type ResolvedLayer, type ResolvedOptions } from "../plan/options.ts";
import { ringSlots } from "../plan/pages.ts";
import { type CachePlan, PLAN } from "../plan/plan.ts";
import {
  EXACT_UNIT_BYTES,
  exactSequenceBytes,
  exactSideBytes,
  exactTokenBytes,
} from "../plan/sizes.ts";
import { codesAnchored } from "../schemes/key_turn.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { Cache } from "./cache.ts";
import type { CommandTarget } from "./command_target.ts";
import { type CacheInternals, cacheInternals } from "./internals.ts";
import { storageBuffer } from "./layer_buffers.ts";
import type { Units } from "./parameters.ts";
import { putInPlace } from "./put_in_place.ts";
import type { RestoredPart } from "./restored_content.ts";
import { codedTokens, refuseUnfinished, type Sequence, unfinishedFrom } from "./sequences.ts";

/** Tokens of a sequence, by position. */
export interface TokenRange {
  /** The first. */
  readonly from: number;
  /** One past the last. */
  readonly to: number;
}

const WHAT = "Cannot drop tokens";

const RANGE: Fields<TokenRange> = { from: FINITE, to: FINITE };

/**
 * The number of tokens that {@linkcode encodeDrop} drops at a time: ranges are multiples of it. It
 * is a page, 64 tokens; 128 where layers have a sliding window; as many as the longest anchor where
 * learned codes are anchored.
 *
 * @throws {CoupletError} `usage` where the plan's codes depend on positions: where keys are handed
 * over as they are scored, or coded with their rotary embedding, as data-free schemes do; or where
 * tokens have several positions.
 */
export function dropGranularity(plan: CachePlan): number {
  checkOptions("usage", WHAT, { plan: PLAN }, { plan });
  const { options } = plan;
  const { keys: { space }, layers, pageTables } = options;
  if (space === "as-scored") {
    raise(
      "usage",
      WHAT,
      "keys are held as they are scored, and those after the tokens would need other positions",
      'Plan with keys before their rotary embedding (keys.space: "pre-rope"); "anchored" will do, too',
    );
  }
  if (options.positions > 0) {
    raise(
      "usage",
      WHAT,
      "tokens have positions of their own (rope.sections), and those behind would need others",
      "Truncate, and append those again",
    );
  }
  let tokens = pageTables.some(({ slidingWindow }) => slidingWindow > 0)
    ? NEAR_TOKENS
    : PAGE_TOKENS;
  layers.forEach((layer, index) => {
    const { keys, keyOptions, headDim } = layer;
    if (!isOwn(layer, index) || keyOptions.space === "as-scored") return;
    const scheme = parseScheme(keys);
    if (scheme.positional) {
      raise(
        "usage",
        WHAT,
        `${keys} codes the keys of layer ${index} with their rotary embedding, at their positions`,
        "Plan another scheme for the keys, such as c8b8, kc2 or f16; or read the tokens behind them, truncate, and append those again",
      );
    }
    const anchors = keyAnchors(keyOptions, headDim) ?? [];
    if (codesAnchored(scheme)) tokens = Math.max(tokens, ...anchors);
  });
  return tokens;
}

/**
 * Records a context shift: tokens `from` up to but not including `to` leave the sequence, and the
 * positions of those after them become `to - from` less. Codes are kept as they are, so attention is
 * that of a sequence that never had the tokens, except that keys and values of later tokens were
 * computed by a model that saw them. Forks keep the tokens; pages that no sequence uses are free.
 *
 * Sinks cannot be dropped, and tokens that are still held exactly neither: `from` lies a multiple of
 * 64 behind the sinks, `to - from` is a multiple of {@linkcode dropGranularity}, and `to` is at most
 * the number of sinks and of {@linkcode Cache.codedTokens}. If layers with a sliding window have
 * given up tokens, the range must be among those. What was dropped does not come back: a rollback is one of the
 * tokens that are left.
 *
 * Steps of the sequence that were not attended in yet become void for it, and continue for others.
 * The first call allocates a buffer of the size of one layer's exact tier of a sequence.
 *
 * @param target The host's encoder or compute pass.
 * @throws {CoupletError} `usage` as {@linkcode dropGranularity} does, for a range that cannot be
 * dropped, where a step of the sequence is not through all layers, or for a call out of order.
 * Nothing has changed then, and the error names the nearest range that can be dropped.
 */
export function encodeDrop(
  cache: Cache,
  target: CommandTarget,
  sequence: Sequence,
  range: TokenRange,
): void {
  const inside = cacheInternals(cache);
  const { check, commands, record, sequences } = inside;
  const { options } = cache.plan;
  check(target, sequence);
  checkOptions("usage", WHAT, RANGE, range);
  const unit = dropGranularity(cache.plan);
  const state = sequences.state(sequence);
  const unfinished = unfinishedFrom(state);
  const what = `Cannot drop tokens of sequence ${sequence.id}`;
  if (unfinished !== undefined) refuseUnfinished(what, unfinished, "every layer");
  const { sinks } = options.tiers;
  const { from, to } = range;
  const count = to - from;
  const [firstPage, endPage] = [(from - sinks) / PAGE_TOKENS, (to - sinks) / PAGE_TOKENS];

  // Layers with a sliding window have given up pages. Those of the range must be among them, because
  // queries would see what lies before it in their stead.
  const pages = state.tables.reduce(
    (least, { first }) => first > 0 ? Math.min(least, first) : least,
    Math.floor(codedTokens(options, state) / PAGE_TOKENS),
  );
  const isWhole = firstPage >= 0 && Number.isInteger(firstPage) && count > 0 && count % unit === 0;
  if (!isWhole || endPage > pages) {
    const [most, size] = [Math.floor(pages * PAGE_TOKENS / unit), Math.round(count / unit)];
    const tokens = unit * Math.min(Math.max(size, 1), most);
    const last = pages - tokens / PAGE_TOKENS;
    const first = sinks + PAGE_TOKENS * Math.min(Math.max(Math.round(firstPage), 0), last);
    raise(
      "usage",
      what,
      `tokens ${from} to ${to} are not whole pages behind ${sinks} sinks, in multiples of ${unit} tokens, up to token ${
        sinks + pages * PAGE_TOKENS
      }, where those begin that are still needed`,
      tokens > 0 ? `Drop tokens ${first} to ${first + tokens}` : "Append more tokens first",
    );
  }

  // What the ring holds of the tokens that follow moves to the slots of its new positions.
  const ring = ringSlots(options);
  const first = Math.max(to, state.exactFrom, state.length - ring);
  const moved = count % ring === 0 ? 0 : state.length - first;
  if (state.restored !== undefined || moved > 0) {
    record(target, sequence, (recorder) => {
      putInPlace(commands, recorder, state);
      if (moved === 0) return;
      const { slot } = state;
      const gridsOf = (layer: ResolvedLayer) => {
        const runs = ringRuns(options, layer, slot, first, moved);
        const places = ringRuns(options, layer, slot, first - count, moved);
        return {
          out: commands.parameters.entries(runs),
          back: commands.parameters.entries(
            places.map(({ slot, start, count }) => ({ slot: start, start: slot, count })),
          ),
        };
      };
      // Layers of the same head dimensions share parameters.
      const grids = new Map<string, ReturnType<typeof gridsOf>>();
      const scratch = scratchOf(cache, inside);
      options.layers.forEach((layer, index) => {
        if (!isOwn(layer, index)) return;
        const own = commands.layers[index]!;
        const dims = `${layer.headDim} ${layer.valueHeadDim}`;
        const { out, back } = grids.get(dims) ?? gridsOf(layer);
        grids.set(dims, { out, back });
        own.restore(recorder, "exact", out, cache.buffers(index).parts, scratch);
        own.restore(recorder, "exact", back, scratch);
      });
    });
  }

  sequences.settle(sequence);
  for (const growth of state.steps) growth.isVoid = true;
  state.steps.length = 0;
  state.length -= count;
  state.stored -= count;
  // The ring lacks what lies before the range, even if it has room for it.
  state.exactFrom = Math.max(from, state.exactFrom - count);
  state.tables.forEach((held, table) => {
    const dropped = held.pages.splice(
      Math.max(0, firstPage - held.first),
      Math.max(0, endPage - Math.max(firstPage, held.first)),
    );
    sequences.pools[table]!.give(dropped);
    held.first -= Math.max(0, Math.min(held.first, endPage) - firstPage);
    held.staleFrom = Math.min(held.staleFrom, firstPage);
  });
}

/**
 * Runs of a sequence's exact tokens in a ring, of both sides, in units of the exact tier: `start`
 * counts them from the first token's.
 */
function ringRuns(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  slot: number,
  first: number,
  count: number,
): Units[] {
  const { tiers: { sinks } } = options;
  const ring = ringSlots(options);
  const begin = (first - sinks) % ring;
  const unwrapped = Math.min(count, ring - begin);
  const [keys, values] = SIDES.map((side) => exactTokenBytes(layer, side, 1) / EXACT_UNIT_BYTES);
  const runsOf = (units: number, tier: number, start: number): Units[] => {
    const row = tier + sinks * units;
    const runs = [{ slot: row + begin * units, start, count: unwrapped * units }];
    if (unwrapped === count) return runs;
    const rest = { start: start + unwrapped * units, count: (count - unwrapped) * units };
    return [...runs, { slot: row, ...rest }];
  };
  const tier = slot * exactSequenceBytes(options, layer, 1) / EXACT_UNIT_BYTES;
  const side = exactSideBytes(options, layer, "keys", 1) / EXACT_UNIT_BYTES;
  return [
    ...runsOf(keys!, tier, 0),
    ...runsOf(values!, tier + side, count * keys!),
  ];
}

const scratches = new WeakMap<Cache, readonly RestoredPart[]>();

/** Buffers that hold any layer's ring of one sequence, by part. */
function scratchOf(
  cache: Cache,
  { device, buffers }: Pick<CacheInternals, "device" | "buffers">,
): readonly RestoredPart[] {
  let parts = scratches.get(cache);
  if (parts === undefined) {
    const { layers, options } = cache.plan;
    const sizes: number[] = [];
    layers.forEach((layer, index) =>
      layer.parts.forEach(({ count }, i) => {
        const token = SIDES.map((side) => exactTokenBytes(options.layers[index]!, side, count));
        const bytes = ringSlots(options) * (token[0]! + token[1]!);
        sizes[i] = Math.max(sizes[i] ?? 0, bytes);
      })
    );
    parts = sizes.map((bytes) => {
      const exact = storageBuffer(device, "couplet moved tokens", bytes);
      buffers.add(exact);
      return { keyRecords: undefined, valueRecords: undefined, exact };
    });
    scratches.set(cache, parts);
  }
  return parts;
}
