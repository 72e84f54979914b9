import { type Cache, type CodebookSet, createCache, planCache, type Sequence } from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { type CacheRun, evaluate } from "../demo/evaluate.ts";
import type { Quality } from "../demo/metrics.ts";
import { modelCacheInit } from "../engine/mod.ts";
import { measureCodeUsage } from "./code_usage.ts";
import { cachedContexts } from "./coded_contexts.ts";
import { needId } from "./codebook_store.ts";
import { CodingErrors, type CodingErrorsOfRun } from "./coding_error.ts";
import { Engines, inSmallerSteps } from "./engines.ts";
import { greedyTokens } from "./generation.ts";
import type { Measured, MeasuredMethod, MeasuredMethods } from "./measured.ts";
import { BASELINE, type Method, NOISE } from "./methods.ts";
import { errorContexts, evaluationContexts, trialTexts, type Work } from "./prepare.ts";
import type { CodeUsageFigures } from "./figures/results.ts";
import { predictAnswers } from "./retrieval.ts";

/** Caches of methods that are alive at once. */
const GROUP = 8;

/** New tokens in a step of the run that the noise floor is measured with. */
export const NOISE_CHUNK = 8;

/** What {@linkcode measureCaches} needs. */
export interface CacheMeasureOptions {
  readonly work: Work;
  readonly methods: readonly Method[];
  readonly device: GPUDevice;
  /** By {@linkcode needId}. */
  readonly codebooks: ReadonlyMap<string, CodebookSet>;
  /** Told how many tokens have run since it was last told. */
  readonly onTokens: (tokens: number) => void;
}

/** Measures the uncompressed cache, its noise floor, and methods, each through a cache of its own. */
export async function measureCaches(
  { work, methods, device, codebooks, onTokens }: CacheMeasureOptions,
): Promise<MeasuredMethods> {
  const { checkpoint, sizes, prompts, options } = work;
  const engines = new Engines(device, checkpoint, sizes);
  const uncompressed = await open(BASELINE);
  const noisy = inSmallerSteps(await open(NOISE), NOISE_CHUNK);
  let baseline: Measured | undefined;
  let noise: readonly Quality[] = [];
  const measured: MeasuredMethod[] = [];
  for (const group of groupsOf(methods)) {
    const references = baseline === undefined ? [uncompressed, noisy] : [uncompressed];
    const runs = [...references];
    for (const method of group) runs.push(await open(method));
    const found = await measureQuality(runs, references.length);
    if (baseline === undefined) {
      baseline = { qualities: found.qualities[0]!, ...await measureTexts(uncompressed) };
      noise = found.qualities[1]!;
    }
    for (const [i, run] of runs.slice(references.length).entries()) {
      measured.push({
        qualities: found.qualities[references.length + i]!,
        ...found.codingErrors[i]!,
        codeUsage: found.codeUsages[i]!,
        ...await measureTexts(run),
      });
      run.cache.destroy();
    }
  }
  const hidden = await predictAnswers(
    uncompressed,
    trialTexts(work, "notPlanted"),
    sizes.batch,
    onTokens,
  );
  for (const { cache } of [uncompressed, noisy]) cache.destroy();
  engines.destroy();
  return { baseline: baseline!, noise, hidden, methods: measured };

  async function open(method: Method): Promise<CacheRun> {
    const plan = planCache({
      ...work.cacheOptions(method),
      limits: device.limits,
      kernels: manifest,
    });
    const own = codebooks.get(needId(method.weights, method.keySpace, method.policy.shareHeads));
    const cache: Cache = await createCache({
      device,
      plan,
      ...modelCacheInit(checkpoint),
      ...(own === undefined ? {} : { codebooks: own }),
    });
    return await engines.run(cache);
  }

  /** Quality of all runs; errors and use of codes of those from `first` on. */
  async function measureQuality(runs: readonly CacheRun[], first: number) {
    const errors = new CodingErrors(checkpoint.config, errorContexts(work), first);
    const codingErrors: CodingErrorsOfRun[] = [];
    const codeUsages: (readonly CodeUsageFigures[])[] = [];
    const qualities = await evaluate({
      runs,
      contexts: evaluationContexts(work),
      ...sizes,
      onTokens,
      inspection: errors,
      async onFull(held: readonly (readonly Sequence[])[]): Promise<void> {
        for (let i = first; i < runs.length; i++) {
          const { cache } = runs[i]!;
          codingErrors.push(await errors.measure(i, cachedContexts(device, cache, held[i]!)));
          codeUsages.push(await measureCodeUsage(device, cache, held[i]!));
        }
      },
    });
    return { qualities, codingErrors, codeUsages };
  }

  async function measureTexts(run: CacheRun): Promise<Pick<Measured, "answers" | "written">> {
    return {
      answers: await predictAnswers(run, trialTexts(work, "planted"), sizes.batch, onTokens),
      written: prompts.length === 0
        ? []
        : await greedyTokens(run, prompts, options.generate, onTokens),
    };
  }
}

/** Tokens that {@linkcode measureCaches} runs through any cache. */
export function cacheTokens(work: Work, methods: readonly Method[]): number {
  const { prompts, options } = work;
  const read = evaluationContexts(work).length * options.context;
  const asked = trialTexts(work, "planted")
    .reduce((sum, { tokenIds }) => sum + tokenIds.length - 1, 0);
  const written = prompts.reduce((sum, { length }) => sum + length + options.generate - 1, 0);
  return (methods.length + 1) * (read + asked + written) + groupsOf(methods).length * read + asked;
}

/** The methods whose caches are alive together. */
function groupsOf(methods: readonly Method[]): readonly (readonly Method[])[] {
  return Array.from(
    { length: Math.max(1, Math.ceil(methods.length / GROUP)) },
    (_, i) => methods.slice(i * GROUP, (i + 1) * GROUP),
  );
}
