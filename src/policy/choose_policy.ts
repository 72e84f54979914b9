import {
  type CacheOptions,
  type ExactTiers,
  layerShape,
  type ResolvedOptions,
  resolveOptions,
  SHAPE_FIELDS,
  TIER_FIELDS,
} from "../plan/options.ts";
import { cacheKeyFields } from "../model/key_fields.ts";
import type { ModelShape } from "../model/model.ts";
import { layerBytes, sharedTableBytes, tokenChannels, totalBytes } from "../plan/sizes.ts";
import { type LayerPolicy, type Policy, SCHEME, SCHEMES } from "../schemes/policy.ts";
import { checkOptions, type Fields, FLAG, listOf } from "../base/check_options.ts";
import { NUMBER, orNothing, record } from "../base/data_kinds.ts";
import { SIDE, type Side, sideDim, SIDES } from "../model/side.ts";
import { CoupletError } from "../base/errors.ts";
import { type Choice, solveKnapsack } from "./knapsack.ts";
import { recordBits } from "../records/layout.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";

/** What a model loses if only one side of one layer is coded. */
export interface Sensitivity {
  /** Layer index, from 0. */
  readonly layer: number;
  /** The side that is coded. */
  readonly side: Side;
  /** The scheme it is coded in. */
  readonly scheme: SchemeId;
  /**
   * The loss, in any unit that adds up over layers and sides, such as the KL divergence from the
   * uncompressed model in nats per token. Noise may make it negative.
   */
  readonly loss: number;
  /** Whether KV heads share the centroids that are added. Defaults to false. */
  readonly shareHeads?: boolean;
}

/** Options of {@linkcode choosePolicy}. */
export interface ChoosePolicyOptions extends Pick<CacheOptions, "shape" | "keys"> {
  /**
   * Most bits per channel of everything resident, as {@linkcode CachePlan.effectiveBits} counts
   * them: codes, codebooks, exact tiers, page tables and rotary table.
   */
  readonly budgetBits: number;
  /**
   * Tokens of one sequence. With `Infinity` the budget counts nominal bits: those of the codes
   * alone.
   */
  readonly tokens: number;
  /** Sequences that will share the codebooks. */
  readonly sequences: number;
  /** Tokens kept exactly. Defaults to none. */
  readonly tiers?: ExactTiers;
  /** Most new tokens of a sequence in one step. Each is one more exact token. Defaults to 1. */
  readonly appendTokens?: number;
  /** Schemes to choose from. Defaults to all that have sensitivities. */
  readonly candidates?: readonly SchemeId[];
  /**
   * One for each layer, side and candidate. `f16` loses nothing, and needs none. Schemes whose
   * centroids are added may have another one, with `shareHeads`: then the policy may be one whose KV
   * heads share them.
   */
  readonly sensitivities: readonly Sensitivity[];
}

/** A policy, and its figures. */
export interface ChosenPolicy {
  /** The policy, for `planCache`, and for `calibrate`, which learns its codebooks. */
  readonly policy: Policy;
  /** Bits per channel of everything resident, as {@linkcode ChoosePolicyOptions.budgetBits}. */
  readonly effectiveBits: number;
  /** Bits per channel of the codes alone, mean over layers and sides. */
  readonly nominalBits: number;
  /** Sum of the chosen sensitivities. */
  readonly expectedLoss: number;
  /**
   * Describes the choice in words: the scheme of each layer and side, and what the next smaller and
   * larger ones would change.
   */
  describe(): string;
}

/** One side of one layer. */
interface Item {
  readonly layer: number;
  readonly side: Side;
}

/** A scheme that an item may take. */
interface Option extends Choice {
  readonly scheme: SchemeId;
}

/** How memory is counted: in bytes, or, for infinitely many tokens, in bits per channel. */
interface Memory {
  /**
   * The memory of all layers.
   *
   * @param block Tokens that leave the window together. Defaults to the largest block of the schemes.
   */
  size(layers: readonly LayerPolicy[], block?: number): number;
  /** Units of one bit per channel. */
  readonly unitsPerBit: number;
}

