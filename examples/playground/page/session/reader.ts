import {
  type Cache,
  type CachePlan,
  restoreLongestPrefix,
  type Sequence,
  type SnapshotStore,
  storePrefix,
} from "@couplet/kv";
import type { CacheSwitch } from "../../../demo/cache_switch.ts";
import { median } from "../../../demo/metrics.ts";
import type { Engine } from "../../../engine/engine.ts";
import type { CacheMemory } from "./messages.ts";
import { LONG_TOKENS } from "./plans.ts";

/** Steps whose times count. */
const TIMED_STEPS = 16;

/** One cache, and the text that the model reads with it. */
export class Reader {
  readonly #engine: Engine<Sequence>;
  readonly #cacheSwitch: CacheSwitch;
  readonly #cache: Cache;
  readonly #longPlan: CachePlan;
  #sequence: Sequence;
  readonly #milliseconds: number[] = [];

  /**
   * @param cacheSwitch Says which cache the engine uses.
   * @param longPlan The plan of the same cache for a longer text.
   */
  constructor(
    engine: Engine<Sequence>,
    cacheSwitch: CacheSwitch,
    cache: Cache,
    longPlan: CachePlan,
  ) {
    this.#engine = engine;
    this.#cacheSwitch = cacheSwitch;
    this.#cache = cache;
    this.#longPlan = longPlan;
    this.#sequence = cache.createSequence();
  }

  /** Forgets the text. */
  clear(): void {
    this.#cache.freeSequence(this.#sequence);
    this.#sequence = this.#cache.createSequence();
  }

  /**
   * Reads what is new of a text.
   *
   * @param tokenIds The text, which begins with what was read before and is longer.
   * @returns Logits of what follows it.
   */
  async next(tokenIds: readonly number[]): Promise<Float32Array> {
    const unread = tokenIds.slice(this.#cache.length(this.#sequence));
    const started = performance.now();
    const { logits } = await this.#forward(unread, "last");
    // What takes several tokens at once says nothing about writing.
    if (unread.length === 1) {
      this.#milliseconds.push(performance.now() - started);
      if (this.#milliseconds.length > TIMED_STEPS) this.#milliseconds.shift();
    }
    return logits![0]!;
  }

  /**
   * Reads a text from its beginning.
   *
   * @param first The first token whose logits are wanted.
   * @returns Logits of what follows each token from `first` on.
   */
  async all(tokenIds: readonly number[], first: number): Promise<Float32Array[]> {
    this.clear();
    const { logits } = await this.#forward(tokenIds, "all");
    const width = this.#engine.checkpoint.config.vocabularySize;
    return Array.from(
      { length: tokenIds.length - first },
      (_, i) => logits![0]!.subarray((first + i) * width, (first + i + 1) * width),
    );
  }

  #forward(tokenIds: readonly number[], logits: "all" | "last") {
    this.#cacheSwitch.cache = this.#cache;
    return this.#engine.forward([{ sequence: this.#sequence, tokenIds }], { logits });
  }

  /**
   * Reads as much of a text as a store has. Entries that cannot be used are left out.
   *
   * @returns Tokens that the store had.
   */
  async restore(store: SnapshotStore, tokenIds: readonly number[]): Promise<number> {
    this.#cache.freeSequence(this.#sequence);
    const { sequence, tokens } = await restoreLongestPrefix(this.#cache, store, tokenIds, 1);
    this.#sequence = sequence;
    return tokens;
  }

  /**
   * Stores what was read.
   *
   * @param tokenIds A text that begins with it.
   * @returns The store's key; none where nothing was read.
   */
  async store(store: SnapshotStore, tokenIds: readonly number[]): Promise<string | undefined> {
    const length = this.#cache.length(this.#sequence);
    if (length === 0) return undefined;
    return await storePrefix(this.#cache, store, this.#sequence, tokenIds.slice(0, length));
  }

  /** The cache's bytes. */
  get memory(): CacheMemory {
    const { bytes, slack } = this.#cache.stats();
    const { codes, exact, codebooks, tables, scratch, total } = bytes;
    const { scratch: longScratch, total: longTotal } = this.#longPlan.bytes;
    return {
      parts: { codes: codes - slack, exact, codebooks, tables, scratch, free: slack },
      used: total - slack - scratch,
      allocated: total,
      long: { tokens: LONG_TOKENS, bytes: longTotal - longScratch },
    };
  }

  /** Tokens that the cache holds, and of those the ones held as codes. */
  get tokens(): { readonly all: number; readonly coded: number } {
    return {
      all: this.#cache.length(this.#sequence),
      coded: this.#cache.codedTokens(this.#sequence),
    };
  }

  /** Tokens that the model writes in a second with this cache, lately; none where none was timed. */
  get tokensPerSecond(): number | undefined {
    return this.#milliseconds.length === 0 ? undefined : 1000 / median(this.#milliseconds);
  }

  /** Frees the cache. */
  destroy(): void {
    this.#cache.destroy();
  }
}
