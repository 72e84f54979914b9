import type { Sequence } from "@couplet/kv";
import { type Engine, generate } from "../engine/mod.ts";

/** Tokens of the text that the model writes on from. */
const PROMPT_TOKENS = 32;

/** How freely tokens are drawn; 1 is as the model says. */
const TEMPERATURE = 0.8;

/** What {@linkcode writeOn} needs. */
export interface WritingOptions {
  readonly engine: Engine<Sequence>;
  /** A text, in tokens; its beginning is the prompt. */
  readonly context: readonly number[];
  /** Most tokens to write; fewer where the context has no room. */
  readonly tokens: number;
  readonly seed: number;
  /** Told each piece of text as it comes, the prompt first. */
  readonly onText: (text: string) => void;
}

/** Lets the model write on from the beginning of a text; gives the whole, prompt included. */
export async function writeOn(options: WritingOptions): Promise<string> {
  const { engine, context, tokens, seed, onText } = options;
  const prompt = context.slice(0, Math.min(PROMPT_TOKENS, context.length - 1));
  let text = "";
  function add(piece: string): void {
    text += piece;
    onText(piece);
  }
  add(engine.checkpoint.tokenizer.decode(prompt));
  const room = Math.min(tokens, context.length - prompt.length);
  const settings = { prompt, tokens: room, temperature: TEMPERATURE, seed };
  for await (const { text: piece } of generate(engine, settings)) add(piece);
  return text;
}
