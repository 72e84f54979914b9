/** Plans the kernels of spans. */
import { type AttentionKernels, chooseAttention } from "./choose_attention.ts";
import type { ResolvedLayer, ResolvedOptions, SpanOptions } from "./options.ts";
import { decodeStep, largestStep, type StepSize } from "./steps.ts";
import { exactSequenceBytes, levelBytes, poolBytes, spanBytes } from "./sizes.ts";
import type { BoundBuffer } from "./divide_heads.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import type { KernelFamily } from "../kernels/name.ts";
import { type KernelQuery, requireKernel } from "../kernels/select.ts";
import { bySide } from "../model/by_side.ts";
import { type Side, SIDES } from "../model/side.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import type { PlanLimits } from "./limits.ts";

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
export interface SpanLayerPlan extends Readonly<Record<Side, SpanCoders>> {
  /** Stores a span's tokens exactly, to be coded. */
  readonly store: KernelInfo;
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

/**
 * Plans a kind of span.
 *
 * @param cache The options of the cache.
 */
export function planSpan(
  cache: ResolvedOptions,
  options: SpanOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
): SpanPlan {
  const { headDim } = options.shape;
  const find = (family: KernelFamily, query: Partial<KernelQuery>) =>
    requireKernel(kernels, { family, schemes: [], ...query }, limits);
  const { remap } = options.span;
  const attention = (layer: ResolvedLayer, step: StepSize): AttentionKernels => ({
    ...chooseAttention(options, kernels, limits, layer, step),
    ...(remap > 0 && { remap: find("remap", {}) }),
  });
  const coders = (scheme: SchemeId): SpanCoders => ({
    scheme,
    encode: find("encode", { schemes: [scheme], headDim }),
    ...(parseScheme(scheme).forSpans && { fit: find("fit", { schemes: [scheme], headDim }) }),
  });
  // Layers differ in their KV heads alone.
  const planned = new Map<number, SpanLayerPlan>();
  const layers = options.layers.map((layer) => {
    let plan = planned.get(layer.keyValueHeads);
    if (plan === undefined) {
      plan = {
        ...bySide((side) => coders(layer[side])),
        store: find("store", { headDim }),
        restore: find("restore", {}),
        decode: attention(layer, decodeStep(cache)),
        prefill: attention(layer, largestStep(cache)),
      };
      planned.set(layer.keyValueHeads, plan);
    }
    return plan;
  });
  return { name: options.span.name, options, layers, bytes: spanBytes(options) };
}

/** Bytes of the exact vectors of the longest span of a kind. */
export function spanScratch(options: SpanOptions): number {
  return Math.max(
    ...options.layers.map(({ keyValueHeads }) => exactSequenceBytes(options, keyValueHeads)),
  );
}

/** The buffers of a kind of span, which are bound whole. */
export function spanBuffers({ name, options }: SpanPlan): BoundBuffer[] {
  const remedy = `Hold fewer tokens (spans.${name}.tokens)`;
  return [
    {
      name: `the exact vectors of a span "${name}"`,
      bytes: spanScratch(options),
      remedy,
    },
    ...options.layers.flatMap((layer, index) => [
      ...SIDES.map((side) => ({
        name: `the ${side} of the spans "${name}" in layer ${index}`,
        bytes: poolBytes(options, layer, layer[side], layer.keyValueHeads),
        remedy,
      })),
      {
        name: `the levels of the spans "${name}" in layer ${index}`,
        bytes: levelBytes(options, layer),
        remedy: `Hold fewer spans (spans.${name}.count)`,
      },
    ]),
  ];
}
