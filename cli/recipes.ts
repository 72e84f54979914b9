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

/** All recipes; those of one name with ascending tokens, from 0 on. */
export const RECIPES: readonly Recipe[] = [
  {
    ...WITHOUT_CODEBOOKS,
    name: "best",
    tokens: 0,
    keys: "u4b8",
    values: "u4b8",
    reason: "codebooks would be most of a short cache, and it has none",
  },
  {
    ...LEARNED,
    name: "best",
    tokens: 8192,
    keys: "n8b8x2",
    values: "n8b8x2",
    reason: "loses less than half of c4b8 at as many bits",
  },
  {
    ...WITHOUT_CODEBOOKS,
    name: "small",
    tokens: 0,
    keys: "u8b8",
    values: "u8b8",
    reason: "codebooks would be most of a short cache, and it has none",
  },
  {
    ...LEARNED,
    name: "small",
    tokens: 8192,
    keys: "n16b8x2",
    values: "n16b8x2",
    reason: "loses about half of c8b8 at 1.14 bits",
  },
  {
    ...LEARNED,
    name: "fast",
    tokens: 0,
    keys: "c8b8",
    values: "c8b8",
    space: "as-scored",
    reason: "a key costs one addition for eight channels, and no rotary embedding",
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