/** The best policy among those that have some things in common. */
interface Found {
  /** What was chosen, item by item; the cheapest schemes where `meets` is false. */
  readonly picked: readonly Option[];
  /** What each item could have had instead. */
  readonly choices: readonly (readonly Option[])[];
  readonly policy: Policy;
  readonly effectiveBits: number;
  readonly expectedLoss: number;
  /** Whether it keeps to the budget. */
  readonly meets: boolean;
}

const WHAT = "Cannot choose a policy";

/** What the options of {@linkcode choosePolicy} may be. */
export function choiceFields(): Fields<ChoosePolicyOptions> {
  return {
    shape: SHAPE_FIELDS,
    keys: cacheKeyFields,
    budgetBits: NUMBER,
    tokens: NUMBER,
    sequences: NUMBER,
    "tiers?": TIER_FIELDS,
    "appendTokens?": NUMBER,
    "candidates?": SCHEMES,
    sensitivities: listOf(
      record<Sensitivity>("{ layer, side, scheme, loss }", {
        layer: NUMBER,
        side: SIDE,
        scheme: SCHEME,
        loss: NUMBER,
        shareHeads: orNothing(FLAG),
      }),
    ),
  };
}

/** Tolerance, so that a budget equal to a policy's own figure admits that policy. */
const ROUNDING = 1e-12;

/**
 * Chooses a scheme for each layer's keys and each layer's values, so that the sum of the
 * sensitivities is least among all policies that meet a budget of bits.
 *
 * The cost of a codebook per token depends on how many tokens share it, so the best policy for a
 * short context differs from that for a long one. The bits are counted as `planCache` counts them,
 * at this number of tokens and sequences.
 *
 * The choice is a multiple-choice knapsack, solved by dynamic programming. It assumes that losses
 * add up over layers and sides, which holds where they are small, and that no sides have a data-free
 * scheme's codebook in common, which is a few KiB.
 *
 * @example 1.75 bits at 32,000 tokens
 * ```ts
 * import { choosePolicy } from "@couplet/kv";
 *
 * // Of this model's sides, the keys suffer most.
 * const sensitivities = [
 *   { layer: 0, side: "keys", scheme: "c4b8", loss: 0.02 },
 *   { layer: 0, side: "keys", scheme: "c8b8", loss: 0.09 },
 *   { layer: 0, side: "values", scheme: "c4b8", loss: 0.01 },
 *   { layer: 0, side: "values", scheme: "c8b8", loss: 0.02 },
 * ] as const;
 * const { policy, describe } = choosePolicy({
 *   shape: { layers: 1, queryHeads: 4, keyValueHeads: 2, headDim: 64 },
 *   keys: { space: "as-scored" },
 *   budgetBits: 1.75,
 *   tokens: 32768,
 *   sequences: 1,
 *   sensitivities,
 * });
 * console.log(describe());
 * console.assert(policy.keys === "c4b8" && policy.values === "c8b8");
 * ```
 *
 * @throws {CoupletError} `usage` where a number is not valid, a sensitivity is missing or not
 * finite, or no policy meets the budget (the error names the smallest policy). `scheme` and `shape`
 * where a candidate is unknown or does not divide the head dimension, and `shape` for an option
 * that is unknown or of another type.
 */
