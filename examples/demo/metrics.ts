/** The distribution the uncompressed model gives for one position. */
export interface ReferenceRow {
  /** `[vocabulary]` logits. */
  readonly logits: Float32Array;
  /** `[vocabulary]` probabilities. */
  readonly probabilities: Float32Array;
  /** Natural log of the sum of the exponentials of the logits. */
  readonly logSumExp: number;
  /** The most probable token. */
  readonly top: number;
}

/** Quality of one run over all scored positions. */
export interface Quality {
  /** Positions scored. */
  readonly tokens: number;
  /** `exp` of the mean loss. */
  readonly perplexity: number;
  /** Mean KL divergence from the uncompressed run to this one, nats per token. */
  readonly divergence: number;
  /** Share of positions where both runs find the same token most probable. */
  readonly agreement: number;
}

/** Prepares one position's uncompressed logits for comparison. */
export function referenceRow(logits: Float32Array): ReferenceRow {
  const sum = logSumExp(logits);
  return {
    logits,
    probabilities: logits.map((logit) => Math.exp(logit - sum)),
    logSumExp: sum,
    top: indexOfLargest(logits),
  };
}

/**
 * KL divergence of a run's distribution from the uncompressed one, in nats.
 *
 * @param logits `[vocabulary]` logits of the run.
 */
export function divergence(
  { logits: reference, probabilities, logSumExp: sum }: ReferenceRow,
  logits: Float32Array,
): number {
  // KL(p || q) = sum p (log p - log q), with log p = r - R and log q = c - C for logits r and c.
  let nats = logSumExp(logits) - sum;
  for (let i = 0; i < logits.length; i++) {
    nats += probabilities[i]! * (reference[i]! - logits[i]!);
  }
  return nats;
}

/** Adds up the losses of a run, and its differences from the uncompressed one. */
export class QualityTally {
  #tokens = 0;
  #loss = 0;
  #divergence = 0;
  #agreed = 0;

  /**
   * Counts one position.
   *
   * @param reference The uncompressed run's distribution.
   * @param logits `[vocabulary]` logits of the run.
   * @param target The token that follows.
   */
  add(reference: ReferenceRow, logits: Float32Array, target: number): void {
    this.#tokens++;
    this.#loss += logSumExp(logits) - logits[target]!;
    this.#divergence += divergence(reference, logits);
    if (indexOfLargest(logits) === reference.top) this.#agreed++;
  }

  /** The figures so far; NaN where nothing was counted. */
  quality(): Quality {
    return {
      tokens: this.#tokens,
      perplexity: Math.exp(this.#loss / this.#tokens),
      divergence: this.#divergence / this.#tokens,
      agreement: this.#agreed / this.#tokens,
    };
  }
}

/** The quality over several contexts, from that in each: every position counts the same. */
export function poolQuality(contexts: readonly Quality[]): Quality {
  const tokens = contexts.reduce((sum, context) => sum + context.tokens, 0);
  function mean(of: (context: Quality) => number): number {
    return contexts.reduce((sum, context) => sum + context.tokens * of(context), 0) / tokens;
  }
  return {
    tokens,
    perplexity: Math.exp(mean(({ perplexity }) => Math.log(perplexity))),
    divergence: mean(({ divergence }) => divergence),
    agreement: mean(({ agreement }) => agreement),
  };
}

/** Natural log of the sum of exponentials, without overflow. */
export function logSumExp(logits: Float32Array): number {
  const largest = logits[indexOfLargest(logits)]!;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - largest);
  return largest + Math.log(sum);
}

/** The lowest index of the largest value. */
export function indexOfLargest(values: Float32Array): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** The middle value, or the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
}
