import { CoupletError } from "@couplet/kv";
import { seededRandom } from "../../src/base/random.ts";
import type { ModelRun } from "../demo/evaluate.ts";
import { indexOfLargest, logSumExp } from "../demo/metrics.ts";
import type { Tokenizer } from "../engine/mod.ts";

/** One text at whose end the model is asked for a name it may have met before. */
export interface Trial {
  /** Tokens from the answer's last mention to the asked one. */
  readonly distance: number;
  /** The text with the name planted, question and answer last. */
  readonly planted: readonly number[];
  /** The same with other text in the place of the plant. */
  readonly notPlanted: readonly number[];
  /** Tokens of the answer, at the end of both. */
  readonly answerTokens: number;
}

/** What {@linkcode buildTrials} needs. */
export interface TrialOptions {
  readonly tokenizer: Tokenizer;
  readonly vocabularySize: number;
  /** Tokens of a text to hide the names in. */
  readonly filler: readonly number[];
  readonly distances: readonly number[];
  /** Names at each distance. */
  readonly trials: number;
  readonly seed: number;
  /** Most tokens a text may have. */
  readonly maxTokens: number;
}

/** Tokens of an invented name: the question gives the first, the others are the answer. */
const NAME_TOKENS = 4;

/** Tokens of text before the plant. */
const LEAD = 8;

/** Beginnings and middles of invented names that the vocabulary must have, so that names differ. */
const LEAST_PIECES = 16;

/**
 * Texts for retrieval: an invented name, `Mr. <name>`, stands three times in one sentence, other text
 * follows, and at the end `Mr.` and the name's first token ask for the rest. Names are random tokens, so
 * that nothing but the plant tells the answer; three mentions, because small models recall no less.
 *
 * @throws {CoupletError} `usage` where a distance leaves no room, `samples` where the text is too short for
 * it, `shape` where the vocabulary has too few pieces of names.
 */
export function buildTrials(options: TrialOptions): readonly Trial[] {
  const { tokenizer, filler, distances, trials, seed, maxTokens } = options;
  if (trials === 0) return [];
  const pieces = namePieces(options);
  const random = seededRandom(seed, "retrieval");
  const pick = (list: readonly number[]) => list[random.below(list.length)]!;
  const [title, wife, visit, stop] = [" Mr.", ", and the wife of", " came to see", "."]
    .map((text) => tokenizer.encode(text));
  return distances.flatMap((distance) =>
    Array.from({ length: trials }, (): Trial => {
      const name = [
        pick(pieces.beginnings),
        ...Array.from({ length: NAME_TOKENS - 1 }, () => pick(pieces.middles)),
      ];
      const mention = [...title!, ...name];
      const plant = [...mention, ...wife!, ...mention, ...visit!, ...mention, ...stop!];
      const question = [...title!, name[0]!];
      const answer = name.slice(1);
      // From the answer in the plant to the end of the plant, the text between, and the question.
      const between = distance - (answer.length + stop!.length) - question.length;
      const length = LEAD + plant.length + between + question.length + answer.length;
      checkRoom(distance, between, length, options);
      const start = random.below(filler.length - (LEAD + plant.length + between) + 1);
      const text = filler.slice(start, start + LEAD + plant.length + between);
      const end = [...text.slice(LEAD + plant.length), ...question, ...answer];
      return {
        distance,
        planted: [...text.slice(0, LEAD), ...plant, ...end],
        notPlanted: [...text.slice(0, LEAD + plant.length), ...end],
        answerTokens: answer.length,
      };
    })
  );

  function checkRoom(distance: number, between: number, length: number, { filler }: TrialOptions) {
    if (between < 0 || length > maxTokens) {
      throw new CoupletError("usage", {
        what: `Cannot ask for a name ${distance} tokens after it was planted`,
        why: between < 0
          ? `a question alone is ${distance - between} tokens from the name`
          : `the text takes ${length} tokens and the model was made for ${maxTokens}`,
        remedy: `Use --distances from ${distance - between} to ${distance + maxTokens - length}`,
      });
    }
    if (length > filler.length) {
      throw new CoupletError("samples", {
        what: `Cannot hide a name ${distance} tokens back in the text`,
        why: `the text has ${filler.length} tokens and ${length} are needed`,
        remedy: "Pass a longer --text, or smaller --distances",
      });
    }
  }
}

/** Tokens that can begin a name, and those that can continue one. */
function namePieces(
  { tokenizer, vocabularySize }: TrialOptions,
): { readonly beginnings: readonly number[]; readonly middles: readonly number[] } {
  const tokens = Array.from({ length: vocabularySize }, (_, id) => ({
    id,
    text: tokenizer.decode([id]),
  }));
  const matching = (pattern: RegExp) =>
    tokens.filter(({ text }) => pattern.test(text)).map(({ id }) => id);
  const beginnings = matching(/^ ?[A-Z][a-z]{0,4}$/);
  const middles = matching(/^[a-z]{2,4}$/);
  if (Math.min(beginnings.length, middles.length) < LEAST_PIECES) {
    throw new CoupletError("shape", {
      what: "Cannot invent names for retrieval",
      why: `the vocabulary has ${beginnings.length} tokens that can begin one and ` +
        `${middles.length} that can continue it`,
      remedy: "Leave retrieval out with --trials 0",
    });
  }
  return { beginnings, middles };
}

/** How well a text's answer is predicted. */
export interface Answer {
  /** Mean loss on its tokens, in nats. */
  readonly loss: number;
  /** Share of its tokens that are the likeliest. */
  readonly accuracy: number;
}

/**
 * How well each text's answer is predicted.
 *
 * @param texts Texts that end with an answer of `answerTokens` tokens.
 * @param batch Texts that run together.
 * @param onTokens Told how many tokens have run since it was last told.
 */
export async function predictAnswers(
  { cache, forward }: ModelRun,
  texts: readonly { readonly tokenIds: readonly number[]; readonly answerTokens: number }[],
  batch: number,
  onTokens: (tokens: number) => void,
): Promise<readonly Answer[]> {
  const found: Answer[] = [];
  for (let first = 0; first < texts.length; first += batch) {
    const group = texts.slice(first, first + batch).map(({ tokenIds, answerTokens }) => ({
      sequence: cache.createSequence(),
      answer: tokenIds.slice(-answerTokens),
      // Each token of the answer is predicted by the one before it, and logits are read of these alone.
      context: tokenIds.slice(0, -answerTokens - 1),
      predicting: tokenIds.slice(-answerTokens - 1, -1),
    }));
    await forward(group.map(({ sequence, context }) => ({ sequence, tokenIds: context })), {});
    const { logits } = await forward(
      group.map(({ sequence, predicting }) => ({ sequence, tokenIds: predicting })),
      { logits: "all" },
    );
    group.forEach(({ answer }, i) => found.push(scoreAnswer(answer, logits![i]!)));
    for (const { sequence, context, answer } of group) {
      cache.freeSequence(sequence);
      onTokens(context.length + answer.length);
    }
  }
  return found;
}

/** @param logits `[answer][vocabulary]`. */
function scoreAnswer(answer: readonly number[], logits: Float32Array): Answer {
  const width = logits.length / answer.length;
  let loss = 0;
  let right = 0;
  answer.forEach((token, i) => {
    const row = logits.subarray(i * width, (i + 1) * width);
    loss += logSumExp(row) - row[token]!;
    if (indexOfLargest(row) === token) right++;
  });
  return { loss: loss / answer.length, accuracy: right / answer.length };
}
