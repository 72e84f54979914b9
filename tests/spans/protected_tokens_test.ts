import assert from "node:assert/strict";
import { protectedTokens, type ProtectedTokensOptions } from "../../src/spans/protected_tokens.ts";
import { readTensors, tensorNumbers } from "../helpers/vision.ts";

/** 96 visual tokens and 5 of text, 16 channels each; of the visual ones 10 and 50 are equal. */
const oracle = readTensors("tests/spans/fixtures/protected_tokens.safetensors");
const numbers = (name: string) => tensorNumbers(oracle.get(name)!);
const OPTIONS: ProtectedTokensOptions = {
  visual: numbers("visual"),
  text: numbers("text"),
  width: 16,
  share: 0.34,
};

Deno.test("protectedTokens chooses as the oracle does, and cuts the tokens in two", () => {
  const { protected: chosen, others } = protectedTokens(OPTIONS);
  assert.deepEqual(chosen, [...numbers("protected")]);
  assert.deepEqual(
    [...chosen, ...others].sort((a, b) => a - b),
    Array.from({ length: 96 }, (_, i) => i),
  );
  assert.deepEqual(others, others.toSorted((a, b) => a - b));
});

Deno.test("protectedTokens takes whole groups of 32, one at least, and all tokens of a short span", () => {
  const counts = [1e-9, 0.3, 0.67, 0.99, 1].map((share) =>
    protectedTokens({ ...OPTIONS, share }).protected.length
  );
  assert.deepEqual(counts, [32, 32, 64, 64, 96]);
  const visual = numbers("visual").subarray(0, 20 * 16);
  assert.equal(protectedTokens({ ...OPTIONS, visual }).others.length, 0);
});

Deno.test("protectedTokens takes the first of tokens that are equally similar", () => {
  const visual = new Float32Array(64).fill(1);
  const { protected: chosen } = protectedTokens({ visual, text: [2], width: 1, share: 0.5 });
  assert.deepEqual(chosen, Array.from({ length: 32 }, (_, i) => i));
});

Deno.test("protectedTokens refuses what are no embeddings, and no share", () => {
  const refused: readonly [Partial<ProtectedTokensOptions>, string, RegExp][] = [
    [{ share: 0 }, "shape", /share is 0.*above 0/],
    [{ share: 1.5 }, "shape", /share is 1\.5/],
    [{ share: NaN }, "shape", /share is NaN/],
    [{ share: "1" as unknown as number }, "shape", /share is/],
    [{ width: 0 }, "shape", /width is 0/],
    [{ visual: [] }, "shape", /visual has 0 numbers/],
    [{ text: [1, 2, 3] }, "shape", /text has 3 numbers.*16/],
    [{ visual: new Array(16).fill(Infinity) }, "samples", /token 0/],
    [
      { visual: [...new Array(17).fill(0), Infinity, ...new Array(14).fill(0)] },
      "samples",
      /token 1/,
    ],
  ];
  for (const [change, code, message] of refused) {
    assert.throws(() => protectedTokens({ ...OPTIONS, ...change }), {
      name: "CoupletError",
      code,
      message,
    });
  }
});
