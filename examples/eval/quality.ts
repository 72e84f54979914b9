import { poolQuality, type Quality } from "../demo/metrics.ts";
import type { QualityFigures } from "./figures/results.ts";
import { mean, standardError } from "./figures/statistics.ts";

/**
 * Quality over some contexts beside the uncompressed run's over the same ones.
 *
 * The ratio of perplexities is the exponential of a mean over contexts, of the difference of mean losses;
 * its standard error is that of this mean, carried over. The contexts' own difficulty cancels.
 *
 * @param contexts One element for each context.
 * @param baseline The uncompressed run's, in the same order.
 */
export function compareQuality(
  contexts: readonly Quality[],
  baseline: readonly Quality[],
): QualityFigures {
  const differences = contexts.map(({ perplexity }, i) =>
    Math.log(perplexity / baseline[i]!.perplexity)
  );
  const { tokens, perplexity, divergence, agreement } = poolQuality(contexts);
  const ratio = Math.exp(mean(differences));
  const error = standardError(differences);
  return {
    tokens,
    perplexity,
    ratio,
    ratioError: error === null ? null : ratio * error,
    divergence,
    agreement,
  };
}
