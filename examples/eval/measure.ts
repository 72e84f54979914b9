import { type Cache, type CodebookSet, createCache, planCache, type Sequence } from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { type CacheRun, evaluate } from "../demo/evaluate.ts";
import type { Quality } from "../demo/metrics.ts";
import { measureCodeUsage } from "./code_usage.ts";
import { needId } from "./codebook_store.ts";
import { cachedContexts } from "./coded_contexts.ts";
import { CodingErrors, type CodingErrorsOfRun } from "./coding_error.ts";
import { effectiveBits } from "./effective_bits.ts";
import { Engines, inSmallerSteps } from "./engines.ts";
import { firstDifference, greedyTokens } from "./generation.ts";
import { BASELINE, type Method, NOISE } from "./methods.ts";
import type { Work } from "./prepare.ts";
import { compareQuality } from "./quality.ts";
import type { CodeUsageFigures, Evaluation, MethodFigures } from "./figures/results.ts";
import { type Answer, predictAnswers } from "./retrieval.ts";
import { mean, standardError } from "./figures/statistics.ts";

/** Caches of methods that are alive at once. */
const GROUP = 8;

/** New tokens in a step of the run that the noise floor is measured with. */
const NOISE_CHUNK = 8;

/** Contexts whose vectors are decoded for the coding error, at most. */
const ERROR_CONTEXTS = 2;

/** What is measured of a cache. */
interface Measured {
  readonly qualities: readonly Quality[];
  /** Of the planted texts. */
  readonly answers: readonly Answer[];
  /** Written text. */
  readonly written: readonly (readonly number[])[];
}

/** What is measured of a method's cache beside that. */
interface MeasuredMethod extends Measured, CodingErrorsOfRun {
  readonly codeUsage: readonly CodeUsageFigures[];
}

/** What an evaluation measures. */
export type Measurements = Pick<Evaluation, "baseline" | "noiseFloor" | "methods">;

/** What {@linkcode measure} needs. */
export interface MeasureOptions {
  readonly work: Work;
  readonly device: GPUDevice;
  /** By {@linkcode needId}. */
  readonly codebooks: ReadonlyMap<string, CodebookSet>;
  readonly onProgress: (fraction: number) => void;
}