export function choosePolicy(options: ChoosePolicyOptions): ChosenPolicy {
  checkOptions("shape", WHAT, choiceFields(), options);
  const { shape, budgetBits, tokens, sensitivities } = options;
  checkNumbers(options);
  const candidates = options.candidates ?? [...new Set(sensitivities.map(({ scheme }) => scheme))];
  if (candidates.length === 0) {
    throw usage("there is no scheme to choose from", "Give sensitivities, or candidates");
  }
  // Layers that share another's keys and values have no schemes of their own.
  const own = Array.from({ length: shape.layers }, (_, layer) => layer)
    .filter((layer) => (shape.sharesWith?.[layer] ?? layer) === layer);
  const items = own.flatMap((layer) => SIDES.map((side): Item => ({ layer, side })));
  const losses = lossTable(sensitivities, candidates, items);
  const { unitsPerBit } = memoryOf(options, own, false);

  const sharing = sensitivities.some(({ shareHeads }) => shareHeads) ? [false, true] : [false];
  const found = sharing.flatMap((shareHeads) => {
    const schemes = candidates.filter((scheme) => losses.has(scheme, shareHeads));
    // A sequence keeps an unfinished block exactly, and its length is that of the policy's longest.
    const blocks = new Set(schemes.map((scheme) => parseScheme(scheme).block));
    return (tokens === Infinity ? [Infinity] : [...blocks]).map((block) =>
      findPolicy(
        options,
        own,
        shareHeads,
        block,
        items.map((item) =>
          schemes.filter((scheme) => parseScheme(scheme).block <= block)
            .map((scheme) => ({ scheme, loss: losses.of(item, scheme, shareHeads) }))
        ),
      )
    );
  });
  const best = found.filter(({ meets }) => meets)
    .reduce<Found | undefined>((a, b) => a && a.expectedLoss <= b.expectedLoss ? a : b, undefined);
  if (best === undefined) {
    const { policy, effectiveBits } = found.reduce((a, b) =>
      b.effectiveBits < a.effectiveBits ? b : a
    );
    throw usage(
      `the budget is ${budgetBits} bits per channel, and the smallest policy (${
        describePolicy(policy)
      }) takes ${formatBits(effectiveBits)} for ${describeSize(options)}`,
      `Allow ${
        formatBits(effectiveBits)
      } bits, hold more tokens, or offer schemes with fewer bits or centroids`,
    );
  }
  const { policy, picked, choices, effectiveBits, expectedLoss } = best;
  const nominalBits = picked.reduce(
    (sum, { scheme }, i) => sum + bitsOf(scheme, shape, items[i]!.layer, items[i]!.side),
    0,
  ) / picked.length;
  return {
    policy,
    effectiveBits,
    nominalBits,
    expectedLoss,
    describe: () =>
      [
        `${formatBits(effectiveBits)} of ${budgetBits} bits per channel for ${
          describeSize(options)
        }, ${formatBits(nominalBits)} of them codes; expected loss ${formatLoss(expectedLoss)}${
          policy.shareHeads ? "; KV heads share centroids" : ""
        }`,
        ...items.map(({ layer, side }, i) =>
          `layer ${layer} ${side}: ${describeChoice(picked[i]!, choices[i]!, unitsPerBit)}`
        ),
      ].join("\n"),
  };
}

function checkNumbers({ budgetBits, tokens, sequences, appendTokens = 1 }: ChoosePolicyOptions) {
  if (!(budgetBits > 0 && budgetBits < Infinity)) {
    throw usage(`the budget is ${budgetBits} bits`, "Give a positive number of bits per channel");
  }
  const counts = { sequences, appendTokens, ...(tokens === Infinity ? {} : { tokens }) };
  for (const [name, count] of Object.entries(counts)) {
    if (Number.isSafeInteger(count) && count > 0) continue;
    throw usage(`${name} is ${count}`, "Give a whole number of 1 or more");
  }
}

/** What is known of the candidates' losses. */
interface Losses {
  /** Whether a scheme's losses are known in policies whose KV heads share centroids, or do not. */
  has(scheme: SchemeId, shareHeads: boolean): boolean;
  /** The loss of one item. */
  of(item: Item, scheme: SchemeId, shareHeads: boolean): number;
}

