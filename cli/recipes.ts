/** Named choices of how a cache is coded, each for caches of some size. */
import type { KeySpace } from "../src/model/model.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";

/** What a recipe is for: least loss, fewest bytes with little loss, or least time. */
export const RECIPE_NAMES = ["best", "small", "fast"] as const;

/** One of {@linkcode RECIPE_NAMES}. */
export type RecipeName = (typeof RECIPE_NAMES)[number];

/** How keys and values are coded, and how codebooks for it are learned. */
export interface Recipe {
  readonly name: RecipeName;
  /** Tokens of all sequences together from which on it is the choice: they share the codebooks. */
  readonly tokens: number;
  readonly keys: SchemeId;
  readonly values: SchemeId;
  /** The space that keys are coded in. */
  readonly space: KeySpace;
  /** Whether samples are weighted by squared gradients of the loss. */
  readonly fisher: boolean;
  /** Whether all KV heads of a layer and side share centroids. */
  readonly shareHeads: boolean;
  /** Why it is the choice, with what it was measured against. */
  readonly reason: string;
}

/** What data-free recipes have in common. */
const WITHOUT_CODEBOOKS = { space: "pre-rope", fisher: false, shareHeads: false } as const;

/** What most learned recipes have in common. */
const LEARNED = { space: "pre-rope", fisher: true, shareHeads: false } as const;

/**
 * All recipes; those of one name with ascending tokens, from 0 on. Losses are KL divergences from f16 of the fixture model,
 * every token coded, in nats per token (docs/evaluation.md#every-token-coded), and bits those of its codes and codebooks.
 */
export const RECIPES: readonly Recipe[] = [
  {
    ...WITHOUT_CODEBOOKS,
    name: "best",
    tokens: 0,
    keys: "u4b8",
    values: "u4b8",
    reason:
      "has no codebooks, which are most of a short cache: 3.2 bits at 512 tokens, loses 0.038",
  },
  {
    ...LEARNED,
    name: "best",
    tokens: 2560,
    keys: "n8b4x4",
    values: "n8b4x4",
    reason:
      "small codebooks: 2.4 bits at 4,096 tokens, loses 0.026; u4b8 takes 2.5 and loses 0.038",
  },
  {
    ...LEARNED,
    name: "best",
    tokens: 32768,
    keys: "n8b8x2",
    values: "n8b8x2",
    reason: "2.3 bits at 32,768 tokens, loses 0.018; n8b4x4 takes 2.2 and loses 0.026",
  },
  {
    ...WITHOUT_CODEBOOKS,
    name: "small",
    tokens: 0,
    keys: "u8b8",
    values: "u8b8",
    reason: "has no codebooks, which are most of a short cache: 2.2 bits at 512 tokens, loses 0.16",
  },
  {
    ...LEARNED,
    name: "small",
    tokens: 2560,
    keys: "n16b4x4",
    values: "n16b4x4",
    reason: "small codebooks: 1.4 bits at 4,096 tokens, loses 0.091; u8b8 takes 1.5 and loses 0.16",
  },
  {
    ...LEARNED,
    name: "small",
    tokens: 32768,
    keys: "n16b8x2",
    values: "n16b8x2",
    reason: "1.3 bits at 32,768 tokens, loses 0.044; c8b8 takes 1.1 and loses 0.11",
  },
  {
    ...LEARNED,
    name: "fast",
    tokens: 0,
    keys: "c8b8",
    values: "c8b8",
    space: "as-scored",
    reason: "a key costs one addition for eight channels, and no rotary embedding; loses 0.22",
  },
];

/** The recipe of a name for caches that hold some tokens. */
export function findRecipe(name: RecipeName, tokens: number): Recipe {
  return RECIPES.findLast((recipe) => recipe.name === name && recipe.tokens <= tokens)!;
}

/** A recipe in words. */
export function describeRecipe(
  { name, tokens, keys, values, space, shareHeads, reason }: Recipe,
): string {
  return `${name}, from ${tokens} tokens on: ${keys} for keys ${space}, ${values} for values${
    shareHeads ? ", KV heads share centroids" : ""
  }: ${reason}`;
}
