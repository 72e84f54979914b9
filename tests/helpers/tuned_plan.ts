/** Tuning records that make a plan attend in a given way, whatever the estimates say. */
import { planCache, type PlanOptions, type TuningRecord } from "../../mod.ts";
import { candidateNames } from "../../src/plan/choose_attention.ts";
import { adapterIdentity, layerKind, tunedShape } from "../../src/plan/tuning_record.ts";
import type { AttentionWay } from "../../src/plan/steps.ts";
import { VERSION } from "../../src/base/version.ts";

/** How a layer is to attend in one way. */
export interface TunedChoice {
  /** Workgroups that share a step; the planner's number where absent. */
  readonly workgroups?: number;
  /** Pages of a coded tile; the planner's number where absent. */
  readonly span?: number;
}

/** A record that leaves kernels as estimated, and for the rest says what `choose` says of each layer. */
export function tunedPlan(
  device: GPUDevice,
  planned: PlanOptions,
  choose: (layer: number, way: AttentionWay) => TunedChoice,
): TuningRecord {
  const plan = planCache(planned);
  return {
    version: VERSION,
    adapter: adapterIdentity(device),
    shape: tunedShape(plan.options),
    clock: "wall clock",
    attention: plan.layers.flatMap((layer, i) =>
      (["decode", "prefill"] as const).map((way) => ({
        ...layerKind(plan.options.layers[i]!),
        way,
        sequences: 1,
        context: 1,
        tokens: 1,
        candidates: [{
          kernels: candidateNames(layer[way]),
          span: layer[way].span,
          workgroups: layer[way].splits.workgroups,
          milliseconds: 1,
          ...choose(i, way),
        }],
      }))
    ),
  };
}
