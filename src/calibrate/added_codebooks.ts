/**
 * Learns codebooks whose centroids are added, after vectors are normalised: k-means stage by stage
 * on what is left, then refinement by turns of codes and centroids (Babenko and Lempitsky, CVPR
 * 2014, §3.3).
 */
import type { Codebook } from "../codebooks/codebook.ts";
import { centroidNumbers, GRID_STEPS, roundToGrid } from "../codebooks/grid.ts";
import {
  fromFloat16Bits,
  LEAST_NORMAL_FLOAT16,
  toFloat16Array,
  toFloat16Bits,
} from "../base/float16.ts";
import { sizeLevel } from "../schemes/normalisation.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import {
  blockMeans,
  blocksOf,
  learnMeans,
  learnSizes,
  type MeanGrid,
  onGrid,
} from "./normalised_samples.ts";
import type { KmeansResult } from "./lloyd.ts";
import { updateStages } from "./refine.ts";
import { type CalibrationSamples, tokensOf, weightAt } from "./samples.ts";
import { type OpenSearch, pointsOfGroup, type StageSearch } from "./stage_search.ts";

/** Turns of codes and centroids. Held-out errors fall by less than a hundredth after them. */
const TURNS = 4;

/** Sweeps over the stages of one turn. */
const SWEEPS = 2;

/** Most Lloyd iterations of one of several stages: refinement follows. */
const STAGE_ITERATIONS = 10;

/** Most Lloyd iterations of each stage, where a single one would have `iterations`. */
export function stageIterations(scheme: SchemeId, iterations: number): number {
  return parseScheme(scheme).codebookSpec!.stages! > 1
    ? Math.min(iterations, STAGE_ITERATIONS)
    : iterations;
}

/**
 * The power that weights are raised to. Squared gradients are so unequal that few tokens would
 * decide.
 */
const TEMPER = 0.6;

/**
 * Points at 0 of mean weight that each centroid has besides its own. A centroid has some tens of
 * points, and its mean is of them: this makes errors of other points smaller by half a hundredth.
 */
const RIDGE = 1;

/** How a codebook is learned. */
export interface AddedLearning {
  /** Whether all KV heads get the same centroids. */
  readonly shareHeads: boolean;
  /** Clusters all groups of points, for one stage; `done` is the part of it that is done. */
  cluster(
    points: CalibrationSamples,
    stage: number,
    report: (done: number) => void,
  ): Promise<readonly KmeansResult[]>;
  /** Begins the search of codes. */
  readonly openSearch: OpenSearch;
  /** Called with the part of all work that is done. */
  report(done: number): void;
  /** Yields to other work. */
  pause(): Promise<void>;
}

/** One KV head's vectors, in the space of the centroids. */
interface HeadPoints {
  /** `[headDim]`: the grids of the channels' means; none where they are not subtracted. */
  readonly grids: readonly MeanGrid[];
  /** `[tokens]` vectors `[headDim]`, without their means, scaled. */
  readonly rests: readonly Float64Array[];
  /** `[tokens]`. */
  readonly sizes: readonly number[];
  /** `[headDim]`: what numbers were multiplied by. */
  readonly scale: Float32Array<ArrayBuffer>;
}

/** Learns the codebook of one layer and side. */
export async function learnAdded(
  samples: CalibrationSamples,
  schemeId: SchemeId,
  learning: AddedLearning,
): Promise<Pick<Codebook, "centroids" | "grid" | "normalisation" | "scale">> {
  const { channels, centroids, codebookSpec, block } = parseScheme(schemeId);
  const stages = codebookSpec!.stages!;
  const { keyValueHeads, headDim } = samples;
  const { shareHeads } = learning;
  const heads = Array.from(
    { length: keyValueHeads },
    (_, head) => headPoints(samples, head, codebookSpec!.normalised ? block : undefined),
  );
  const points = stagePoints(samples, channels, heads, shareHeads);
  const { found, codes } = await learnStages(points, channels, stages, learning);
  const numbers = new Float64Array(found.length * stages * centroids * channels);
  found.flat().forEach((own, i) => numbers.set(own, i * own.length));
  const rounded = roundToGrid(numbers, schemeId);
  const scales = Float32Array.from(heads.flatMap(({ scale }) => [...scale]));
  const codebook = {
    centroids: rounded.centroids,
    grid: unscaledGrid(rounded.grid, scales, stages),
    ...(scales.every((factor) => factor === 1) ? {} : { scale: scales }),
  };
  if (!codebookSpec!.normalised) return codebook;
  const sums = codedSums(centroidNumbers({ scheme: schemeId, ...rounded }), codes, {
    channels,
    centroids,
    stages,
    headDim,
    sharing: shareHeads ? keyValueHeads : 1,
  });
  const grids = heads.flatMap((head) => head.grids);
  const sizes = heads.flatMap(({ rests, sizes }, head) => // Codes are searched with one size, and stored with another that is usually larger.
  [...learnSizes([...sizes, ...adjustedSizes(rests, (token) => sums(head, token))])]);
  return {
    ...codebook,
    normalisation: {
      offsets: Float32Array.from(grids, ({ offset }) => offset),
      meanSteps: toFloat16Array(grids.map(({ step }) => step * GRID_STEPS)),
      sizes: toFloat16Array(sizes),
    },
  };
}

