import { stateOfTheUnion } from "../demo/texts.ts";
import type { Checkpoint } from "../engine/mod.ts";
import type { Prompt } from "./prompt.ts";

const PROMPT_TOKENS = 240;
const CONTINUATION_TOKENS = 32;

/** The beginning of Lincoln's address of 1862, in a model's tokens. */
export async function examplePrompt({ tokenizer, fingerprint }: Checkpoint): Promise<Prompt> {
  const tokenIds = tokenizer.encode((await stateOfTheUnion()).text.slice(0, 4000));
  const prompt = tokenIds.slice(0, PROMPT_TOKENS);
  return {
    text: tokenizer.decode(prompt),
    tokenIds: prompt,
    continuation: tokenIds.slice(PROMPT_TOKENS, PROMPT_TOKENS + CONTINUATION_TOKENS),
    model: fingerprint,
  };
}
