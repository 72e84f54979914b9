/** All families whose configurations are read, by `model_type`. */
import type { Family } from "./reading/family.ts";
import { GEMMAS } from "./families/gemmas.ts";
import { GPTS } from "./families/gpts.ts";
import { HYBRIDS } from "./families/hybrids.ts";
import { LLAMAS } from "./families/llamas.ts";
import { QWENS } from "./families/qwens.ts";
import { WINDOWED } from "./families/windowed.ts";

/** The families. */
export const FAMILIES: readonly Family[] = [
  ...LLAMAS,
  ...QWENS,
  ...GEMMAS,
  ...WINDOWED,
  ...HYBRIDS,
  ...GPTS,
];

const byType: ReadonlyMap<string, Family> = new Map(
  FAMILIES.flatMap((family) => family.types.map((type) => [type, family])),
);

/** The family of a `model_type`, or undefined where it is not known. */
export function findFamily(modelType: string): Family | undefined {
  return byType.get(modelType);
}

/** The `model_type`s that `planOptions()` reads. */
export const MODEL_TYPES: readonly string[] = [...byType.keys()];
