/** What snapshots need of a cache and hosts do not: the one door into it. */
import { raise } from "../base/raise.ts";
import type { CodedWith } from "./identity.ts";
import type { RestoredContent } from "./restored_content.ts";
import type { Sequence, SequenceState } from "./sequences.ts";

/** A cache from inside. */
export interface CacheInternals {
  /** The host's device. */
  readonly device: GPUDevice;
  /** What the cache's codes depend on besides its plan. */
  readonly codedWith: CodedWith;
  /** The host's side of a sequence. */
  state(sequence: Sequence): Readonly<SequenceState>;
  /**
   * Creates a sequence of `length` tokens, with pages for each page table from the given one on.
   * Its content is put in place by the first commands that need it; without any, it holds what its
   * memory held.
   *
   * @throws {CoupletError} `capacity` where it does not fit; nothing has changed then.
   */
  adopt(
    length: number,
    exactFrom: number,
    firstPages: readonly number[],
    restored?: RestoredContent,
  ): Sequence;
}

const internals = new WeakMap<object, CacheInternals>();

/** Opens the door; called by the cache's constructor. */
export function registerInternals(cache: object, inside: CacheInternals): void {
  internals.set(cache, inside);
}

/** @throws {CoupletError} `usage` where the object is no cache of createCache(). */
export function cacheInternals(cache: object): CacheInternals {
  const inside = internals.get(cache);
  if (inside === undefined) {
    raise(
      "usage",
      "Cannot use the cache",
      "it is not one that createCache() made",
      "Pass the cache itself, not a copy or a wrapper",
    );
  }
  return inside;
}
