import {
  type Cache,
  type CodebookSet,
  createCache,
  planCache,
  type SchemeId,
  type Sensitivity,
  type Side,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { type CacheRun, evaluate } from "../demo/evaluate.ts";
import { poolQuality } from "../demo/metrics.ts";
import { stepSizes } from "../demo/setups.ts";
import { Engines } from "../eval/engines.ts";
import { type Checkpoint, modelCacheInit, modelCacheOptions } from "../engine/mod.ts";

/** Caches that are compared with one uncompressed run. */
const TOGETHER = 8;

/** What {@linkcode measureSensitivities} needs. */
export interface SensitivityOptions {
  readonly device: GPUDevice;
  readonly checkpoint: Checkpoint;
  /** Codebooks of every candidate. */
  readonly codebooks: CodebookSet;
  /** Texts of equal length, in tokens, that the codebooks were not learned on. */
  readonly contexts: readonly (readonly number[])[];
  readonly candidates: readonly SchemeId[];
  readonly onProgress?: (fraction: number) => void;
}

/**
 * Runs the model once for each layer, side and candidate, with that side of that layer coded and all else
 * uncompressed, through the library's cache: KL divergence from the uncompressed run, in nats per token. It has
 * far less noise than the loss.
 */
export async function measureSensitivities(options: SensitivityOptions): Promise<Sensitivity[]> {
  const { device, checkpoint, codebooks, contexts, candidates, onProgress } = options;
  const length = contexts[0]!.length;
  const sizes = stepSizes(contexts.length, checkpoint.config);
  const { batch, chunk } = sizes;
  async function createWith(place?: Place): Promise<Cache> {
    const keys = "f16", values = "f16";
    const plan = planCache({
      ...modelCacheOptions(checkpoint.config),
      policy: {
        keys,
        values,
        ...(place && { layers: { [place.layer]: { keys, values, [place.side]: place.scheme } } }),
      },
      tiers: { sinks: 0, window: 0 },
      capacity: {
        sequences: batch,
        tokens: batch * length,
        sequenceTokens: length,
        stepTokens: batch * chunk,
        appendTokens: chunk,
      },
      limits: device.limits,
      kernels: manifest,
    });
    return await createCache({ device, plan, codebooks, ...modelCacheInit(checkpoint) });
  }

  const places = placesOf(checkpoint.config.layers, candidates);
  const measured: Sensitivity[] = [];
  const engines = new Engines(device, checkpoint, sizes);
  try {
    for (let first = 0; first < places.length; first += TOGETHER) {
      const group = places.slice(first, first + TOGETHER);
      const runs: CacheRun[] = [];
      try {
        for (const place of [undefined, ...group]) {
          runs.push(await engines.run(await createWith(place)));
        }
        const total = runs.length * contexts.length * length;
        let done = 0;
        const [, ...qualities] = await evaluate({
          runs,
          contexts,
          ...sizes,
          onTokens(tokens): void {
            done += tokens;
            onProgress?.((first + (done / total) * group.length) / places.length);
          },
        });
        group.forEach((place, i) =>
          measured.push({ ...place, loss: poolQuality(qualities[i]!).divergence })
        );
      } finally {
        for (const { cache } of runs) cache.destroy();
      }
    }
  } finally {
    engines.destroy();
  }
  return measured;
}

/** What is coded while all else is not. */
interface Place {
  readonly layer: number;
  readonly side: Side;
  readonly scheme: SchemeId;
}

function placesOf(layers: number, candidates: readonly SchemeId[]): Place[] {
  return candidates.flatMap((scheme) =>
    Array.from(
      { length: layers },
      (_, layer) => (["keys", "values"] as const).map((side) => ({ layer, side, scheme })),
    ).flat()
  );
}
