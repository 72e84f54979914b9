/** The cache on a GPU: what a host sees of it. */
import { SINK_LOGITS } from "../plan/options.ts";
import type { CacheBytes, LayerBytes } from "../plan/sizes.ts";
import { DEVICE, type Fields, FUNCTION, having } from "../base/check_options.ts";
import type { CodebookSet } from "../codebooks/codebook.ts";
import type { ModelFingerprint } from "../model/model.ts";
import type { CoupletError } from "../base/errors.ts";
import { CODEBOOKS, MODEL } from "../codebooks/find.ts";
import type { LayerBuffers } from "./layer_buffers.ts";
import type { NumberCounts } from "./number_counters.ts";
import type { CachePlan } from "../plan/plan.ts";
import type { Profile } from "./profile.ts";
import type { CommandTarget } from "./command_target.ts";
import type { Side } from "../model/side.ts";
import type { Sequence, SequencePages } from "./sequences.ts";
import type { PageStats } from "./page_pool.ts";

/** What {@linkcode createCache} needs. */
export interface CacheInit {
  /**
   * The host's device. It is never destroyed, and only snapshots and {@linkcode Cache.readCounters}
   * submit to it.
   */
  readonly device: GPUDevice;
  /** The plan. */
  readonly plan: CachePlan;
  /** Codebooks of every layer, side and scheme of the policy; not needed where all are `f16`. */
  readonly codebooks?: CodebookSet;
  /**
   * Learned attention sinks (gpt-oss), `[layers][queryHeads]`: one more logit in each head's
   * softmax, without a value.
   */
  readonly sinkLogits?: Float32Array<ArrayBuffer>;
  /** The model in use, to refuse the codebooks of another. */
  readonly model?: ModelFingerprint;
  /** Measures the cache's kernels ({@linkcode createProfile}). */
  readonly profile?: Profile;
  /**
   * Told what goes wrong on the device behind the host's back: `lost` once, where the device was
   * lost, `memory` where it ran out of memory, and `numbers` where {@linkcode Cache.readCounters}
   * found keys or values that f16 cannot hold.
   */
  readonly onFault?: (fault: CoupletError) => void;
}

/** What a cache may be made of. */
export const INIT_FIELDS: Fields<CacheInit> = {
  device: DEVICE,
  plan: having("what planCache() gives", "layers", "describe"),
  "codebooks?": CODEBOOKS,
  "sinkLogits?": SINK_LOGITS,
  "model?": MODEL,
  "profile?": having("what createProfile() gives", "beginPass"),
  "onFault?": FUNCTION,
};

/** One sequence's share of a step. */
export interface StepEntry {
  /** The sequence that grows. */
  readonly sequence: Sequence;
  /** Tokens it grows by, 1 to `capacity.appendTokens`. */
  readonly tokens: number;
}

/** New tokens of some sequences on their way through the layers; opaque. */
export interface Step {
  /** Tokens of all entries. The host's buffers hold them in the order of the entries. */
  readonly tokens: number;
}

/** Which vectors {@linkcode Cache.encodeRead} reads, and where they go. */
export interface ReadRange {
  /** Keys or values. */
  readonly side: Side;
  /** Position of the first token. */
  readonly first: number;
  /** Number of tokens. */
  readonly count: number;
  /**
   * `[count][keyValueHeads][headDim]`, in the plan's element type and in its strides for this side.
   */
  readonly output: GPUBufferBinding;
}

/** What a cache holds. */
export interface CacheStats {
  /** Bytes of the allocated buffers. */
  readonly bytes: CacheBytes;
  /** The same by layer and side, but for the tables and scratch that layers share. */
  readonly layers: readonly LayerBytes[];
  /** Bytes of `bytes.codes` that hold no token: free pages, and the unused ends of others. */
  readonly slack: number;
  /**
   * Bits per channel of everything resident, for the tokens held now: `8 * (total - scratch) /
   * (tokens * channels)` with `channels` the sum of `2 * keyValueHeads * headDim` over layers.
   * Tokens that forks share count for each; infinite where there are none.
   */
  readonly effectiveBits: number;
  /** Sequences alive. */
  readonly sequences: number;
  /** Tokens of all sequences. */
  readonly tokens: number;
  /**
   * Numbers beyond binary16's range that were clamped to it, as of the last
   * {@linkcode Cache.readCounters}.
   */
  readonly clamped: number;
  /** NaNs that became 0, as of the last {@linkcode Cache.readCounters}. */
  readonly notNumbers: number;
  /** Pages of all pools; one page holds the same tokens in each layer of its pool. */
  readonly pages: PageStats;
  /** Pages by sliding window: layers that share one share a pool. */
  readonly pools: readonly (PageStats & { readonly slidingWindow: number })[];
}

