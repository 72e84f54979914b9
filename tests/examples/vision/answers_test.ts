import assert from "node:assert/strict";
import { divergence, questionTokens, readAnswers } from "../../../examples/vision/answers.ts";
import { loadVisionModel } from "../../../examples/vision/vision_model.ts";
import { VISION_FIXTURE } from "../../helpers/vision.ts";

const model = await loadVisionModel(VISION_FIXTURE);
const ids = (text: string) => model.text.tokenizer.encode(text);
const QUESTIONS = [
  { tokenIds: ids("<look><f3><c11>"), answer: ids("7")[0]! },
  { tokenIds: ids("<first><c2>5"), answer: ids("<f4>")[0]! },
];

/** Logits that favour one token in each row by `by`. */
function logitsOf(tokens: readonly number[], by: number): Float32Array {
  const width = model.text.config.vocabularySize;
  const logits = new Float32Array(tokens.length * width);
  tokens.forEach((token, row) => logits[row * width + token] = by);
  return logits;
}

Deno.test("readAnswers reads the row before each answer", () => {
  const tokens = questionTokens(QUESTIONS);
  assert.deepEqual(tokens, ids("<look><f3><c11>7<first><c2>5<f4>"));
  // Each row favours the token that follows it, but the last question is answered wrongly.
  const next = [...tokens.slice(1), 0];
  next[6] = ids("<f5>")[0]!;
  const answers = readAnswers(model, QUESTIONS, logitsOf(next, 3));
  assert.deepEqual(answers.map(({ kind, right }) => [kind, right]), [
    ["look", true],
    ["first", false],
  ]);
  assert.deepEqual(answers.map(({ token }) => token), [QUESTIONS[0]!.answer, ids("<f5>")[0]]);
  const rest = Math.log(Math.exp(3) + model.text.config.vocabularySize - 1);
  assert.ok(Math.abs(answers[0]!.loss - (rest - 3)) < 1e-5);
  assert.ok(Math.abs(answers[1]!.loss - rest) < 1e-5);
});

Deno.test("divergence is 0 between equals and KL's sum otherwise", () => {
  const tokens = questionTokens(QUESTIONS);
  const [sharp, flat] = [4, 1].map((by) =>
    readAnswers(model, QUESTIONS, logitsOf(tokens, by))[0]!.row
  );
  assert.ok(Math.abs(divergence(sharp!, sharp!)) < 1e-9);
  let sum = 0;
  sharp!.probabilities.forEach((p, i) => sum += p * Math.log(p / flat!.probabilities[i]!));
  assert.ok(Math.abs(divergence(sharp!, flat!) - sum) < 1e-5);
});
