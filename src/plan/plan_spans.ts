/** Kinds of spans: their options checked, and their plans. */
import { checkOptions, type Fields, kind, POSITIVE, whole } from "../base/check_options.ts";
import { CoupletError } from "../base/errors.ts";
import { type AttentionKernels, chooseAttention } from "./choose_attention.ts";
import type { BoundBuffer } from "./divide_heads.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import type { KernelFamily, KernelFeature } from "../kernels/name.ts";
import { kernelParts, type KernelQuery, requireKernel } from "../kernels/select.ts";
import { PAGE_TOKENS } from "../kernels/constants.ts";
import { bySide } from "../model/by_side.ts";
import { type Side, sideDim, SIDES } from "../model/side.ts";
import type { PlanLimits } from "./limits.ts";
import {
  checkPolicyLayers,
  isOwn,
  type ResolvedLayer,
  type ResolvedOptions,
  type SpanOptions,
} from "./options.ts";
import { stepScratch } from "./step_scratch.ts";
import {
  centroidBytes,
  exactSequenceBytes,
  LAYER_BYTES,
  pageTableBytes,
  poolBytes,
} from "./sizes.ts";
import { type AttentionWay, decodeStep, largestStep, type StepSize } from "./steps.ts";
import { layerKind } from "./tuning_record.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { POLICY_FIELDS } from "../schemes/policy.ts";
import type { SpanPolicies, SpanPolicy } from "./span_policies.ts";
import type { LayerAttention, PlannedSpans, SpanCoders, SpanLayerPlan, SpanPlan } from "./spans.ts";

/** What kinds of spans may be. */
function spansFields(value: unknown): Fields<Record<string, SpanPolicy>> {
  const fields: Fields<SpanPolicy> = {
    ...POLICY_FIELDS,
    tokens: whole(1),
    count: whole(1),
    "remap?": { tau: POSITIVE },
  };
  return Object.fromEntries(
    Object.keys(Object(value)).map((name) => [
      name,
      /^[a-z][a-z0-9_]*$/.test(name) ? fields : kind(
        `a name of lower-case letters, digits and underscores for spans.${name}`,
        () => false,
      ),
    ]),
  ) as Fields<Record<string, SpanPolicy>>;
}

/**
 * Checks kinds of spans.
 *
 * @throws {CoupletError} `shape` for a name or a value that cannot be.
 */
export function checkSpanPolicies(policies: SpanPolicies): void {
  checkOptions("shape", "Cannot use kinds of spans", { spans: spansFields }, { spans: policies });
}

function fail(why: string, remedy: string): never {
  throw new CoupletError("shape", { what: "Cannot plan a cache with spans", why, remedy });
}

/** The options of each kind of span. */
export function resolveSpans(spans: SpanPolicies, options: ResolvedOptions): SpanOptions[] {
  return Object.entries(spans).map(([name, { tokens, count, remap, ...policy }]) => {
    if (options.keys.space !== "as-scored") {
      fail(
        "a span's tokens have no positions in the cache, so their keys cannot be rotated in it",
        'Hand keys over as they are scored ({ space: "as-scored" })',
      );
    }
    if (options.layers.some(({ slidingWindow }) => slidingWindow > 0)) {
      fail(
        "every later query sees a whole span, and layers have a sliding window",
        "Append the tokens to the sequence instead",
      );
    }
    if (!options.layers.every(isOwn)) {
      fail(
        "a span is handed over to every layer, and some share another's keys and values",
        "Append the tokens to the sequence instead",
      );
    }
    if (new Set(options.layers.map(({ queryHeads }) => queryHeads)).size > 1) {
      fail(
        "layers differ in their query heads, and a span's results lie alike in all of them",
        "Append the tokens to the sequence instead",
      );
    }
    checkPolicyLayers(policy, options.shape);
    const layers = options.layers.map((layer, index) => {
      const { keys, values } = policy.layers?.[index] ?? policy;
      const { headDim, valueHeadDim } = layer;
      for (const [id, channels] of [[keys, headDim], [values, valueHeadDim]] as const) {
        const { forSpans, layout } = parseScheme(id);
        layout(channels);
        if (forSpans && headDim !== valueHeadDim) {
          fail(
            `the spans "${name}" fit levels of ${id}, which lie alike for keys of ${headDim} channels and values of ${valueHeadDim}`,
            "Use a scheme whose levels are no span's, such as c8b8 or f16",
          );
        }
      }
      const { bits } = parseScheme(keys);
      if (remap !== undefined && bits > 2) {
        fail(
          `the spans "${name}" narrow scores of ${keys}, which has ${bits} bits`,
          "Leave remap out, or use keys of 1 or 2 bits",
        );
      }
      return { ...layer, keys, values, pageTable: 0 };
    });
    const span = { name, remap: remap?.tau ?? 0 };
    return {
      ...options,
      spans: [],
      span,
      layers,
      pageTables: [{ slidingWindow: 0 }],
      block: 1,
      tiers: { sinks: 0, window: 0 },
      capacity: {
        ...options.capacity,
        sequences: count,
        tokens,
        sequenceTokens: tokens,
        // All exact vectors of a span are there at once, and others up to the end of a page.
        appendTokens: Math.ceil(tokens / PAGE_TOKENS) * PAGE_TOKENS,
      },
    };
  });
}