/** Measures the uncompressed cache, its noise floor, and all methods. */
export async function measure(
  { work, device, codebooks, onProgress }: MeasureOptions,
): Promise<Measurements> {
  const { checkpoint, methods, sizes, trials, prompts, options } = work;
  const contexts = [...work.texts.different.contexts, ...work.texts.inDomain.contexts];
  const engines = new Engines(device, checkpoint, sizes);
  const groups = Array.from(
    { length: Math.max(1, Math.ceil(methods.length / GROUP)) },
    (_, i) => methods.slice(i * GROUP, (i + 1) * GROUP),
  );
  let done = 0;
  const total = totalTokens();
  const onTokens = (tokens: number) => onProgress((done += tokens) / total);

  const uncompressed = await open(BASELINE);
  const noisy = inSmallerSteps(await open(NOISE), NOISE_CHUNK);
  let baseline: Measured | undefined;
  let noise: readonly Quality[] = [];
  const measured: MeasuredMethod[] = [];
  for (const group of groups) {
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
  const hidden = await answers(uncompressed, "notPlanted");
  for (const { cache } of [uncompressed, noisy]) cache.destroy();
  engines.destroy();

  return {
    baseline: {
      quality: qualityFigures(baseline!.qualities, baseline!.qualities),
      effectiveBits: effectiveBits(work.cacheOptions(BASELINE), options.sequences),
      retrieval: byDistance((chosen) => {
        const planted = chosen.map((i) => baseline!.answers[i]!);
        const gaps = chosen.map((i) => hidden[i]!.loss - baseline!.answers[i]!.loss);
        return {
          planted: mean(planted.map(({ loss }) => loss)),
          notPlanted: mean(chosen.map((i) => hidden[i]!.loss)),
          accuracy: mean(planted.map(({ accuracy }) => accuracy)),
          gapError: standardError(gaps),
        };
      }),
    },
    noiseFloor: {
      chunk: NOISE_CHUNK,
      ...NOISE.tiers,
      quality: qualityFigures(noise, baseline!.qualities),
    },
    methods: methods.map((method, i) => methodFigures(method, measured[i]!, baseline!)),
  };

  async function open(method: Method): Promise<CacheRun> {
    const plan = planCache({
      ...work.cacheOptions(method),
      limits: device.limits,
      kernels: manifest,
    });
    const own = codebooks.get(needId(method.weights, method.keySpace));
    const cache: Cache = await createCache({
      device,
      plan,
      model: checkpoint.fingerprint,
      ...(own === undefined ? {} : { codebooks: own }),
    });
    return await engines.run(cache);
  }

  /** Quality of all runs; errors and use of codes of those from `first` on. */
  async function measureQuality(runs: readonly CacheRun[], first: number) {
    const errors = new CodingErrors(
      checkpoint.config,
      Math.min(ERROR_CONTEXTS, work.texts.different.contexts.length),
      first,
    );
    const codingErrors: CodingErrorsOfRun[] = [];
    const codeUsages: (readonly CodeUsageFigures[])[] = [];
    const qualities = await evaluate({
      runs,
      contexts,
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
      answers: await answers(run, "planted"),
      written: prompts.length === 0
        ? []
        : await greedyTokens(run, prompts, options.generate, onTokens),
    };
  }

  function answers(run: CacheRun, kind: "planted" | "notPlanted"): Promise<readonly Answer[]> {
    const texts = trials.map((trial) => ({
      tokenIds: trial[kind],
      answerTokens: trial.answerTokens,
    }));
    return predictAnswers(run, texts, sizes.batch, onTokens);
  }

  /** Tokens that will run through any cache. */
  function totalTokens(): number {
    const read = contexts.length * options.context;
    const asked = trials.reduce((sum, { planted }) => sum + planted.length - 1, 0);
    const written = prompts.reduce((sum, { length }) => sum + length + options.generate - 1, 0);
    return (methods.length + 1) * (read + asked + written) + groups.length * read + asked;
  }

  function qualityFigures(contexts: readonly Quality[], reference: readonly Quality[]) {
    const border = work.texts.different.contexts.length;
    return {
      different: compareQuality(contexts.slice(0, border), reference.slice(0, border)),
      inDomain: compareQuality(contexts.slice(border), reference.slice(border)),
    };
  }

  /** Figures of the trials of each distance. */
  function byDistance<T>(
    figures: (chosen: readonly number[]) => T,
  ): ({ distance: number } & T)[] {
    const distances = [...new Set(trials.map(({ distance }) => distance))];
    return distances.map((distance) => ({
      distance,
      ...figures(trials.flatMap((trial, i) => trial.distance === distance ? [i] : [])),
    }));
  }

  function methodFigures(
    method: Method,
    found: MeasuredMethod,
    { answers, written, qualities }: Measured,
  ): MethodFigures {
    const { name, policy, weights, keySpace, tiers } = method;
    const { layers, ...rest } = policy;
    return {
      name,
      policy: layers === undefined ? rest : { ...rest, layers },
      weights,
      keySpace,
      ...tiers,
      nominalBits: planCache({ ...work.cacheOptions(method), kernels: manifest }).nominalBits,
      effectiveBits: effectiveBits(work.cacheOptions(method), options.sequences),
      quality: qualityFigures(found.qualities, qualities),
      retrieval: byDistance((chosen) => {
        const own = chosen.map((i) => found.answers[i]!);
        const excess = chosen.map((i) => found.answers[i]!.loss - answers[i]!.loss);
        return {
          loss: mean(own.map(({ loss }) => loss)),
          accuracy: mean(own.map(({ accuracy }) => accuracy)),
          excess: mean(excess),
          excessError: standardError(excess),
        };
      }),
      firstDifferences: found.written.map((tokens, i) => firstDifference(written[i]!, tokens)),
      codingError: [...found.codingError],
      logitError: [...found.logitError],
      codeUsage: [...found.codeUsage],
    };
  }
}
