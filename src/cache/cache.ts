/** The interface of the cache on a GPU. */
import { SINK_LOGITS } from "../plan/options.ts";
import type { CacheBytes, LayerBytes } from "../plan/sizes.ts";
import { DEVICE, type Fields, FUNCTION, having } from "../base/check_options.ts";
import type { CodebookSet } from "../codebooks/codebook.ts";
import type { ModelFingerprint } from "../model/model.ts";
import type { CoupletError } from "../base/errors.ts";
import { CODEBOOKS, MODEL } from "../codebooks/find.ts";
import type { LayerBuffers } from "./layer_buffers.ts";
import type { NumberCounts } from "./number_counters.ts";
import { type CachePlan, PLAN } from "../plan/plan.ts";
import type { Profile } from "./profile.ts";
import type { CommandTarget } from "./command_target.ts";
import type { Side } from "../model/side.ts";
import type { Sequence, SequencePages, StepEntry } from "./sequences.ts";
import type { SpanStats } from "./cache_stats.ts";
import type { Span } from "./span_room.ts";
import type { SpanTensors } from "./spans.ts";
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
  /**
   * Codebooks of every layer, side and scheme of the policy. Schemes that need no calibration need
   * none.
   */
  readonly codebooks?: CodebookSet;
  /**
   * Learned attention sinks (gpt-oss), `[layers][queryHeads]`: one more logit in each head's
   * softmax, without a value.
   */
  readonly sinkLogits?: Float32Array<ArrayBuffer>;
  /** The model in use. Codebooks of another model are refused. */
  readonly model?: ModelFingerprint;
  /** Measures the cache's kernels ({@linkcode createProfile}). */
  readonly profile?: Profile;
  /**
   * Called with errors that no call can throw: `lost`, once, where the device was lost; `memory`
   * where it ran out of memory; `numbers` where {@linkcode Cache.readCounters} found keys or values
   * that f16 cannot hold, or keys that drown in constants of the model.
   */
  readonly onFault?: (fault: CoupletError) => void;
}

/** What the options of {@linkcode createCache} may be. */
export const INIT_FIELDS: Fields<CacheInit> = {
  device: DEVICE,
  plan: PLAN,
  "codebooks?": CODEBOOKS,
  "sinkLogits?": SINK_LOGITS,
  "model?": MODEL,
  "profile?": having("what createProfile() gives", "beginPass"),
  "onFault?": FUNCTION,
};

/** New tokens of some sequences on their way through the layers; opaque. */
export interface Step {
  /** Tokens of all entries. The host's buffers hold them in the order of the entries. */
  readonly tokens: number;
}

/** Which vectors {@linkcode Cache.encodeRead} reads, and where it writes them. */
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

/** What a cache holds, in numbers. */
export interface CacheStats {
  /** Bytes of the allocated buffers. */
  readonly bytes: CacheBytes;
  /**
   * The same by layer and side, without the page tables, rotary table and scratch that layers
   * share.
   */
  readonly layers: readonly LayerBytes[];
  /** Bytes of `bytes.codes` that hold no token: free pages, and the unused ends of others. */
  readonly slack: number;
  /**
   * Bits per channel of everything resident, for the tokens held now: `8 * (total - scratch) /
   * (tokens * channels)` with `channels` the sum of `2 * keyValueHeads * headDim` over layers.
   * Tokens of spans count once. Other tokens that forks share count once for each fork. Infinite
   * where there are no tokens.
   */
  readonly effectiveBits: number;
  /** Living sequences. */
  readonly sequences: number;
  /** Tokens of all sequences, without those of their spans. */
  readonly tokens: number;
  /** Living spans by kind. Those that forks share count once. */
  readonly spans: readonly SpanStats[];
  /**
   * Numbers beyond binary16's range that were clamped to it, as of the last
   * {@linkcode Cache.readCounters}.
   */
  readonly clamped: number;
  /** NaNs that became 0, as of the last {@linkcode Cache.readCounters}. */
  readonly notNumbers: number;
  /**
   * Blocks of keys as they are scored of which `u8b8` or `u4b8` holds little, because the model
   * adds constants to too many of their channels, as of the last {@linkcode Cache.readCounters}.
   */
  readonly drownedBlocks: number;
  /**
   * Tiles of codes that the option `skip` left out, as of the last {@linkcode Cache.readCounters}.
   */
  readonly skippedTiles: number;
  /** Tiles of codes that it considered, as of the same. */
  readonly consideredTiles: number;
  /**
   * How far the option `skip` moves an output at most, in parts of the spread of values: all tokens
   * of the longest sequence and of spans, times `exp(-below)`. 0 without the option.
   */
  readonly skipBound: number;
  /** Pages of all pools; one page holds the same tokens in each layer of its pool. */
  readonly pages: PageStats;
  /** Pages by sliding window. Layers with the same window share a pool. */
  readonly pools: readonly (PageStats & { readonly slidingWindow: number })[];
}

