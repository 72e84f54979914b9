/**
 * Kinds of spans in a plan. A span is a run of tokens whose keys and values are complete when they
 * are handed over: an image, a video, a document. Its tokens are coded at once, by schemes of their
 * own, and every later query sees all of them. In a plan, a kind of span has options of its own, as
 * if its spans were the sequences of another cache, without sinks or a window.
 *
 * Programs that use spans bring the code ({@linkcode spanKinds}).
 */
import { raise } from "../base/raise.ts";
import type { BoundBuffer } from "./divide_heads.ts";
import type { AttentionKernels } from "./choose_attention.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import type { PlanLimits } from "./limits.ts";
import type { ResolvedOptions, SpanKinds, SpanOptions } from "./options.ts";
import type { ScratchBytes } from "./sizes.ts";
import type { AttentionWay } from "./steps.ts";
import type { StoreKernels } from "./store_kernels.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import type { Side } from "../model/side.ts";

/** All kinds of spans of a plan. */
export interface PlannedSpans {
  /** Each kind. */
  readonly kinds: readonly SpanPlan[];
  /** Bytes of their buffers, without scratch. */
  readonly bytes: number;
  /** Bytes that a step needs for them: partial results besides the cache's own, or the largest. */
  readonly scratch: ScratchBytes;
  /** Most tokens. */
  readonly tokens: number;
  /** Their buffers, which are bound whole. */
  readonly buffers: readonly BoundBuffer[];
}

/** The kernels that code one side of spans. */
export interface SpanCoders {
  /** The scheme. */
  readonly scheme: SchemeId;
  /** Fits the levels of a scheme that has some for a whole span. */
  readonly fit?: KernelInfo;
  /** Encodes. */
  readonly encode: KernelInfo;
}

/** One layer's kernels for a kind of span. */
export interface SpanLayerPlan extends Readonly<Record<Side, SpanCoders>>, StoreKernels {
  /** Puts the records of a restored span in place. */
  readonly restore: KernelInfo;
  /** Attention of one new token a sequence. */
  readonly decode: AttentionKernels;
  /** Attention of several. */
  readonly prefill: AttentionKernels;
}

/** A kind of span in a plan. */
export interface SpanPlan {
  /** Its name. */
  readonly name: string;
  /** Its options, in which its spans take the place of sequences. */
  readonly options: SpanOptions;
  /** By layer. */
  readonly layers: readonly SpanLayerPlan[];
  /** Bytes of its buffers, without scratch. */
  readonly bytes: number;
}

/** How a layer attends, by phase. */
export type LayerAttention = Readonly<Record<AttentionWay, AttentionKernels>>;

/**
 * Plans all kinds of spans.
 *
 * @param options The cache's own.
 * @param layers How the cache's layers attend.
 * @throws {CoupletError} `kernel` where a kernel is missing, `limits` where none fits.
 */
export type SpanPlanner = (
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  layers: readonly LayerAttention[],
) => PlannedSpans;

const planners = new WeakMap<SpanKinds, SpanPlanner>();

/** Registers what plans kinds of spans. */
export function registerPlanner(kinds: SpanKinds, planner: SpanPlanner): void {
  planners.set(kinds, planner);
}

/** @throws {CoupletError} `shape` where spanKinds() did not return the kinds. */
export function spanPlanner(kinds: SpanKinds): SpanPlanner {
  return planners.get(kinds) ?? raise(
    "shape",
    "Cannot plan a cache with spans",
    "its kinds of spans are not what spanKinds() gave",
    "Pass what it gave, not a copy",
  );
}
