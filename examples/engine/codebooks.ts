import {
  calibrate,
  type CalibrationProgress,
  type CalibrationSamples,
  type CodebookSet,
  CoupletError,
  createCache,
  planCache,
  type SchemeId,
  type Side,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import {
  layerKeys,
  modelCacheInit,
  modelCacheOptions,
  plannedEngineOptions,
} from "./attention_cache.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { createEngine } from "./engine.ts";

/** What {@linkcode learnCodebooks} needs. */
export interface LearnOptions {
  readonly device: GPUDevice;
  readonly checkpoint: Checkpoint;
  /** The text to learn on, in tokens. */
  readonly tokenIds: readonly number[];
  /** Where it is from, for people. */
  readonly source: string;
  /** Schemes by side; those without codebooks are left out. */
  readonly schemes: Readonly<Record<Side, readonly SchemeId[]>>;
  readonly seed: number;
  readonly onProgress?: (progress: CalibrationProgress) => void;
}

/** Tokens of the text the model sees at a time. */
const CONTEXT = 512;

/**
 * Learns codebooks for keys before their rotary embedding and for values: the model reads the text with
 * an uncompressed cache, and what it computes is clustered.
 *
 * @throws {CoupletError} `samples` where the text is too short for the schemes.
 */
export async function learnCodebooks(options: LearnOptions): Promise<CodebookSet> {
  const { device, checkpoint, schemes, seed, source, onProgress } = options;
  return await calibrate({
    samples: await captureSamples(options),
    schemes,
    keySpace: "pre-rope",
    model: checkpoint.fingerprint,
    valueRotations: checkpoint.valueRotations,
    source,
    seed,
    device,
    kernels: manifest,
    ...(onProgress ? { onProgress } : {}),
  });
}

/** Keys and values of every layer. */
async function captureSamples(
  { device, checkpoint, tokenIds }: LearnOptions,
): Promise<CalibrationSamples[]> {
  const { layers, keyValueHeads, headDim, maxPositions } = checkpoint.config;
  if (tokenIds.length === 0) {
    throw new CoupletError("samples", {
      what: "No codebooks can be learned",
      why: "the calibration text is empty",
      remedy: "Give a text of some thousand words",
    });
  }
  const context = Math.min(CONTEXT, maxPositions, tokenIds.length);
  const plan = planCache({
    ...modelCacheOptions(checkpoint.config),
    policy: { keys: "f16", values: "f16" },
    tiers: { sinks: 0, window: 0 },
    capacity: {
      sequences: 1,
      tokens: context,
      sequenceTokens: context,
      stepTokens: context,
      appendTokens: context,
    },
    limits: device.limits,
    kernels: manifest,
  });
  const cache = await createCache({ device, plan, ...modelCacheInit(checkpoint) });
  const engine = await createEngine({
    device,
    checkpoint,
    cache,
    ...plannedEngineOptions(plan, checkpoint.config),
  });
  const width = keyValueHeads * headDim;
  const cacheOptions = modelCacheOptions(checkpoint.config);
  const positions = Uint32Array.from(tokenIds, (_, token) => token % context);
  const samples = Array.from(
    { length: layers },
    (_, layer) => {
      const keys = layerKeys(cacheOptions, layer);
      return (["keys", "values"] as const).map((side: Side) => ({
        layer,
        side,
        keyValueHeads,
        headDim,
        values: new Float32Array(tokenIds.length * width),
        ...(keys.space !== "as-scored" ? { positions, rope: keys.rope } : {}),
      }));
    },
  ).flat();
  try {
    for (let first = 0; first < tokenIds.length; first += context) {
      const sequence = engine.createSequence();
      const result = await engine.forward(
        [{ sequence, tokenIds: tokenIds.slice(first, first + context) }],
        { keys: true, values: true },
      );
      for (const { layer, side, values } of samples) {
        values.set(result[side]![layer]!, first * width);
      }
      engine.freeSequence(sequence);
    }
  } finally {
    engine.destroy();
    cache.destroy();
  }
  return samples;
}
