/** What the playground keeps: a text, how it came about, and the settings. */
import * as z from "zod/mini";

const tokenIds = z.array(z.int().check(z.nonnegative()));

/** How the coded cache takes part. */
const settings = z.object({
  /** Scheme of its keys and values. */
  scheme: z.string(),
  /** Recent tokens that it keeps exactly. */
  window: z.int().check(z.nonnegative()),
  /** First tokens that it keeps exactly. */
  sinks: z.int().check(z.nonnegative()),
  /** Whether tokens are drawn, or the likeliest is taken. */
  draws: z.boolean(),
  /** Whether it reads what it writes itself, or the text of f16. */
  ownText: z.boolean(),
});

const document = z.object({
  /** Digest of the model whose tokens these are. */
  model: z.string(),
  settings,
  /** The beginning, as typed. */
  promptText: z.string(),
  /** The same in tokens. */
  prompt: tokenIds,
  /** What the model has written with the cache in f16. */
  text: tokenIds,
  /** The seed that each token of `text` was drawn by; null for the likeliest. */
  seeds: z.array(z.nullable(z.int())),
  /** What the model chose with the coded cache in the places of `text`. */
  chosen: tokenIds,
  /** KL divergence of the two distributions in those places, in nats; null after different texts. */
  divergences: z.array(z.nullable(z.number())),
  /** The place in `text` from which the coded cache reads what was chosen; null if it reads `text`. */
  ownFrom: z.nullable(z.int().check(z.nonnegative())),
});

/** How the coded cache takes part. */
export type Settings = Readonly<z.infer<typeof settings>>;

/** What the playground keeps of a text. */
export type PlaygroundDocument = z.infer<typeof document>;

/** What a visitor begins with. */
export const DEFAULT_SETTINGS: Settings = {
  scheme: "c8b8",
  window: 16,
  sinks: 4,
  draws: true,
  ownText: false,
};

/** A document that nothing was written in yet. */
export function emptyDocument(model: string, settings: Settings): PlaygroundDocument {
  return {
    model,
    settings,
    promptText: "",
    prompt: [],
    text: [],
    seeds: [],
    chosen: [],
    divergences: [],
    ownFrom: null,
  };
}

/** The tokens of f16's text, prompt included. */
export function halfTokens({ prompt, text }: PlaygroundDocument): number[] {
  return [...prompt, ...text];
}

/** The tokens that the coded cache reads, prompt included. */
export function codedTokens({ prompt, text, chosen, ownFrom }: PlaygroundDocument): number[] {
  return ownFrom === null
    ? [...prompt, ...text]
    : [...prompt, ...text.slice(0, ownFrom), ...chosen.slice(ownFrom)];
}

/** Whether both caches have read the same before a place of the text. */
export function sameBefore(
  { text, chosen, ownFrom }: PlaygroundDocument,
  place: number,
): boolean {
  if (ownFrom === null) return true;
  for (let i = ownFrom; i < place; i++) if (text[i] !== chosen[i]) return false;
  return true;
}

/**
 * A document from its bytes.
 *
 * @returns `undefined` if they are of another form, or contradict each other.
 */
export function decodeDocument(bytes: Uint8Array): PlaygroundDocument | undefined {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
  const { data } = document.safeParse(json);
  if (data === undefined) return undefined;
  const { prompt, text, seeds, chosen, divergences, ownFrom } = data;
  const places = [seeds, chosen, divergences].every(({ length }) => length === text.length);
  if (!places || (ownFrom ?? 0) > text.length) return undefined;
  return prompt.length > 0 || text.length === 0 ? data : undefined;
}

/** A document's bytes. */
export function encodeDocument(document: PlaygroundDocument): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(document));
}
