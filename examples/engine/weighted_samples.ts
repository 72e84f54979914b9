import {
  type CalibrationSamples,
  CoupletError,
  type KeySpace,
  layerShape,
  queryScale,
  type Side,
} from "@couplet/kv";
import { layerKeys, modelCacheOptions } from "./attention_cache.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { createGradientEngine } from "./gradients.ts";
import { rotateHeads } from "./rotate_heads.ts";

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
  /** The space the keys are coded in: samples are before the rotary embedding, but for `as-scored`. Defaults to `pre-rope`. */
  readonly keySpace?: KeySpace;
  readonly onProgress?: (fraction: number) => void;
}

/**
 * The keys and values of every layer, with their weights. The model reads each text with dense attention
 * and no cache, and back again where gradients are wanted.
 *
 * @throws {CoupletError} `samples` where there is no text; as `createGradientEngine` does.
 */
export async function weightedSamples(
  { device, checkpoint, windows, weighting, keySpace = "pre-rope", onProgress }:
    WeightedSampleOptions,
): Promise<CalibrationSamples[]> {
  const lengths = windows.map(({ length }) => length);
  if (lengths.length === 0) {
    throw new CoupletError("samples", {
      what: "No samples can be taken",
      why: "there is no text",
      remedy: "Give a text of some thousand words",
    });
  }
  const cacheOptions = modelCacheOptions(checkpoint.config, keySpace);
  const keyOptions = layerKeys(cacheOptions, 0);
  const { queryHeads, keyValueHeads, headDim } = layerShape(cacheOptions.shape, 0);
  const fisher = weighting.includes("fisher");
  const positions = lengths.flatMap((length) => Array.from({ length }, (_, token) => token));
  /** Keys' and queries' vectors and gradients as the cache gets them: a rotation turns both alike. */
  function inSpace(vectors: Float32Array<ArrayBuffer>, heads: number): Float32Array<ArrayBuffer> {
    return keySpace === "as-scored"
      ? rotateHeads(vectors, lengths, heads, checkpoint.config)
      : vectors;
  }
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
          values: inSpace(keys, keyValueHeads),
          ...(keyOptions.space !== "as-scored" ? { positions, rope: keyOptions.rope } : {}),
          ...(fisher ? { weights: inSpace(keyGradients, keyValueHeads).map(square) } : {}),
          ...(weighting.includes("query")
            ? {
              scale: queryScale({
                queries: inSpace(queries, queryHeads),
                queryHeads,
                keyValueHeads,
                headDim,
                lengths,
                ...(keyOptions.space !== "as-scored" ? { rope: keyOptions.rope } : {}),
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
