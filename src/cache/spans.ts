/** What a cache knows of its spans. Programs that use some bring the code. */
import { raise } from "../base/raise.ts";
import type { SpanStats } from "./cache_stats.ts";
import type { SpanShare } from "./grids.ts";
import type { HostBindings } from "./bound_kernel.ts";
import type { Parameters } from "./parameters.ts";
import type { AttentionWay } from "../plan/steps.ts";
import type { Recorder } from "./recorder.ts";
import type { Growth, Sequence, SequenceState } from "./sequences.ts";
import type { RestoredSpanLayer, Span, SpanState } from "./span_room.ts";
import type { CachePlan } from "../plan/plan.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { CompiledSpanLayer } from "./compiled_span.ts";
import type { LayerCodebooks } from "./layer_buffers.ts";
import type { SharedBuffers } from "./shared_buffers.ts";
import type { SpanBuffers } from "./span_buffers.ts";
import type { SpanKinds } from "../plan/options.ts";

/** One layer's keys and values of a span. */
export interface SpanTensors {
  /** `[tokens][keyValueHeads][headDim]`, in the plan's element type and strides. */
  readonly keys: GPUBufferBinding;
  /** The same of the values. */
  readonly values: GPUBufferBinding;
  /**
   * The tokens of the tensors that the span has, in ascending order. Defaults to the first ones, as
   * many as the span has.
   */
  readonly indices?: readonly number[];
}

/** A span of a snapshot. */
export interface RestoredSpan {
  /** The kind. */
  readonly name: string;
  readonly tokens: number;
  /** Tokens of the sequence when it was added. */
  readonly place: number;
  /** Its content, by layer. */
  readonly restored: readonly RestoredSpanLayer[];
}

/** One sequence's share of a step, and the spans it has. */
export interface SpanRows {
  /** New tokens. */
  readonly tokens: number;
  /** Row of the first of them in the host's buffers. */
  readonly first: number;
  readonly spans: readonly SpanState[];
}

/** A step's attention to spans. */
export interface SharedSpans {
  /** Its dispatches. */
  readonly shares: readonly SpanShare[];
  /** For each sequence, how many partial results its spans have. */
  readonly partials: readonly number[];
  /** Partial results of a row for which there is room; undefined where no sequence has a span. */
  readonly partialStride: number | undefined;
}

/** One layer of a span that is handed over. */
export interface GivenSpan {
  /** The sequence that it was added to. */
  readonly sequence: Sequence;
  /** Rows of the host's tensors, ascending, one for each token. */
  readonly rows: readonly number[];
  /** Records its coding. */
  encode(recorder: Recorder, host: HostBindings): void;
}

/** The spans of a cache. */
export interface CacheSpans {
  /**
   * Adds a span to a sequence, whose later steps see it.
   *
   * @throws {CoupletError} `usage` where the plan has no such kind of span, `capacity` where it
   * does not fit. Nothing has changed then.
   */
  add(owner: SequenceState, sequence: Sequence, name: string, tokens: number): Span;
  /**
   * A span that is to be handed over to a layer.
   *
   * @throws {CoupletError} `usage` where it was dropped, is of another cache, or was handed over
   * before, or for indices that are not ascending.
   */
  give(span: Span, layer: number, indices: readonly number[] | undefined): GivenSpan;
  /**
   * Takes places for restored spans, and gives them to the sequence that `create` creates: all or
   * nothing.
   *
   * @throws {CoupletError} `capacity` where they do not fit.
   */
  adopt(
    spans: readonly RestoredSpan[],
    create: (states: readonly SpanState[]) => Sequence,
  ): Sequence;
  /** @throws {CoupletError} `usage` where a span of a sequence lacks a layer. */
  requireCoded(what: string, state: SequenceState): void;
  /** @throws {CoupletError} `usage` where a layer lacks a span that a step's queries see. */
  checkAttend(live: readonly Growth[], layer: number): void;
  /**
   * Writes the parameters of a step's attention to spans.
   *
   * @param splits Workgroups of the other tokens, by kind of layer.
   */
  share(
    parameters: Parameters,
    rows: readonly SpanRows[],
    way: AttentionWay,
    splits: readonly number[],
  ): SharedSpans;
  /** Living spans, counted by kind. */
  stats(): SpanStats[];
}

function refuseSpans(): never {
  raise("usage", "Cannot use spans", "the cache was planned without", "Plan them (spans)");
}

/** A cache without spans. */
export const NO_SPANS: CacheSpans = {
  add: refuseSpans,
  give: refuseSpans,
  adopt: (_, create) => create([]),
  requireCoded() {},
  checkAttend() {},
  share: (_, rows) => ({ shares: [], partials: rows.map(() => 0), partialStride: undefined }),
  stats: () => [],
};

/** The code of spans. */
export interface SpanSupport {
  /** Compiles the kernels of all kinds, by kind and layer. */
  compile(device: GPUDevice, plan: CachePlan): Promise<(readonly CompiledSpanLayer[])[]>;
  /** Allocates the buffers of all kinds. */
  allocate(
    device: GPUDevice,
    plan: CachePlan,
    codebooks: readonly (readonly LayerCodebooks[])[],
    shared: SharedBuffers,
  ): SpanBuffers[];
  /** Creates the spans of a cache. */
  create(
    device: GPUDevice,
    plan: CachePlan,
    compiled: readonly (readonly CompiledSpanLayer[])[],
    buffers: readonly SpanBuffers[],
    shared: SharedBuffers,
    pageTable: CompiledKernel,
    parameters: Parameters,
  ): CacheSpans;
}

const supports = new WeakMap<SpanKinds, SpanSupport>();

/** Registers the code of kinds of spans. */
export function registerSpans(kinds: SpanKinds, support: SpanSupport): void {
  supports.set(kinds, support);
}

/** @throws {CoupletError} `usage` where spanKinds() did not return the kinds. */
export function spanSupport(kinds: SpanKinds): SpanSupport {
  return supports.get(kinds) ?? raise(
    "usage",
    "Cannot create the cache",
    "its kinds of spans are not what spanKinds() gave",
    "Pass what it gave, not a copy",
  );
}
