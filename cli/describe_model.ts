/** What a plan is for, in words: the model, the sizes of its cache, and what is to be known of both. */
import type { ModelPlanOptions } from "../src/models/mod.ts";
import type { Capacity, ExactTiers } from "../src/plan/options.ts";

/** The lines above a plan's tables. */
export function describeModel(
  { modelType, shape, modelLayers, layerNumbers, keys }: ModelPlanOptions,
  { capacity, tiers }: { readonly capacity: Capacity; readonly tiers: ExactTiers },
  notes: readonly string[],
): string[] {
  return [
    `${modelType}: ${shape.layers} layers, ${alternatives(shape.queryHeads)} query heads, ${
      alternatives(shape.keyValueHeads)
    } KV heads of ${alternatives(shape.headDim)} channels${
      shape.valueHeadDim === undefined ? "" : `, values ${alternatives(shape.valueHeadDim)}`
    }`,
    ...(modelLayers === shape.layers ? [] : [
      `These are the model's layers ${
        ranges(layerNumbers)
      } of ${modelLayers}: the others have no attention`,
    ]),
    `${capacity.sequences} x ${capacity.sequenceTokens} tokens, up to ${capacity.appendTokens} new ones of a sequence in a step; ` +
    `exact: the first ${tiers.sinks}, the last ${tiers.window}; keys ${keys.space}`,
    ...notes,
  ];
}

/** One number for all layers, or those of all layers, each once. */
function alternatives(numbers: number | readonly number[]): string {
  return [...new Set([numbers].flat())].join(" or ");
}

/** Rising numbers as ranges: `0-2,4`. */
export function ranges(numbers: readonly number[]): string {
  const parts: number[][] = [];
  for (const number of numbers) {
    const last = parts.at(-1);
    if (last !== undefined && last.at(-1) === number - 1) last.push(number);
    else parts.push([number]);
  }
  return parts.map((part) => part.length === 1 ? `${part[0]}` : `${part[0]}-${part.at(-1)}`)
    .join(",");
}
