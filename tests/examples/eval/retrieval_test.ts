import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import {
  buildTrials,
  predictAnswers,
  type TrialOptions,
} from "../../../examples/eval/retrieval.ts";
import type { ModelRun } from "../../../examples/demo/evaluate.ts";
import { parseTokenizer } from "../../../examples/engine/tokenizer.ts";
import { FIXTURE } from "../../helpers/llama.ts";

const tokenizer = parseTokenizer(
  JSON.parse(await Deno.readTextFile(`${FIXTURE}/tokenizer.json`)),
);
const filler = tokenizer.encode(
  Array.from({ length: 300 }, (_, i) => `The ship had sailed for ${i} days.`).join(" "),
);
const OPTIONS: TrialOptions = {
  tokenizer,
  vocabularySize: 2048,
  filler,
  distances: [24, 100, 448],
  trials: 3,
  seed: 1,
  maxTokens: 512,
};

/** Every place in `tokens` where `part` begins. */
function places(tokens: readonly number[], part: readonly number[]): number[] {
  return tokens.flatMap((_, i) => part.every((token, j) => tokens[i + j] === token) ? [i] : []);
}

Deno.test("buildTrials: the answer was last given exactly so many tokens before, three times in all", () => {
  const trials = buildTrials(OPTIONS);
  assert.deepEqual(
    trials.map(({ distance }) => distance),
    [24, 24, 24, 100, 100, 100, 448, 448, 448],
  );
  for (const { distance, planted, answerTokens } of trials) {
    const answer = planted.slice(-answerTokens);
    const found = places(planted, answer);
    assert.equal(found.length, 4, tokenizer.decode(planted));
    assert.equal(found.at(-1)! - found.at(-2)!, distance);
    assert.ok(planted.length <= OPTIONS.maxTokens);
    // The question is what stands before the answer in the plant.
    assert.equal(planted[found.at(-1)! - 1], planted[found.at(-2)! - 1]);
  }
});

Deno.test("buildTrials: without the plant, the same text has the answer at its end alone", () => {
  for (const { planted, notPlanted, answerTokens } of buildTrials(OPTIONS)) {
    assert.equal(notPlanted.length, planted.length);
    assert.deepEqual(places(notPlanted, notPlanted.slice(-answerTokens)), [
      notPlanted.length - answerTokens,
    ]);
    const differing = planted.flatMap((token, i) => token === notPlanted[i] ? [] : [i]);
    assert.deepEqual(planted.slice(0, 8), notPlanted.slice(0, 8));
    assert.ok(differing.at(-1)! < 8 + 40, "only the plant differs");
  }
});

Deno.test("buildTrials: the seed alone decides", () => {
  assert.deepEqual(buildTrials(OPTIONS), buildTrials(OPTIONS));
  assert.notDeepEqual(buildTrials({ ...OPTIONS, seed: 2 }), buildTrials(OPTIONS));
  assert.deepEqual(buildTrials({ ...OPTIONS, trials: 0 }), []);
});

Deno.test("predictAnswers: loss and accuracy on the answer's tokens, each after the tokens before it", async () => {
  const seen: number[][] = [];
  // Predicts the token that is one more than the last.
  const run: ModelRun = {
    cache: {
      createSequence: () => ({ id: seen.push([]) - 1 }),
      freeSequence: () => {},
    },
    forward: (entries) =>
      Promise.resolve({
        logits: entries.map(({ sequence, tokenIds }) => {
          seen[sequence.id]!.push(...tokenIds);
          return Float32Array.from(
            tokenIds.flatMap((id) =>
              Array.from({ length: 8 }, (_, next) => next === id + 1 ? 9 : 0)
            ),
          );
        }),
      }),
  };
  const texts = [
    { tokenIds: [3, 0, 1, 2, 3], answerTokens: 2 },
    { tokenIds: [5, 6, 1], answerTokens: 1 },
    { tokenIds: [0, 1, 2, 7], answerTokens: 2 },
  ];
  let tokens = 0;
  const answers = await predictAnswers(run, texts, 2, (count) => tokens += count);
  const rest = Math.log(Math.exp(9) + 7);
  assert.deepEqual(answers.map(({ accuracy }) => accuracy), [1, 0, 0.5]);
  for (const [i, loss] of [rest - 9, rest, rest - 4.5].entries()) {
    assert.ok(Math.abs(answers[i]!.loss - loss) < 1e-5, `${answers[i]!.loss} is not ${loss}`);
  }
  assert.deepEqual(seen, [[3, 0, 1, 2], [5, 6], [0, 1, 2]]);
  assert.equal(tokens, 9);
});

for (
  const [name, options, code, words] of [
    ["a distance that the question fills", { distances: [4] }, "usage", /4 tokens after/],
    ["a distance beyond the model", { distances: [600] }, "usage", /made for 512/],
    ["a text that is too short", { filler: filler.slice(0, 50) }, "samples", /50 tokens/],
    ["a vocabulary without names", { vocabularySize: 20 }, "shape", /--trials 0/],
  ] as const
) {
  Deno.test(`buildTrials refuses ${name}`, () => {
    assert.throws(
      () => buildTrials({ ...OPTIONS, ...options }),
      (error) => error instanceof CoupletError && error.code === code && words.test(error.message),
    );
  });
}
