/** All schemes that fit a model, side by side, and which of them to take. */
import type { KernelInfo } from "../src/kernels/kernel.ts";
import type { KeySpace } from "../src/model/model.ts";
import type { ModelPlanOptions } from "../src/models/mod.ts";
import type { CachePlan, PlanOptions } from "../src/plan/plan.ts";
import type { CacheBytes } from "../src/plan/sizes.ts";
import { parseScheme } from "../src/schemes/parse_scheme.ts";
import type { LayerPolicy } from "../src/schemes/policy.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import type { CacheArguments } from "./cache_arguments.ts";
import { biasedChannels } from "./key_bias.ts";
import { kernelSchemes } from "./kernels.ts";
import { tryPlan } from "./plan_within.ts";
import { PUBLISHED_LOSSES, type PublishedLoss } from "./published_losses.ts";
import { findRecipe } from "./recipes.ts";

/** What a pair of schemes comes to for a model. */
export interface ComparedSchemes extends LayerPolicy {
  readonly bytes: CacheBytes;
  readonly effectiveBits: number;
  /** Whether codebooks must be learned. */
  readonly calibration: boolean;
  /** Absent where none is published. */
  readonly loss?: Pick<PublishedLoss, "perplexity" | "divergence" | "everyToken">;
  /** Whether the model's keys have a bias that the keys' scheme does not hold. */
  readonly biasLost: boolean;
}

/** All that can be planned, those of most bits first, and what cannot. */
export interface Comparison {
  readonly compared: readonly ComparedSchemes[];
  readonly refused: readonly (LayerPolicy & { readonly why: string })[];
}

/** Plans a cache with each pair of schemes. */
export function compareSchemes(
  options: Omit<PlanOptions, "policy">,
  args: CacheArguments,
  model: ModelPlanOptions,
): Comparison {
  const compared: ComparedSchemes[] = [];
  const refused: Comparison["refused"][number][] = [];
  for (const { loss, ...pair } of candidates(options.kernels)) {
    const plan = tryPlan({ ...options, policy: pair }, args);
    if ("why" in plan) {
      refused.push({ ...pair, why: plan.why });
      continue;
    }
    compared.push({
      ...pair,
      bytes: plan.bytes,
      effectiveBits: plan.effectiveBits,
      calibration: [pair.keys, pair.values].some((id) => parseScheme(id).codebook === "learned"),
      ...(loss === undefined ? {} : { loss }),
      biasLost: model.keyBias && losesBias(pair.keys, plan),
    });
  }
  compared.sort((a, b) => b.effectiveBits - a.effectiveBits);
  return { compared, refused };
}

/** Pairs whose loss is published, and each other scheme that can code both sides of a cache. */
function candidates(
  kernels: readonly KernelInfo[],
): readonly (LayerPolicy & Pick<ComparedSchemes, "loss">)[] {
  const published = PUBLISHED_LOSSES.map(({ keys, values, ...loss }) => ({ keys, values, loss }));
  const paired = new Set(published.flatMap(({ keys, values }) => [keys, values]));
  const others = kernelSchemes(kernels).filter((id) => {
    const { codebook, forSpans } = parseScheme(id);
    // Those whose codes are numbers are made for keys or for values.
    return codebook !== "none" && !forSpans && !paired.has(id);
  });
  return [...published, ...others.map((id) => ({ keys: id, values: id }))];
}

function losesBias(keys: SchemeId, { options }: CachePlan): boolean {
  return options.layers.some(({ headDim }) =>
    biasedChannels(keys, headDim, options.keys.space) < headDim
  );
}

/** Nats per token that are called little: about what recipes for the least loss lose. */
const LITTLE_LOSS = 0.04;

/** A choice, and why it is made. */
export interface Recommendation extends ComparedSchemes {
  readonly recipe?: "best";
  readonly why: string;
}

/**
 * What to take: the recipe for the least loss at the length if it can be planned, else the fewest
 * bits of those that lose little; undefined where nothing loses a known amount.
 *
 * @param tokens Of all sequences.
 * @param space The space of the keys; recipes are for the one that they were measured in.
 */
export function recommend(
  { compared }: Comparison,
  tokens: number,
  space: KeySpace,
): Recommendation | undefined {
  const comparable = compared.filter(({ loss, biasLost }) => loss?.everyToken && !biasLost);
  const recipe = findRecipe("best", tokens);
  const ofRecipe = comparable.find(({ keys, values }) =>
    keys === recipe.keys && values === recipe.values && space === recipe.space
  );
  if (ofRecipe !== undefined) return { ...ofRecipe, recipe: "best", why: recipe.reason };
  const little = comparable.findLast(({ loss }) => loss!.divergence <= LITTLE_LOSS);
  if (little !== undefined) {
    return { ...little, why: `the fewest bits of those that lose at most ${LITTLE_LOSS} nats` };
  }
  const least = comparable.toSorted((a, b) => a.loss!.divergence - b.loss!.divergence)[0];
  return least && { ...least, why: "it loses least" };
}

/** The fewest bits without calibration, of those that lose a known amount. */
export function withoutCalibration({ compared }: Comparison): ComparedSchemes | undefined {
  return compared.findLast(({ calibration, loss, biasLost }) =>
    !calibration && !biasLost && loss?.everyToken && loss.divergence <= LITTLE_LOSS
  );
}
