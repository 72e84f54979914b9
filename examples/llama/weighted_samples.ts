import { type CalibrationSamples, CoupletError, queryScale, type Side } from "@couplet/kv";
import { modelCacheOptions } from "./attention_cache.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { createGradientEngine } from "./gradients.ts";

/**
 * What makes some errors of a code count more than others:
 *
 * - `fisher`: squared gradients of the loss, per sample (Coupled Quantization, arXiv 2405.03917 §3.2)
 * - `query`: what the queries ask of the keys' channels (TaSQ, arXiv 2610.03027)
 */
export const WEIGHTINGS = ["none", "query", "fisher", "fisher+query"] as const;

/** One of {@linkcode WEIGHTINGS}. */
export type Weighting = (typeof WEIGHTINGS)[number];

/** What {@linkcode weightedSamples} needs. */
export interface WeightedSampleOptions {
  readonly device: GPUDevice;
  readonly checkpoint: Checkpoint;
  /** Texts to sample, in tokens, none longer than the model's positions. */
  readonly windows: readonly (readonly number[])[];
  readonly weighting: Weighting;
  readonly onProgress?: (fraction: number) => void;
}

/**
 * The keys of every layer, before their rotary embedding, and the values, with their weights. The model
 * reads each text with dense attention and no cache, and back again where gradients are wanted.
 *
 * @throws {CoupletError} `samples` where there is no text; as `createGradientEngine` does.
 */
export async function weightedSamples(
  { device, checkpoint, windows, weighting, onProgress }: WeightedSampleOptions,
): Promise<CalibrationSamples[]> {
  const lengths = windows.map(({ length }) => length);
  if (lengths.length === 0) {
    throw new CoupletError("samples", {
      what: "No samples can be taken",
      why: "there is no text",
      remedy: "Give a text of some thousand words",
    });
  }
  const { keys: keyOptions, shape } = modelCacheOptions(checkpoint.config);
  const { queryHeads, keyValueHeads, headDim } = shape;
  const fisher = weighting.includes("fisher");
  const engine = await createGradientEngine({
    device,
    checkpoint,
    windowTokens: Math.max(...lengths),
  });
  try {
    const { layers } = await engine.run(windows, {
      gradients: fisher,
      ...(onProgress ? { onProgress } : {}),
    });
    return layers.flatMap((found, layer) => {
      const common = (side: Side) => ({ layer, side, keyValueHeads, headDim });
      const { queries, keys, values, keyGradients, valueGradients } = found;
      return [
        {
          ...common("keys"),
          values: keys,
          ...(fisher ? { weights: keyGradients.map(square) } : {}),
          ...(weighting.includes("query") && keyOptions.space === "pre-rope"
            ? {
              scale: queryScale({
                queries,
                queryHeads,
                keyValueHeads,
                headDim,
                lengths,
                rope: keyOptions.rope,
              }),
            }
            : {}),
        },
        {
          ...common("values"),
          values,
          ...(fisher ? { weights: valueGradients.map(square) } : {}),
        },
      ];
    });
  } finally {
    engine.destroy();
  }
}

function square(value: number): number {
  return value * value;
}