/** The losses of every candidate. Throws where one is missing. */
function lossTable(
  sensitivities: readonly Sensitivity[],
  candidates: readonly SchemeId[],
  items: readonly Item[],
): Losses {
  // Nothing else is shared, so other schemes lose the same in either kind of policy.
  const group = (scheme: SchemeId, shareHeads: boolean) =>
    `${scheme}${shareHeads && parseScheme(scheme).codebookSpec?.stages ? " shared" : ""}`;
  const place = ({ layer, side }: Item) => `${side} of layer ${layer}`;
  const table = new Map<string, Map<string, number>>();
  for (const { layer, side, scheme, loss, shareHeads = false } of sensitivities) {
    const id = group(scheme, shareHeads);
    const name = `${id} ${place({ layer, side })}`;
    if (!Number.isFinite(loss)) {
      throw usage(`the sensitivity of the ${name} is ${loss}`, "Give finite numbers");
    }
    const losses = table.get(id) ?? new Map<string, number>();
    table.set(id, losses);
    if (losses.has(place({ layer, side }))) {
      throw usage(`the sensitivity of the ${name} comes twice`, "Give one of each");
    }
    losses.set(place({ layer, side }), loss);
  }
  for (const scheme of candidates) {
    if (!parseScheme(scheme).lossless) continue;
    table.set(group(scheme, false), new Map(items.map((item) => [place(item), 0])));
  }
  const ids = new Set(candidates.flatMap((scheme) => {
    const known = [false, true].map((shareHeads) => group(scheme, shareHeads))
      .filter((id) => table.has(id));
    return known.length > 0 ? known : [scheme];
  }));
  const missing = [...ids].flatMap((id) =>
    items.map((item) => place(item)).filter((one) => !table.get(id)?.has(one))
      .map((one) => `${id} ${one}`)
  );
  if (missing.length > 0) {
    const more = missing.length > 3 ? ` and ${missing.length - 3} more` : "";
    throw usage(
      `there is no sensitivity of the ${missing.slice(0, 3).join(", ")}${more}`,
      "Measure every candidate on both sides of every layer, or name fewer candidates",
    );
  }
  return {
    has: (scheme, shareHeads) => table.has(group(scheme, shareHeads)),
    of: (item, scheme, shareHeads) => table.get(group(scheme, shareHeads))!.get(place(item))!,
  };
}

/**
 * The policy of least loss within the budget, of those whose KV heads share centroids or do not and
 * whose blocks are of at most `block` tokens, counted as if they were of as many.
 *
 * @param offered Schemes and their losses, item by item.
 */
function findPolicy(
  options: ChoosePolicyOptions,
  own: readonly number[],
  shareHeads: boolean,
  block: number,
  offered: readonly (readonly Omit<Option, "cost">[])[],
): Found {
  const memory = memoryOf(options, own, shareHeads);
  // Nothing that other layers could have in common with it, so that memory adds up.
  const exact = Array.from(
    { length: options.shape.layers },
    (): LayerPolicy => ({ keys: "f16", values: "f16" }),
  );
  const base = memory.size(exact, block);
  const choices = offered.map((schemes, i) => {
    const layer = own[Math.floor(i / SIDES.length)]!;
    const side = SIDES[i % SIDES.length]!;
    return schemes.map(({ scheme, loss }): Option => ({
      scheme,
      cost: memory.size(exact.with(layer, { ...exact[layer]!, [side]: scheme }), block) - base,
      loss,
    }));
  });
  const solution = solveKnapsack(
    choices,
    options.budgetBits * memory.unitsPerBit * (1 + ROUNDING) - base,
  );
  const picked = (solution ?? choices.map(cheapest)) as readonly Option[];
  const layers = [...exact];
  own.forEach((layer, i) => {
    layers[layer] = { keys: picked[2 * i]!.scheme, values: picked[2 * i + 1]!.scheme };
  });
  return {
    picked,
    choices,
    policy: asPolicy(layers, own, shareHeads),
    effectiveBits: memory.size(layers) / memory.unitsPerBit,
    expectedLoss: picked.reduce((sum, { loss }) => sum + loss, 0),
    meets: solution !== undefined,
  };
}

/** Bits per channel of a scheme's records in a layer. */
function bitsOf(scheme: SchemeId, shape: ModelShape, layer: number, side: Side): number {
  const channels = sideDim(layerShape(shape, layer), side);
  return recordBits(parseScheme(scheme).layout(channels), channels);
}

