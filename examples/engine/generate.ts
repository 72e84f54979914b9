import { CoupletError } from "@couplet/kv";
import type { Engine } from "./engine.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** How to continue a text. */
export interface GenerateOptions {
  /** The text so far, in tokens. */
  readonly prompt: readonly number[];
  /** Most tokens to add. */
  readonly tokens: number;
  /** 0 (the default) takes the likeliest token; above, tokens are drawn, the flatter the higher. */
  readonly temperature?: number;
  /** Seed of the draws; 0 where absent. The same seed on the same adapter gives the same text. */
  readonly seed?: number;
  /** Ends generation early. */
  readonly signal?: AbortSignal;
}

/** What is done with the sequence before each step. */
export type BeforeStep<Sequence> = (sequence: Sequence) => void;

/** One token of a continuation. */
export interface GeneratedToken {
  /** The token. */
  readonly tokenId: number;
  /** Text that this token completed; may be empty while a character is spread over tokens. */
  readonly text: string;
}

/**
 * Continues a text, token by token, until `tokens` are there or the model ends it.
 *
 * @throws {CoupletError} `usage` for an empty prompt or impossible options; what the cache throws where
 * the text outgrows it.
 */
export async function* generate<Sequence>(
  engine: Engine<Sequence>,
  options: GenerateOptions,
  beforeStep?: BeforeStep<Sequence>,
): AsyncGenerator<GeneratedToken, void, void> {
  const { prompt, tokens, temperature = 0, seed = 0, signal } = options;
  checkOptions(options);
  const { config, tokenizer } = engine.checkpoint;
  const random = randomNumbers(seed);
  const text = new TextStream(tokenizer, prompt);
  const sequence = engine.createSequence();
  try {
    let tokenIds = prompt;
    for (let count = 0; count < tokens; count++) {
      signal?.throwIfAborted();
      beforeStep?.(sequence);
      const { logits } = await engine.forward([{ sequence, tokenIds }], { logits: "last" });
      const tokenId = temperature === 0
        ? likeliest(logits![0]!)
        : draw(logits![0]!, temperature, random());
      if (config.endTokens.includes(tokenId)) return;
      yield { tokenId, text: text.add(tokenId) };
      tokenIds = [tokenId];
    }
  } finally {
    engine.freeSequence(sequence);
  }
}

/** The index of the largest logit, the lowest of equals. */
export function likeliest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}

/**
 * Draws from `softmax(logits / temperature)`.
 *
 * @param uniform In [0, 1).
 */
export function draw(logits: ArrayLike<number>, temperature: number, uniform: number): number {
  const largest = logits[likeliest(logits)]!;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let left = uniform * total;
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i]!;
    if (left < 0) return i;
  }
  return likeliest(logits);
}

/** Uniform numbers in [0, 1) from a 32-bit seed: the generator mulberry32, which is public domain. */
function randomNumbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Text as it grows: a character whose bytes are spread over tokens appears with the last of them. */
export class TextStream {
  readonly #tokenizer: Tokenizer;
  /** Tokens since text last came out whole, and one token before them, whose text is known. */
  #tokens: number[];
  #known: string;

  /** A text that begins after a prompt. */
  constructor(tokenizer: Tokenizer, prompt: readonly number[]) {
    this.#tokenizer = tokenizer;
    // The last token of the prompt decides whether the next begins with a space.
    this.#tokens = prompt.slice(-1);
    this.#known = tokenizer.decode(this.#tokens);
  }

  /** The text that one more token completes; empty while a character is spread over tokens. */
  add(tokenId: number): string {
    this.#tokens.push(tokenId);
    const text = this.#tokenizer.decode(this.#tokens);
    if (text.endsWith("\ufffd")) return "";
    const added = text.slice(this.#known.length);
    this.#tokens = [tokenId];
    this.#known = this.#tokenizer.decode(this.#tokens);
    return added;
  }
}

function checkOptions({ prompt, tokens, temperature = 0 }: GenerateOptions): void {
  if (prompt.length === 0) {
    throw new CoupletError("usage", {
      what: "Nothing to continue",
      why: "the prompt has no tokens",
      remedy: "Pass at least one token, such as the one that begins a text",
    });
  }
  if (!Number.isInteger(tokens) || tokens < 0) {
    throw new CoupletError("usage", {
      what: "The text cannot be continued",
      why: `tokens is ${tokens}, not a whole number of 0 or more`,
      remedy: "Say how many tokens to add",
    });
  }
  if (!(temperature >= 0) || temperature === Infinity) {
    throw new CoupletError("usage", {
      what: "The text cannot be continued",
      why: `temperature is ${temperature}, not 0 or a positive number`,
      remedy: "0 takes the likeliest token, 1 draws as the model says",
    });
  }
}
