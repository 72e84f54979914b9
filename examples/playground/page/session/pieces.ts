/** The text of tokens, one by one. */
import { TextStream } from "../../../engine/generate.ts";
import type { Tokenizer } from "../../../engine/tokenizer.ts";

/** The text of a sequence's tokens as they come: a character that is spread over tokens comes with the last of them. */
export class Pieces {
  readonly list: string[] = [];
  readonly #stream: TextStream;

  /** @param prompt The tokens before. */
  constructor(tokenizer: Tokenizer, prompt: readonly number[]) {
    this.#stream = new TextStream(tokenizer, prompt);
  }

  /** Adds a token. */
  add(tokenId: number): void {
    this.list.push(this.#stream.add(tokenId));
  }
}

/** The text of a token that may not go on; a character that is not whole shows as U+FFFD. */
export function pieceAfter(tokenizer: Tokenizer, before: number, tokenId: number): string {
  return tokenizer.decode([before, tokenId]).slice(tokenizer.decode([before]).length);
}
