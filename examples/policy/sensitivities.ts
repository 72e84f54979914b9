import {
  type Cache,
  type CodebookSet,
  createCache,
  planCache,
  type Policy,
  type SchemeId,
  type Sensitivity,
  type Side,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { type CacheRun, evaluate, type ModelRun } from "../demo/evaluate.ts";
import { poolQuality } from "../demo/metrics.ts";
import { stepSizes } from "../demo/setups.ts";
import { CodedRun, policyCoding } from "../eval/coded_run.ts";
import { Engines } from "../eval/engines.ts";
import { type Checkpoint, modelCacheInit, modelCacheOptions } from "../engine/mod.ts";

/** Caches that are compared with one uncompressed run. */
const TOGETHER = 8;

/** Texts whose logits are in memory at once where every token is coded. */
const CODED_BATCH = 2;

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
  const { device, checkpoint, codebooks, contexts } = options;
  const length = contexts[0]!.length;
  const sizes = stepSizes(contexts.length, checkpoint.config);
  const { batch, chunk } = sizes;
  async function createWith(policy: Policy): Promise<Cache> {
    const plan = planCache({
      ...modelCacheOptions(checkpoint.config),
      policy,
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

  const engines = new Engines(device, checkpoint, sizes);
  try {
    return await measurePlaces(options, sizes, async (policies, measure) => {
      const runs: CacheRun[] = [];
      try {
        for (const policy of policies) runs.push(await engines.run(await createWith(policy)));
        return await measure(runs);
      } finally {
        for (const { cache } of runs) cache.destroy();
      }
    });
  } finally {
    engines.destroy();
  }
}

/**
 * The same with every token coded, those of unfinished blocks too, in float64 on the CPU: what codes lose where no
 * exact tokens help them, however long their blocks are.
 */
export function measureCodedSensitivities(
  options: Omit<SensitivityOptions, "device">,
): Promise<Sensitivity[]> {
  const { checkpoint, codebooks, contexts } = options;
  const { space: keySpace } = modelCacheOptions(checkpoint.config).keys;
  const sizes = { batch: CODED_BATCH, chunk: contexts[0]!.length };
  return measurePlaces(options, sizes, (policies, measure) =>
    measure(
      policies.map((policy) =>
        new CodedRun(
          checkpoint,
          policyCoding(checkpoint.config, { policy, keySpace, codebooks }),
        )
      ),
    ));
}

/**
 * Measures all places, some at a time.
 *
 * @param withRuns Calls what it is given with a run of each policy, of which the first is uncompressed.
 */
async function measurePlaces(
  { checkpoint, contexts, candidates, onProgress }: Omit<SensitivityOptions, "device">,
  sizes: { readonly batch: number; readonly chunk: number },
  withRuns: (
    policies: readonly Policy[],
    measure: (runs: readonly ModelRun[]) => Promise<Sensitivity[]>,
  ) => Promise<Sensitivity[]>,
): Promise<Sensitivity[]> {
  const places = placesOf(checkpoint.config.layers, candidates);
  const measured: Sensitivity[] = [];
  for (let first = 0; first < places.length; first += TOGETHER) {
    const group = places.slice(first, first + TOGETHER);
    const policies = [undefined, ...group].map(placePolicy);
    const total = policies.length * contexts.length * contexts[0]!.length;
    let done = 0;
    measured.push(
      ...await withRuns(policies, async (runs) => {
        const [, ...qualities] = await evaluate({
          runs,
          contexts,
          ...sizes,
          onTokens(tokens): void {
            done += tokens;
            onProgress?.((first + (done / total) * group.length) / places.length);
          },
        });
        return group.map((place, i) => ({
          ...place,
          loss: poolQuality(qualities[i]!).divergence,
        }));
      }),
    );
  }
  return measured;
}

/** The policy that codes one place, or none, and keeps all else. */
function placePolicy(place?: Place): Policy {
  const keys = "f16", values = "f16";
  return {
    keys,
    values,
    ...(place && { layers: { [place.layer]: { keys, values, [place.side]: place.scheme } } }),
  };
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
