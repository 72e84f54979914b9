/** What a model answers, from its logits. */
import { indexOfLargest, logSumExp, type ReferenceRow, referenceRow } from "../demo/metrics.ts";
import type { Question } from "./videos.ts";
import type { VisionModel } from "./vision_model.ts";

/** One question's answer. */
export interface Answer {
  /** What is asked: the question's first token, without its brackets. */
  readonly kind: string;
  /** The most probable token. */
  readonly token: number;
  /** Whether it is the right one. */
  readonly right: boolean;
  /** Natural logarithm of the right token's probability, negated. */
  readonly loss: number;
  /** Distribution over the vocabulary. */
  readonly row: ReferenceRow;
}

/** Questions as they follow a video, each with its right answer. */
export function questionTokens(questions: readonly Question[]): number[] {
  return questions.flatMap(({ tokenIds, answer }) => [...tokenIds, answer]);
}

/**
 * The answers to questions.
 *
 * @param logits Of the tokens of {@linkcode questionTokens}, `[tokens][vocabularySize]`.
 */
export function readAnswers(
  { text: { config, tokenizer } }: VisionModel,
  questions: readonly Question[],
  logits: Float32Array,
): Answer[] {
  const width = config.vocabularySize;
  let first = 0;
  return questions.map(({ tokenIds, answer }) => {
    const last = first + tokenIds.length - 1;
    first += tokenIds.length + 1;
    const own = logits.subarray(last * width, (last + 1) * width);
    const token = indexOfLargest(own);
    return {
      kind: tokenizer.decode(tokenIds.slice(0, 1)).replace(/^<(.*)>$/, "$1"),
      token,
      right: token === answer,
      loss: logSumExp(own) - own[answer]!,
      row: referenceRow(own),
    };
  });
}

/** KL divergence from one distribution to another, nats. */
export function divergence(from: ReferenceRow, to: ReferenceRow): number {
  let sum = to.logSumExp - from.logSumExp;
  from.probabilities.forEach((probability, i) => {
    sum += probability * (from.logits[i]! - to.logits[i]!);
  });
  return sum;
}
