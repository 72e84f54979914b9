import type { CodebookSet } from "@couplet/kv";
import type { Quality } from "../demo/metrics.ts";
import { effectiveBits, nominalBits } from "./effective_bits.ts";
import type { Evaluation, MethodFigures } from "./figures/results.ts";
import { mean, standardError } from "./figures/statistics.ts";
import { firstDifference } from "./generation.ts";
import { cacheTokens, measureCaches, NOISE_CHUNK } from "./measure_caches.ts";
import { codedTokens, measureCoded } from "./measure_coded.ts";
import type { Measured, MeasuredMethod } from "./measured.ts";
import { BASELINE, type Method, NOISE } from "./methods.ts";
import type { Work } from "./prepare.ts";
import { compareQuality } from "./quality.ts";

/** What an evaluation measures. */
export type Measurements = Pick<Evaluation, "baseline" | "noiseFloor" | "methods">;

/** What {@linkcode measure} needs. */
export interface MeasureOptions {
  readonly work: Work;
  readonly device: GPUDevice;
  /** By weights and space of the methods. */
  readonly codebooks: ReadonlyMap<string, CodebookSet>;
  readonly onProgress: (fraction: number) => void;
}

/** Measures the uncompressed model, its noise floor, and all methods. */
export async function measure(
  { work, device, codebooks, onProgress }: MeasureOptions,
): Promise<Measurements> {
  const { methods, trials, options } = work;
  const [cached, coded] = [false, true].map((all) =>
    methods.filter(({ allCoded }) => allCoded === all)
  ) as [Method[], Method[]];
  const throughCaches = cached.length > 0 || coded.length === 0;
  let done = 0;
  const total = (throughCaches ? cacheTokens(work, cached) : 0) +
    (coded.length > 0 ? codedTokens(work, coded) : 0);
  const common = {
    work,
    codebooks,
    onTokens: (tokens: number) => onProgress((done += tokens) / total),
  };
  const ofCaches = throughCaches
    ? await measureCaches({ ...common, device, methods: cached })
    : undefined;
  const ofCoded = coded.length > 0 ? await measureCoded({ ...common, methods: coded }) : undefined;

  const { baseline, noise, hidden } = (ofCaches ?? ofCoded)!;
  return {
    baseline: {
      quality: qualityFigures(baseline.qualities, baseline.qualities),
      effectiveBits: effectiveBits(work.cacheOptions(BASELINE), options.sequences, false),
      retrieval: byDistance((chosen) => {
        const planted = chosen.map((i) => baseline.answers[i]!);
        const gaps = chosen.map((i) => hidden[i]!.loss - baseline.answers[i]!.loss);
        return {
          planted: mean(planted.map(({ loss }) => loss)),
          notPlanted: mean(chosen.map((i) => hidden[i]!.loss)),
          accuracy: mean(planted.map(({ accuracy }) => accuracy)),
          gapError: standardError(gaps),
        };
      }),
    },
    noiseFloor: {
      ...(ofCaches === undefined
        ? { chunk: options.context, ...BASELINE.tiers, allCoded: true }
        : { chunk: NOISE_CHUNK, ...NOISE.tiers, allCoded: false }),
      quality: qualityFigures(noise, baseline.qualities),
    },
    methods: methods.map((method) => {
      const [group, found] = method.allCoded ? [coded, ofCoded!] : [cached, ofCaches!];
      return methodFigures(method, found.methods[group.indexOf(method)]!, found.baseline);
    }),
  };

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
    const { name, policy, weights, keySpace, tiers, allCoded } = method;
    const { layers, ...rest } = policy;
    return {
      name,
      policy: layers === undefined ? rest : { ...rest, layers },
      weights,
      keySpace,
      ...tiers,
      allCoded,
      nominalBits: nominalBits(work.cacheOptions(method)),
      effectiveBits: effectiveBits(work.cacheOptions(method), options.sequences, allCoded),
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
