import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";
import { CoupletError } from "@couplet/kv";

/** Text to token ids and back. */
export interface Tokenizer {
  /**
   * Token ids of `text`.
   *
   * @param special Whether to add what the model expects in front of and behind a text (for example
   * a token that begins it), where the tokenizer says so.
   */
  encode(text: string, special?: boolean): number[];
  /** The text of `tokenIds`, special tokens included. */
  decode(tokenIds: readonly number[]): string;
}

/**
 * A tokenizer from the parsed `tokenizer.json` and, where there is one, `tokenizer_config.json`.
 *
 * @throws {CoupletError} `file` where the library cannot build it.
 */
export function parseTokenizer(tokenizer: object, config: object = {}): Tokenizer {
  let inner: HuggingFaceTokenizer;
  try {
    inner = new HuggingFaceTokenizer(tokenizer, config);
  } catch (cause) {
    throw new CoupletError("file", {
      what: "tokenizer.json cannot be used",
      why: cause instanceof Error ? cause.message : String(cause),
      remedy: "Check that it is the tokenizer.json of a Hugging Face model",
    }, { cause });
  }
  return {
    encode: (text, special = false) => inner.encode(text, { add_special_tokens: special }).ids,
    // Clean-up would drop spaces in front of punctuation, and the text would not round-trip.
    decode: (tokenIds) =>
      // The library refuses to decode nothing.
      tokenIds.length === 0
        ? ""
        : inner.decode([...tokenIds], { clean_up_tokenization_spaces: false }),
  };
}