/** Centroids of several stages, and the codes of their points. */
interface LearnedStages {
  /** `[groups][stages]` centroids `[centroids][channels]`. */
  readonly found: readonly (readonly Float64Array[])[];
  /** `[groups][count][stages]`. */
  readonly codes: readonly Uint16Array[];
}

/** Learns stages one after the other, then all together. Of `points` it leaves what is unexplained. */
async function learnStages(
  points: CalibrationSamples,
  channels: number,
  stages: number,
  { cluster, openSearch, report, pause }: AddedLearning,
): Promise<LearnedStages> {
  const parts = stages + TURNS + 1;
  const groups = Array.from(
    { length: (points.keyValueHeads * points.headDim) / channels },
    (_, group) => pointsOfGroup(points, channels, group),
  );
  const found: Float64Array[][] = groups.map(() => []);
  const search = await openSearch(points, channels);
  try {
    for (let stage = 0; stage < stages; stage++) {
      const results = await cluster(points, stage, (done) => report((stage + done / 2) / parts));
      results.forEach(({ centroids }, group) => found[group]!.push(centroids.slice()));
      // Nothing learns from what the last stage leaves.
      if (stage === stages - 1) break;
      const part = (done: number) => report((stage + (1 + done) / 2) / parts);
      const rest = stage === 0 ? search : await openSearch(points, channels);
      try {
        subtractNearest(points, channels, found, await nearestCodes(rest, found, part));
      } finally {
        if (rest !== search) rest.close();
      }
    }
    let codes: readonly Uint16Array[] = [];
    for (let turn = 0; turn <= TURNS; turn++) {
      const part = (done: number) => report((stages + turn + done) / parts);
      codes = await search.search(found, (done) => part(done / 2));
      if (turn === TURNS) break;
      for (const [group, own] of groups.entries()) {
        updateStages(own, codes[group]!, found[group]!, SWEEPS, RIDGE * meanOf(own.weights));
        part((1 + (group + 1) / groups.length) / 2);
        await pause();
      }
    }
    report(1);
    return { found, codes };
  } finally {
    search.close();
  }
}

/** The mean of some weights. */
function meanOf(weights: Float64Array): number {
  return weights.reduce((sum, weight) => sum + weight, 0) / weights.length;
}

/** The codes of points among the centroids of the last stage alone. */
function nearestCodes(
  search: StageSearch,
  found: readonly (readonly Float64Array[])[],
  report: (done: number) => void,
): Promise<readonly Uint16Array[]> {
  return search.search(found.map((own) => own.slice(-1)), report);
}

/** One head's vectors after their normalisation, by blocks of tokens; undefined is none. */
function headPoints(
  samples: CalibrationSamples,
  head: number,
  block: number | undefined,
): HeadPoints {
  const { values, keyValueHeads, headDim } = samples;
  const scale = samples.scale?.slice(head * headDim, (head + 1) * headDim) ??
    new Float32Array(headDim).fill(1);
  const vectors = Array.from({ length: tokensOf(samples) }, (_, token) => {
    const at = (token * keyValueHeads + head) * headDim;
    return values.subarray(at, at + headDim);
  });
  if (block === undefined) {
    return {
      grids: [],
      rests: vectors.map((vector) => Float64Array.from(vector, (value, i) => value * scale[i]!)),
      sizes: vectors.map(() => 1),
      scale,
    };
  }
  const blocks = blocksOf(vectors.length, samples.positions, block);
  const means = blockMeans(vectors, blocks);
  const grids = learnMeans(means);
  const coded = means.map((mean) => grids.map((grid, channel) => onGrid(mean[channel]!, grid)));
  const plain = vectors.map((vector, token) =>
    Float64Array.from(vector, (value, i) => value - coded[blocks[token]!]![i]!)
  );
  const rests = plain.map((rest) => rest.map((value, i) => value * scale[i]!));
  const energies = rests.map((rest) => rest.reduce((sum, value) => sum + value * value, 0));
  const sizes = learnSizes(energies.map((energy) => Math.sqrt(energy / headDim)));
  return {
    grids,
    rests,
    sizes: energies.map((energy) => sizes[sizeLevel(energy, headDim, sizes)]!),
    scale,
  };
}

