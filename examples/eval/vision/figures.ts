/** From answers to figures. */
import { type Answer, divergence } from "../../vision/answers.ts";
import { mean, standardError } from "../figures/statistics.ts";
import type { AnswerFigures, VisionFigures } from "./results.ts";

/**
 * What a method's answers come to.
 *
 * @param videos Answers by video.
 */
export function answerFigures(videos: readonly (readonly Answer[])[]): AnswerFigures {
  const all = videos.flat();
  const kinds = [...new Set(all.map(({ kind }) => kind))].sort();
  return {
    answers: all.length,
    accuracy: accuracy(all),
    accuracyError: standardError(videos.map(accuracy)),
    loss: mean(all.map(({ loss }) => loss)),
    kinds: kinds.map((kind) => {
      const own = all.filter((answer) => answer.kind === kind);
      return {
        kind,
        answers: own.length,
        accuracy: accuracy(own),
        loss: mean(own.map(({ loss }) => loss)),
      };
    }),
  };
}

/**
 * The same, beside answers to the same questions from the videos seen exactly.
 *
 * @param videos Answers by video.
 */
export function comparedFigures(
  videos: readonly (readonly Answer[])[],
  exact: readonly (readonly Answer[])[],
): Omit<VisionFigures, "name" | "effectiveBits" | "bytes"> {
  const each = (of: (answer: Answer, exact: Answer) => number) =>
    videos.map((answers, video) => mean(answers.map((one, i) => of(one, exact[video]![i]!))));
  const excesses = each((answer, exact) => answer.loss - exact.loss);
  const divergences = each((answer, exact) => divergence(exact.row, answer.row));
  return {
    ...answerFigures(videos),
    excess: mean(excesses),
    excessError: standardError(excesses),
    divergence: mean(divergences),
    divergenceError: standardError(divergences),
    agreement: mean(each((answer, exact) => answer.token === exact.token ? 1 : 0)),
  };
}

function accuracy(answers: readonly Answer[]): number {
  return mean(answers.map(({ right }) => right ? 1 : 0));
}