/** How the memory of a policy is counted. */
function memoryOf(
  options: ChoosePolicyOptions,
  own: readonly number[],
  shareHeads: boolean,
): Memory {
  const { shape, keys, tokens, sequences, appendTokens = 1 } = options;
  if (tokens === Infinity) {
    return {
      unitsPerBit: 2 * own.length,
      size: (layers) =>
        own.reduce((sum, layer) => {
          const { keys, values } = layers[layer]!;
          return sum + bitsOf(keys, shape, layer, "keys") + bitsOf(values, shape, layer, "values");
        }, 0),
    };
  }
  function resolve(policy: Policy): ResolvedOptions {
    return resolveOptions({
      shape,
      keys,
      policy,
      tiers: options.tiers ?? { sinks: 0, window: 0 },
      capacity: {
        sequences,
        tokens: tokens * sequences,
        sequenceTokens: tokens,
        stepTokens: appendTokens * sequences,
        appendTokens,
      },
    });
  }
  return {
    unitsPerBit: (tokenChannels(resolve({ keys: "f16", values: "f16" })) * tokens * sequences) / 8,
    size(layers, block): number {
      const policy = resolve(asPolicy(layers, own, shareHeads));
      const resolved = { ...policy, block: block ?? policy.block };
      const byLayer = resolved.layers.map((layer) => layerBytes(resolved, layer, 1));
      return totalBytes(byLayer, sharedTableBytes(resolved, 1), 0, 0).total;
    },
  };
}

/** Schemes of layers that have some as a policy: the commonest pair, and exceptions. */
function asPolicy(
  all: readonly LayerPolicy[],
  own: readonly number[],
  shareHeads: boolean,
): Policy {
  const layers = own.map((layer) => [layer, all[layer]!] as const);
  const counts = new Map<string, number>();
  for (const [, one] of layers) counts.set(pairId(one), (counts.get(pairId(one)) ?? 0) + 1);
  const [, commonest] = layers.reduce((a, b) =>
    counts.get(pairId(b[1]))! > counts.get(pairId(a[1]))! ? b : a
  );
  const exceptions = layers.filter(([, one]) => pairId(one) !== pairId(commonest));
  return {
    ...commonest,
    ...(exceptions.length > 0 ? { layers: Object.fromEntries(exceptions) } : {}),
    ...(shareHeads ? { shareHeads } : {}),
  };
}

function pairId({ keys, values }: LayerPolicy): string {
  return `${keys}/${values}`;
}

function cheapest(choices: readonly Option[]): Option {
  return choices.reduce((a, b) => b.cost < a.cost ? b : a);
}

/**
 * What was chosen for one side of one layer, and what the next smaller and the next larger scheme
 * would change.
 */
function describeChoice(chosen: Option, choices: readonly Option[], unitsPerBit: number): string {
  const bits = ({ cost }: Option) => formatBits(Math.abs(cost - chosen.cost) / unitsPerBit);
  const better = choices
    .filter(({ cost, loss }) => cost > chosen.cost && loss < chosen.loss)
    .toSorted((a, b) => a.cost - b.cost || a.loss - b.loss)[0];
  const smaller = choices
    .filter(({ cost }) => cost < chosen.cost)
    .toSorted((a, b) => b.cost - a.cost || a.loss - b.loss)[0];
  return [
    `${chosen.scheme}, loses ${formatLoss(chosen.loss)}`,
    ...(smaller === undefined ? [] : [
      `${smaller.scheme} would lose ${formatLoss(smaller.loss)} and save ${bits(smaller)} bits`,
    ]),
    ...(better === undefined ? [] : [
      `${better.scheme} would lose ${formatLoss(better.loss)} and take ${bits(better)} bits more`,
    ]),
  ].join("; ");
}

function describePolicy(policy: Policy): string {
  return [
    pairId(policy),
    ...Object.entries(policy.layers ?? {}).map(([layer, one]) => `layer ${layer} ${pairId(one)}`),
    ...(policy.shareHeads ? ["KV heads share centroids"] : []),
  ].join(", ");
}

function describeSize({ tokens, sequences }: ChoosePolicyOptions): string {
  if (tokens === Infinity) return "codes alone";
  return `${sequences} sequence${sequences === 1 ? "" : "s"} of ${tokens} tokens`;
}

/** Up to three decimals, rounded up, so that the named budget suffices. */
function formatBits(bits: number): string {
  return `${Math.ceil(bits * 1000 - 1e-6) / 1000}`;
}

function formatLoss(loss: number): string {
  return loss.toPrecision(3);
}

function usage(why: string, remedy: string): CoupletError {
  return new CoupletError("usage", { what: WHAT, why, remedy });
}