/**
 * The points of all heads, and one weight for each group of channels. Where heads share centroids,
 * their points are those of one head.
 */
function stagePoints(
  samples: CalibrationSamples,
  channels: number,
  heads: readonly HeadPoints[],
  shareHeads: boolean,
): CalibrationSamples {
  const { layer, side, keyValueHeads, headDim } = samples;
  const tokens = tokensOf(samples);
  const values = new Float32Array(tokens * keyValueHeads * headDim);
  const weights = new Float32Array(values.length / channels);
  heads.forEach(({ rests, sizes, scale }, head) =>
    rests.forEach((rest, token) => {
      const size = sizes[token]!;
      const at = (token * keyValueHeads + head) * headDim;
      values.set(rest.map((value) => value / size), at);
      for (let i = 0; i < headDim; i++) {
        weights[Math.floor((at + i) / channels)]! += weightAt(samples, channels, head, token, i) *
          (size / scale[i]!) ** 2;
      }
    })
  );
  const largest = weights.reduce((most, weight) => Math.max(most, weight), 0);
  return {
    layer,
    side,
    keyValueHeads: shareHeads ? 1 : keyValueHeads,
    headDim,
    values,
    weights: weights.map((weight) => (weight / largest) ** TEMPER),
  };
}

/**
 * Grids in the vectors' own space, of all heads: where heads share centroids, those of one stand for
 * all before they are unscaled.
 */
function unscaledGrid(
  grid: Uint16Array,
  scales: Float32Array,
  stages: number,
): Uint16Array<ArrayBuffer> {
  return Uint16Array.from({ length: scales.length * (stages + 1) }, (_, at) => {
    const number = fromFloat16Bits(grid[at % grid.length]!);
    const factor = scales[Math.floor(at / (stages + 1))]!;
    // Products of a level and a step stay positive.
    return toFloat16Bits(
      at % (stages + 1) === stages
        ? Math.max(LEAST_NORMAL_FLOAT16, number / factor)
        : number / factor,
    );
  });
}

/** Leaves of points what the centroids of the last stage do not explain. */
function subtractNearest(
  { values, keyValueHeads, headDim }: CalibrationSamples,
  channels: number,
  found: readonly (readonly Float64Array[])[],
  codes: readonly Uint16Array[],
): void {
  const stride = keyValueHeads * headDim;
  codes.forEach((own, group) => {
    const centroids = found[group]!.at(-1)!;
    own.forEach((code, token) => {
      for (let i = 0; i < channels; i++) {
        values[token * stride + group * channels + i]! -= centroids[code * channels + i]!;
      }
    });
  });
}

/** Sizes with which what was coded keeps its length. */
function adjustedSizes(
  rests: readonly Float64Array[],
  sum: (token: number) => Float64Array,
): number[] {
  return rests.flatMap((rest, token) => {
    const coded = sum(token);
    let energy = 0;
    let square = 0;
    rest.forEach((value, i) => {
      energy += value * value;
      square += coded[i]! * coded[i]!;
    });
    return square > 0 && energy > 0 ? [Math.sqrt(energy / square)] : [];
  });
}

/** Sizes of what codes stand for. */
interface CodeSizes {
  readonly channels: number;
  readonly centroids: number;
  readonly stages: number;
  readonly headDim: number;
  /** KV heads that have the same groups. */
  readonly sharing: number;
}

/** The sums that codes stand for, `[headDim]` of one head and token. */
function codedSums(
  numbers: ArrayLike<number>,
  codes: readonly Uint16Array[],
  { channels, centroids, stages, headDim, sharing }: CodeSizes,
): (head: number, token: number) => Float64Array {
  const perHead = headDim / channels;
  return (head, token) => {
    const sum = new Float64Array(headDim);
    const row = token * sharing + head % sharing;
    for (let group = 0; group < perHead; group++) {
      const own = (sharing > 1 ? 0 : head * perHead) + group;
      for (let stage = 0; stage < stages; stage++) {
        const code = codes[own]![row * stages + stage]!;
        const at = ((own * stages + stage) * centroids + code) * channels;
        for (let i = 0; i < channels; i++) sum[group * channels + i]! += numbers[at + i]!;
      }
    }
    return sum;
  };
}
