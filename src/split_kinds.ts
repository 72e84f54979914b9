/** The layers of a plan by what their splits are counted by: each kind has its own parameters of a step. */
import type { SplitTarget } from "./cache_sizes.ts";
import type { LayerPlan } from "./plan.ts";
import type { AttentionWay } from "./tuning.ts";

/** Kinds of layers that a step is cut into splits for alike. */
export interface SplitKinds {
  /** What the splits of each kind are counted by. */
  readonly targets: readonly SplitTarget[];
  /** The kind of each layer, as an index of `targets`. */
  readonly ofLayer: readonly number[];
}

/** The kinds of a plan's layers, in one way of attending. */
export function splitKinds(
  layers: readonly Pick<LayerPlan, AttentionWay>[],
  way: AttentionWay,
): SplitKinds {
  const targets: SplitTarget[] = [];
  const ofLayer = layers.map((layer) => {
    const own = layer[way].splits;
    const known = targets.findIndex(({ workgroups, span, keyValueHeads }) =>
      workgroups === own.workgroups && span === own.span && keyValueHeads === own.keyValueHeads
    );
    return known === -1 ? targets.push(own) - 1 : known;
  });
  return { targets, ofLayer };
}

/** Sets of parameters that a step has: one for each kind of layers, in the way that has more. */
export function parameterSets(layers: readonly Pick<LayerPlan, AttentionWay>[]): number {
  return Math.max(
    splitKinds(layers, "decode").targets.length,
    splitKinds(layers, "prefill").targets.length,
  );
}
