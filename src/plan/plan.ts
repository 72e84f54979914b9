/** Plans, and the options of planning. */
import {
  CACHE_FIELDS,
  type CacheOptions,
  type ResolvedOptions,
  type SpanKinds,
} from "./options.ts";
import type { CacheBytes, LayerBytes, ScratchBytes } from "./sizes.ts";
import type { AttentionKernels } from "./choose_attention.ts";
import { type Fields, FUNCTION, having, type Kind, kind, oneOf } from "../base/check_options.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import type { HeadRange } from "./divide_heads.ts";
import { BASE_LIMITS, type PlanLimits } from "./limits.ts";
import { type Precision, PRECISIONS } from "../kernels/precision.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { KERNELS } from "../kernels/select.ts";
import type { SpanPlan } from "./spans.ts";
import type { StoreKernels } from "./store_kernels.ts";
import type { TuningRecord } from "./tuning_record.ts";

/** Options of {@linkcode planCache}: those of the cache, and what it is planned for. */
export interface PlanOptions extends CacheOptions {
  /** The device's limits. Defaults to WebGPU's. */
  readonly limits?: PlanLimits;
  /**
   * The device's features. Defaults to none. Kernels that use one (`subgroups`, or `shader-f16` for
   * products of queries and keys in f16) are considered only if it is listed. Those in f16 also
   * need `precision: "f16"`, and a `tuning` record that found them faster. Kernels in integers or
   * with staged centroids need no feature, and such a record.
   */
  readonly features?: Pick<ReadonlySet<string>, "has">;
  /**
   * The least precision of attention. Defaults to `int16`. With `f16` or `int8`, kernels that round
   * more are considered, too: they are faster, and lose precision where scores are large.
   */
  readonly precision?: Precision;
  /**
   * Kernels to choose from: those of one or more sets (`@couplet/kv/kernels/c8b8_d128`), all
   * (`@couplet/kv/kernels`), or your own. Of several with the same name the first is used.
   */
  readonly kernels: readonly KernelInfo[];
  /**
   * The result of {@linkcode tune} on the device. Attention then uses the kernels and the number of
   * workgroups that were the fastest, without estimates.
   */
  readonly tuning?: TuningRecord;
}

/** What a plan's options may be. */
export const PLAN_FIELDS: Fields<PlanOptions> = {
  ...CACHE_FIELDS,
  "limits?": kind(
    "a device's limits",
    (value) =>
      Object.keys(BASE_LIMITS).every((name) => {
        const limit = Object(value)[name];
        return typeof limit === "number" && limit > 0;
      }),
  ),
  // A name not in WebGPU's form is misspelt, such as `shader_f16`.
  "features?": kind("a device's features", (value) => {
    const { has, keys } = Object(value);
    return FUNCTION[1](has) && ![...keys?.call(value) ?? []].some((name) => /[^a-z\d-]/.test(name));
  }),
  "precision?": oneOf(...PRECISIONS),
  kernels: KERNELS,
  "tuning?": having("what tune() gives"),
};

/** One layer's kernels and memory. */
export interface LayerPlan extends StoreKernels {
  /**
   * The KV heads of each buffer of records: one range, or several where one binding cannot hold
   * them all.
   */
  readonly parts: readonly HeadRange[];
  /** Bytes, by side and kind. */
  readonly bytes: LayerBytes;
  /** Scheme of the keys. */
  readonly keys: SchemeId;
  /** Scheme of the values. */
  readonly values: SchemeId;
  /** Copies exact keys to hosts that read vectors. */
  readonly loadKeys: KernelInfo;
  /** Copies exact values, for the same. */
  readonly loadValues: KernelInfo;
  /** Encodes keys that leave the exact tier. */
  readonly encodeKeys: KernelInfo;
  /** Encodes values that leave the exact tier. */
  readonly encodeValues: KernelInfo;
  /** Decodes keys' records, for hosts that read vectors. */
  readonly decodeKeys: KernelInfo;
  /** Decodes values' records, for the same. */
  readonly decodeValues: KernelInfo;
  /** Attention of one new token a sequence. */
  readonly decode: AttentionKernels;
  /** Attention of several new tokens a sequence: prefill, speculative verification. */
  readonly prefill: AttentionKernels;
  /** Merges splits. */
  readonly combine: KernelInfo;
  /** Copies pages and exact tiers of forked sequences. */
  readonly copy: KernelInfo;
  /** Puts the pages and the exact tier of a restored sequence in place. */
  readonly restore: KernelInfo;
}

/** Everything decided before a device exists: kernels, buffer sizes, bytes. */
export interface CachePlan {
  /** The options, with their defaults filled in. */
  readonly options: ResolvedOptions;
  /** Kernels by layer. */
  readonly layers: readonly LayerPlan[];
  /** Writes entries of page tables, of all layers. */
  readonly pageTable: KernelInfo;
  /** Kinds of spans. */
  readonly spans: readonly SpanPlan[];
  /** What they were planned from, if there are some. */
  readonly spanKinds?: SpanKinds;
  /** Bytes the cache will allocate. */
  readonly bytes: CacheBytes;
  /** Bytes of the largest buffer. Every buffer is bound whole. */
  readonly largestBinding: number;
  /** Bytes of scratch buffers: partial results, scores, q.centroid tables. */
  readonly scratch: ScratchBytes;
  /**
   * Bits per channel of everything resident (codes, exact tiers, codebooks, page tables and rotary
   * table) when the pools are full: `8 * bytes / (tokens * channels)`, with `channels` the sum of
   * `keyValueHeads * (headDim + valueHeadDim)` over layers. Spans' bytes and tokens count.
   */
  readonly effectiveBits: number;
  /** Features of the device that the chosen kernels use. */
  readonly features: readonly GPUFeatureName[];
  /**
   * The precision of the chosen kernels: the coarsest of theirs.
   */
  readonly precision: Precision;
  /**
   * Bits per channel of records, without padding: codes and metadata, mean over layers and sides.
   */
  readonly nominalBits: number;
  /** The tuning record that attention was chosen by; absent where it was chosen by estimates. */
  readonly tuning?: TuningRecord;
  /** Describes the plan in words: per layer the schemes, kernels, bytes and why each was chosen. */
  describe(): string;
}

/** A plan, as {@linkcode planCache} returns it. */
export const PLAN: Kind<CachePlan> = /* @__PURE__ */ having(
  "what planCache() gives",
  "layers",
  "describe",
);