/** A compressed KV cache on a GPU. */
export interface Cache {
  /** The plan it was created from. */
  readonly plan: CachePlan;
  /**
   * Creates an empty sequence.
   *
   * @throws {CoupletError} `capacity` where all planned sequences are alive.
   */
  createSequence(): Sequence;
  /**
   * Records a fork: a new sequence that holds the same tokens. Pages are shared until one of the
   * two writes to them. Only the exact tier is copied.
   *
   * @throws {CoupletError} `capacity` where all planned sequences are alive; `usage` where a step
   * of the sequence is not through all layers, or a span was not handed over to all.
   */
  encodeFork(target: CommandTarget, sequence: Sequence): Sequence;
  /**
   * Records the reordering of a beam search: beam i continues beam `parents[i]`. A beam that is
   * continued once is kept as it is. One that is continued several times is forked. The rest are
   * freed.
   *
   * @returns The sequences of the new beams, in order. Use them instead of `beams`.
   * @throws {CoupletError} as {@linkcode Cache.encodeFork} does, and `usage` where a parent is not
   * an index of `beams` or a sequence is listed twice. Nothing has changed then.
   */
  encodeReorder(
    target: CommandTarget,
    beams: readonly Sequence[],
    parents: readonly number[],
  ): Sequence[];
  /**
   * Frees a sequence and its pages. Its commands that are already recorded still run correctly.
   */
  freeSequence(sequence: Sequence): void;
  /** Number of tokens of a sequence, including those of steps that have begun. */
  length(sequence: Sequence): number;
  /**
   * Removes the tokens from `length` on. Removing up to `appendTokens` tokens restores the recent
   * window exactly. Beyond that, tokens whose exact values are gone are seen by their codes. Steps
   * that began at `length` or later become void for this sequence, and continue for the others.
   *
   * @throws {CoupletError} `usage` where the sequence is shorter; where `length` lies inside a step
   * that was not appended to every layer; where it lies inside a block of tokens that are coded
   * together and no longer held exactly; where layers with a sliding window have freed what the
   * last query would see. The last two happen only beyond `appendTokens` tokens. The error names
   * the nearest possible lengths; {@linkcode encodeRollback} may cut blocks.
   */
  truncate(sequence: Sequence, length: number): void;
  /**
   * Begins a step: takes pages and advances lengths. Nothing changes on the device until the
   * commands of the step run: for each layer {@linkcode Cache.encodeAppend} and
   * {@linkcode Cache.encodeAttend}. Any number of steps may be recorded before the host submits. To
   * abandon a step for a sequence, truncate the sequence to where the step began, or free it; the
   * other sequences continue.
   *
   * @throws {CoupletError} `capacity` or `usage`; nothing has changed then.
   */
  beginStep(entries: readonly StepEntry[]): Step;
  /**
   * Records the storing and encoding of one layer's new keys and values. Rows of sequences that
   * were freed or truncated after the step began are not read. Layers that share another's keys and
   * values (`shape.sharesWith`) are left out: they attend after the other's append.
   *
   * @param target The host's encoder or compute pass.
   * @param tensors `[tokens][keyValueHeads][headDim]` each, in the plan's element type and strides.
   * @throws {CoupletError} `usage` for a call out of order, a step that is void, or buffers that
   * cannot be bound; `shape` for bindings that are too small; `lost` where the device is lost. Then
   * nothing is recorded.
   */
  encodeAppend(
    target: CommandTarget,
    step: Step,
    layer: number,
    tensors: { readonly keys: GPUBufferBinding; readonly values: GPUBufferBinding },
  ): void;
  /**
   * Records attention of the step's queries over their sequences, in one layer, after its append.
   * Rows of sequences that were freed or truncated after the step began are not written.
   *
   * @param target The host's encoder or compute pass.
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
   * Adds a span to a sequence: tokens of an image, a video or a document whose keys and values are
   * complete. Hand it over to every layer with {@linkcode Cache.encodeSpan}. The sequence's steps
   * that begin later see all its tokens, whatever their positions, beside the sequence's own.
   * Forks share it. Truncating the sequence to fewer tokens than it has now drops it.
   *
   * @param name The kind of span, as the plan's `spans` name it.
   * @param tokens Number of its tokens. They do not count as tokens of the sequence.
   * @throws {CoupletError} `usage` where the plan has no such kind, `capacity` where it does not
   * fit. Nothing has changed then.
   */
  addSpan(sequence: Sequence, name: string, tokens: number): Span;
  /**
   * Records the coding of one layer's keys and values of a span. Keys are as they are scored: with
   * their rotary embedding.
   *
   * @param target The host's encoder or compute pass.
   * @throws {CoupletError} `usage` where the span was dropped or handed over to the layer before,
   * for indices that are not ascending, or buffers that cannot be bound; `shape` for bindings that
   * are too small; `lost` where the device is lost. Then nothing is recorded.
   */
  encodeSpan(target: CommandTarget, span: Span, layer: number, tensors: SpanTensors): void;
  /**
   * Records the reading of one layer's keys or values into a tensor of the host, for hosts that
   * compute attention themselves. Vectors are what a query at the sequence's end sees: f16 values
   * for exact tokens, decoded values for the others. Keys are returned in the space they were
   * appended in.
   *
   * @throws {CoupletError} `usage` where the sequence does not hold all tokens of the range, some
   * lie behind the layer's sliding window, or a step of the sequence was not appended to the layer;
   * as {@linkcode Cache.encodeAppend} does for the output; `shape` where vectors of `count` tokens
   * overlap in the plan's strides, or exceed one dispatch. Then nothing is recorded.
   */
  encodeRead(
    target: CommandTarget,
    sequence: Sequence,
    layer: number,
    range: ReadRange,
  ): void;
  /** Number of coded tokens of a sequence, sinks not counted. */
  codedTokens(sequence: Sequence): number;
  /** One layer's buffers, for reading: records in pages, the exact tier, codebooks. */
  buffers(layer: number): LayerBuffers;
  /** The pages of a sequence's coded tokens in one layer. */
  pages(sequence: Sequence, layer: number): SequencePages;
  /** Bytes, sequences, pages, and the last results of {@linkcode Cache.readCounters}. */
  stats(): CacheStats;
  /**
   * Reads how many numbers in keys and values f16 could not hold, how many blocks of keys drown in
   * constants of the model, and how many tiles were skipped ({@linkcode NumberCounts}), over all
   * layers, since the cache was created. Numbers beyond 65504 are clamped to it, and a NaN becomes 0.
   * Tokens that were removed later count as well.
   *
   * The device counts. This call submits one small copy, and covers what was submitted before.
   * Afterwards `stats()` has the same numbers, and `onFault` is called with an error `numbers` if
   * they rose.
   *
   * @throws {CoupletError} `lost` where the device is lost.
   */
  readCounters(): Promise<NumberCounts>;
  /**
   * Destroys the cache's own buffers, not the host's device or buffers. Every later call throws
   * `usage`.
   */
  destroy(): void;
}
