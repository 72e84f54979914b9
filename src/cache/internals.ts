/** Access to the inside of a cache, for functions that few programs call. */
import { raise } from "../base/raise.ts";
import type { CacheCommands } from "./cache_commands.ts";
import type { CommandTarget } from "./command_target.ts";
import type { CodedWith } from "./identity.ts";
import type { Recorder } from "./recorder.ts";
import type { RestoredContent } from "./restored_content.ts";
import type { Sequence, Sequences, SequenceState } from "./sequences.ts";
import type { RestoredSpan } from "./spans.ts";

/** The inside of a cache. */
export interface CacheInternals {
  /** The host's device. */
  readonly device: GPUDevice;
  /** What the cache's codes depend on besides its plan. */
  readonly codedWith: CodedWith;
  /** The host's side of a sequence. */
  state(sequence: Sequence): Readonly<SequenceState>;
  /**
   * Creates a sequence of `length` tokens, with pages for each page table from the given one on.
   * The first commands that need its content put it in place. Without content, the sequence holds
   * what its memory held.
   *
   * @throws {CoupletError} `capacity` where it does not fit; nothing has changed then.
   */
  adopt(
    length: number,
    exactFrom: number,
    firstPages: readonly number[],
    restored?: RestoredContent,
    spans?: readonly RestoredSpan[],
    positions?: number[],
  ): Sequence;
  /** The host's side of all sequences. */
  readonly sequences: Sequences;
  /** The commands of all layers together. */
  readonly commands: CacheCommands;
  /** The cache's own buffers, which `destroy()` destroys. */
  readonly buffers: Set<GPUBuffer>;
  /**
   * Checks that commands of a sequence can be recorded now, before anything changes.
   *
   * @throws {CoupletError} `usage`, or `lost` where the device is lost.
   */
  check(target: CommandTarget, sequence: Sequence): void;
  /** Records dispatches of a sequence, after all checks. */
  record(
    target: CommandTarget,
    sequence: Sequence,
    dispatches: (recorder: Recorder) => void,
  ): void;
}

const internals = new WeakMap<object, CacheInternals>();

/** Registers a cache; called by its constructor. */
export function registerInternals(cache: object, inside: CacheInternals): void {
  internals.set(cache, inside);
}

/** @throws {CoupletError} `usage` where createCache() did not return the object. */
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
