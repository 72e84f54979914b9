import type { Cache, Sequence, SnapshotStore } from "@couplet/kv";
import { likeliest } from "../engine/generate.ts";
import { type Engine, openPrefix } from "../engine/mod.ts";

/** How a prompt was answered. */
export interface Answer {
  /** Tokens of the prefix that the store had. */
  readonly restored: number;
  /** Tokens of the prefix that were computed. */
  readonly computed: number;
  /** Entries of the store that could not be used. */
  readonly refused: readonly string[];
  /** Milliseconds to the first token added, with all that the store takes. */
  readonly firstToken: number;
  /** The tokens added. */
  readonly tokenIds: readonly number[];
}

/** What to answer. */
export interface Question {
  /** The tokens that all prompts begin with. */
  readonly prefixIds: readonly number[];
  /** Those that follow. */
  readonly promptIds: readonly number[];
  /** Most tokens to add. */
  readonly tokens: number;
  /** Where the prefix may be found; it is computed where absent. */
  readonly store?: SnapshotStore;
}

/** Continues a prompt by the likeliest tokens. */
export async function answer(
  engine: Engine<Sequence>,
  cache: Cache,
  { prefixIds, promptIds, tokens, store }: Question,
): Promise<Answer> {
  const start = performance.now();
  const { sequence, restored, refused } = await openPrefix(engine, cache, prefixIds, store);
  const tokenIds: number[] = [];
  let firstToken = NaN;
  try {
    for (let next = promptIds; tokenIds.length < tokens; next = tokenIds.slice(-1)) {
      const { logits } = await engine.forward([{ sequence, tokenIds: next }], { logits: "last" });
      tokenIds.push(likeliest(logits![0]!));
      if (tokenIds.length === 1) firstToken = performance.now() - start;
    }
  } finally {
    cache.freeSequence(sequence);
  }
  return {
    restored,
    computed: prefixIds.length - restored,
    refused: refused.map(({ error }) => error.message),
    firstToken,
    tokenIds,
  };
}
