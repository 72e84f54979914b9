/** Finds the codes of points as sums of centroids, for all groups of a layer and side. */
import { SEARCH_BEAM } from "./kmeans_layout.ts";
import { searchStages, type StagePoints } from "./refine.ts";
import { type CalibrationSamples, groupInput, tokensOf } from "./samples.ts";

/** A search over points that stay the same, whatever the centroids. */
export interface StageSearch {
  /**
   * The codes of all points, `[groups][count][stages]`: the sums nearest to them, by beam search.
   *
   * @param stages `[groups][stages]` centroids `[centroids][channels]`.
   * @param report Called with the part that is done.
   */
  search(
    stages: readonly (readonly Float64Array[])[],
    report: (done: number) => void,
  ): Promise<Uint16Array[]>;
  /** Gives up what the points take. */
  close(): void;
}

/** Begins a search; changes of `points` after it do not matter. */
export type OpenSearch = (points: CalibrationSamples, channels: number) => Promise<StageSearch>;

/** The points and weights of one group, in float64. */
export function pointsOfGroup(
  points: CalibrationSamples,
  channels: number,
  group: number,
): StagePoints {
  const own = groupInput(points, channels, group);
  const weights = own.weights ?? new Float64Array(tokensOf(points)).fill(1);
  return { channels, points: Float64Array.from(own.points), weights: Float64Array.from(weights) };
}

/**
 * A search on the CPU, in float64.
 *
 * @param pause Yields to other work.
 */
export function cpuSearch(pause: () => Promise<void>): OpenSearch {
  return (given, channels) => {
    const points = { ...given, values: given.values.slice() };
    return Promise.resolve({
      async search(stages, report) {
        const codes: Uint16Array[] = [];
        for (const [group, own] of stages.entries()) {
          const width = own.length === 1 ? 1 : SEARCH_BEAM;
          codes.push(searchStages(pointsOfGroup(points, channels, group), own, width).codes);
          report((group + 1) / stages.length);
          await pause();
        }
        return codes;
      },
      close() {},
    });
  };
}