/** A compressed KV cache on a GPU. */
export interface Cache {
  /** The plan it was created from. */
  readonly plan: CachePlan;
  /**
   * A new, empty sequence.
   *
   * @throws {CoupletError} `capacity` where all planned sequences are alive.
   */
  createSequence(): Sequence;
  /**
   * Records the forking of a sequence: a new one that holds the same tokens. Pages are shared until
   * one of the two writes to them; only the exact tier is copied.
   *
   * @throws {CoupletError} `capacity` where all planned sequences are alive; `usage` where a step
   * of the sequence is not through all layers.
   */
  encodeFork(target: CommandTarget, sequence: Sequence): Sequence;
  /**
   * Records the reordering of a beam search: beam i goes on from beam `parents[i]`. A beam that one
   * other goes on from is kept as it is; one that several go on from is forked; the rest are freed.
   *
   * @returns The sequences of the new beams, in order. Use them in place of `beams`.
   * @throws {CoupletError} as {@linkcode Cache.encodeFork} does, and `usage` where a parent is no
   * index of `beams` or a sequence comes twice. Nothing has changed then.
   */
  encodeReorder(
    target: CommandTarget,
    beams: readonly Sequence[],
    parents: readonly number[],
  ): Sequence[];
  /**
   * Gives a sequence and its pages up. Commands of it that were recorded still run as they were
   * meant to.
   */
  freeSequence(sequence: Sequence): void;
  /** Tokens of a sequence, those of a step begun included. */
  length(sequence: Sequence): number;
  /**
   * Takes back the tokens from `length` on, as if they had never been. Up to `appendTokens` tokens
   * restore the recent window exactly; beyond, tokens whose exact form is gone are seen by their
   * codes. Steps that began at `length` or later are void for this sequence, and go on for their
   * others.
   *
   * @throws {CoupletError} `usage` where the sequence is shorter; where `length` lies inside a step
   * that was not appended to every layer, or inside a block of tokens that are coded together and
   * are not held exactly any more; where layers with a sliding window have given up what the last
   * query would see. The last two take more than `appendTokens` tokens. The error names the nearest
   * lengths that are possible.
   */
  truncate(sequence: Sequence, length: number): void;
  /**
   * Begins a step: takes pages and advances lengths, on the host's side alone. Each layer is then
   * appended to and attended; what changes on the device changes when those commands run. Any
   * number of steps may be recorded before the host submits. A step is given up by truncating its
   * sequences to where it began, or freeing them; the others go on.
   *
   * @throws {CoupletError} `capacity` or `usage`; nothing has changed then.
   */
  beginStep(entries: readonly StepEntry[]): Step;
  /**
   * Records the storing and encoding of one layer's new keys and values. Rows of sequences that
   * were freed or truncated since the step began are not read.
   *
   * @param target Encoder or compute pass of the host.
   * @param tensors `[tokens][keyValueHeads][headDim]` each, in the plan's element type and strides.
   * @throws {CoupletError} `usage` for a call out of order, a step that is void, or buffers that
   * cannot be bound; `shape` for bindings that are too small; `lost` where the device is lost.
   * Nothing is recorded then.
   */
  encodeAppend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly keys: GPUBufferBinding; readonly values: GPUBufferBinding },
  ): void;
  /**
   * Records attention of the step's queries over their sequences, in one layer, after its append.
   * Rows of sequences that were freed or truncated since the step began are not written.
   *
   * @param target Encoder or compute pass of the host.
   * @param tensors `[tokens][queryHeads][headDim]` each, in the plan's element type and strides.
   * @throws {CoupletError} as {@linkcode Cache.encodeAppend} does.
   */
  encodeAttend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly queries: GPUBufferBinding; readonly output: GPUBufferBinding },
  ): void;
  /**
   * Records the reading of one layer's keys or values into a tensor of the host, for hosts that
   * compute attention themselves. Vectors are as a query at the sequence's end sees them: those of
   * exact tokens as they are kept, in f16, the others decoded. Keys come in the space they were
   * handed over in.
   *
   * @throws {CoupletError} `usage` where the sequence does not hold all tokens of the range, some
   * lie behind the layer's sliding window, or a step of the sequence was not appended to the layer;
   * as {@linkcode Cache.encodeAppend} does for the output; `shape` where vectors of so many tokens
   * overlap in the plan's strides, or one dispatch has no room for them. Nothing is recorded then.
   */
  encodeRead(
    target: CommandTarget,
    sequence: Sequence,
    layer: number,
    range: ReadRange,
  ): void;
  /** Coded tokens of a sequence, counted from behind the sinks. */
  codedTokens(sequence: Sequence): number;
  /** One layer's buffers, to read: records in pages, the exact tier, codebooks. */
  buffers(layer: number): LayerBuffers;
  /** The pages of a sequence's coded tokens in one layer. */
  pages(sequence: Sequence, layer: number): SequencePages;
  /** Bytes, sequences, pages, and what {@linkcode Cache.readCounters} last found. */
  stats(): CacheStats;
  /**
   * Reads how many numbers of keys and values the cache could not keep, over all layers, since it
   * was created: f16 ends at
   * 65504. What lies beyond is clamped to it, and a NaN becomes 0. Tokens that were taken back
   *   count as well.
   *
   * The device counts, and nothing of it reaches the host until this is called: it submits one
   * small copy, and counts what was submitted before. `stats()` has the same numbers afterwards,
   * and `onFault` gets an error `numbers` where they rose.
   *
   * @throws {CoupletError} `lost` where the device is lost.
   */
  readCounters(): Promise<NumberCounts>;
  /**
   * Destroys the cache's own buffers; the host's device and buffers stay. Every later call throws
   * `usage`.
   */
  destroy(): void;
}