/**
 * The integers that layers of the cache attend in. Only tuning chooses them, on devices that are
 * fast at them. Spans are not tuned: they attend in the same, if there are kernels.
 */
type PlannedIntegers = Readonly<Record<AttentionWay, KernelFeature | undefined>>;

function integersOf(attentions: readonly AttentionKernels[]): KernelFeature | undefined {
  const features = attentions.flatMap(({ attend }) => attend ? kernelParts(attend).feature : []);
  return features.find((feature) => feature === "int16" || feature === "int8");
}

/** Plans all kinds of spans. */
export function planSpans(
  cache: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  layers: readonly LayerAttention[],
): PlannedSpans {
  const integers = {
    decode: integersOf(layers.map(({ decode }) => decode)),
    prefill: integersOf(layers.map(({ prefill }) => prefill)),
  };
  const kinds = cache.spans.map((own) => planSpan(cache, own, kernels, limits, integers));
  const steps = kinds.map(({ options, layers }) => stepScratch(cache, options, layers));
  const most = (numbers: readonly number[]) => Math.max(0, ...numbers);
  return {
    kinds,
    bytes: kinds.reduce((sum, { bytes }) => sum + bytes, 0),
    tokens: kinds.reduce((sum, { options }) => sum + options.capacity.tokens, 0),
    scratch: {
      // A row may see all spans of a kind.
      partials: kinds.reduce(
        (sum, { options }, i) => sum + options.capacity.sequences * steps[i]!.partials,
        0,
      ),
      scores: most(steps.map(({ scores }) => scores)),
      tables: most(steps.map(({ tables }) => tables)),
      spans: most(kinds.map(({ options }) => spanScratch(options))),
    },
    buffers: kinds.flatMap(spanBuffers),
  };
}

/** Bytes of the levels of all spans of a kind in one layer. */
export function levelBytes(
  { capacity }: SpanOptions,
  { keys, values, keyValueHeads, headDim }: ResolvedLayer,
): number {
  const fitted = [keys, values].some((id) => parseScheme(id).forSpans);
  return fitted ? capacity.sequences * 2 * keyValueHeads * headDim * 4 : 0;
}

/** Bytes of a kind of span: those of one layer's buffers, summed, and its page table. */
function spanBytes(options: SpanOptions): number {
  return options.layers.reduce((sum, layer) => {
    const { keyValueHeads: heads } = layer;
    const sides = SIDES.map((side) =>
      poolBytes(options, layer, side, heads) + centroidBytes(options, layer, side)
    );
    return sum + sides[0]! + sides[1]! + levelBytes(options, layer) + LAYER_BYTES;
  }, pageTableBytes(options));
}

/**
 * Plans a kind of span.
 *
 * @param cache The options of the cache.
 */
function planSpan(
  cache: ResolvedOptions,
  options: SpanOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  integers: PlannedIntegers,
): SpanPlan {
  const find = (family: KernelFamily, query: Partial<KernelQuery>) =>
    requireKernel(kernels, { family, schemes: [], ...query }, limits);
  const { remap } = options.span;
  const attention = (
    layer: ResolvedLayer,
    way: AttentionWay,
    step: StepSize,
  ): AttentionKernels => ({
    ...chooseAttention(options, kernels, limits, layer, step, undefined, integers[way]),
    ...(remap > 0 && { remap: find("remap", {}) }),
  });
  const coders = (layer: ResolvedLayer, side: Side): SpanCoders => {
    const { [side]: scheme } = layer;
    const query = { schemes: [scheme], headDim: sideDim(layer, side) };
    return {
      scheme,
      encode: find("encode", query),
      ...(parseScheme(scheme).forSpans && { fit: find("fit", query) }),
    };
  };
  const planned = new Map<string, SpanLayerPlan>();
  const layers = options.layers.map((layer) => {
    const kind = Object.values(layerKind(layer)).join(" ");
    let plan = planned.get(kind);
    if (plan === undefined) {
      plan = {
        ...bySide((side) => coders(layer, side)),
        storeKeys: find("store", { headDim: layer.headDim }),
        storeValues: find("store", { headDim: layer.valueHeadDim }),
        restore: find("restore", {}),
        decode: attention(layer, "decode", decodeStep(cache)),
        prefill: attention(layer, "prefill", largestStep(cache)),
      };
      planned.set(kind, plan);
    }
    return plan;
  });
  return { name: options.span.name, options, layers, bytes: spanBytes(options) };
}

/** Bytes of the exact vectors of the longest span of a kind. */
function spanScratch(options: SpanOptions): number {
  return Math.max(
    ...options.layers.map((layer) => exactSequenceBytes(options, layer, layer.keyValueHeads)),
  );
}

/** The buffers of a kind of span, which are bound whole. */
function spanBuffers({ name, options }: SpanPlan): BoundBuffer[] {
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
        bytes: poolBytes(options, layer, side, layer.keyValueHeads),
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
