import {
  type Cache,
  CoupletError,
  type RefusedEntry,
  restoreLongestPrefix,
  type Sequence,
  type SnapshotStore,
  storePrefix,
} from "@couplet/kv";
import type { Engine } from "./engine.ts";

/** The tokens that several prompts begin with, and a sequence that holds them. */
export interface Prefix {
  /** Holds `tokenIds` and nothing else. Fork it to go on; free it when no prompt is to come. */
  readonly sequence: Sequence;
  /** The tokens. */
  readonly tokenIds: readonly number[];
}

/** A prefix, and where it came from. */
export interface OpenedPrefix extends Prefix {
  /** How many of its tokens the store had; the rest was computed. */
  readonly restored: number;
  /** Entries of the store that could not be used. */
  readonly refused: readonly RefusedEntry[];
}

/**
 * Brings a prefix into a cache: as much of it as a store has, of this prefix or of any that it begins with, and
 * the rest computed. The store then has all of it. Entries that cannot be used are reported and replaced by
 * what is computed, where they are this prefix's own. One that is encrypted otherwise stays: it may be another
 * key's, whose owner would replace it in turn.
 *
 * @param cache The engine's.
 * @throws {CoupletError} `usage` where there are no tokens; `capacity` where the cache has no room; `store` where the
 * store fails. No sequence is left behind then.
 */
export async function openPrefix(
  engine: Engine<Sequence>,
  cache: Cache,
  tokenIds: readonly number[],
  store?: SnapshotStore,
): Promise<OpenedPrefix> {
  if (tokenIds.length === 0) {
    throw new CoupletError("usage", {
      what: "Cannot open a prefix",
      why: "it has no tokens",
      remedy: "Leave it out, or give at least one token",
    });
  }
  // Prefixes are stored at any length, so each is looked for; a hash takes some microseconds.
  const { sequence, tokens: restored, refused } = store === undefined
    ? { sequence: cache.createSequence(), tokens: 0, refused: [] }
    : await restoreLongestPrefix(cache, store, tokenIds, 1);
  try {
    if (restored < tokenIds.length) {
      await engine.forward([{ sequence, tokenIds: tokenIds.slice(restored) }]);
      const own = refused.find(({ tokens }) => tokens === tokenIds.length);
      if (store !== undefined && own?.error.code !== "encryption") {
        await storePrefix(cache, store, sequence, tokenIds);
      }
    }
    return { sequence, tokenIds, restored, refused };
  } catch (error) {
    cache.freeSequence(sequence);
    throw error;
  }
}
