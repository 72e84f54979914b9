/** What a plan is, and what it is made of. */
import { CACHE_FIELDS, type CacheOptions, type ResolvedOptions } from "./options.ts";
import type { CacheBytes, LayerBytes, ScratchBytes } from "./sizes.ts";
import type { AttentionKernels } from "./choose_attention.ts";
import { type Fields, FUNCTION, having, kind, oneOf } from "../base/check_options.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import type { HeadRange } from "./divide_heads.ts";
import { BASE_LIMITS, type PlanLimits } from "./limits.ts";
import type { Precision } from "../kernels/precision.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { KERNELS } from "../kernels/select.ts";
import type { TuningRecord } from "./tuning_record.ts";

/** What {@linkcode planCache} needs besides the cache's options. */
export interface PlanOptions extends CacheOptions {
  /** The device's limits; WebGPU's defaults where absent. */
  readonly limits?: PlanLimits;
  /**
   * The device's features; none where absent. Kernels that use one (`subgroups`, or `shader-f16`
   * for products of queries and keys in f16) are there only where it is listed; those in f16 only
   * with `precision: "f16"`, and are taken only where `tuning` found them faster.
   */
  readonly features?: Pick<ReadonlySet<string>, "has">;
  /**
   * What products of queries and keys may be taken in; `f32` where absent. With `f16`, kernels that
   * round them are there as well: they are faster, and cost digits where scores are large.
   */
  readonly precision?: Precision;
  /**
   * Kernels to choose from: those of one or more sets (`@couplet/kv/kernels/c8b8_d128`), of all
   * (`@couplet/kv/kernels`), or of your own. Of several with one name the first counts.
   */
  readonly kernels: readonly KernelInfo[];
  /**
   * What {@linkcode tune} measured on the device: attention then takes the fastest kernels, cut
   * into as many workgroups as were the fastest, and no estimate counts.
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
  // A name that has another form than WebGPU's is misspelt, such as `shader_f16`.
  "features?": kind("a device's features", (value) => {
    const { has, keys } = Object(value);
    return FUNCTION[1](has) && ![...keys?.call(value) ?? []].some((name) => /[^a-z\d-]/.test(name));
  }),
  "precision?": oneOf("f32", "f16"),
  kernels: KERNELS,
  "tuning?": having("what tune() gives"),
};

/** One layer's kernels and memory. */
export interface LayerPlan {
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
  /** Stores new tokens in the exact tier. */
  readonly store: KernelInfo;
  /** Gives exact tokens back to hosts that want vectors. */
  readonly load: KernelInfo;
  /** Encodes keys that leave the exact tier. */
  readonly encodeKeys: KernelInfo;
  /** Encodes values that leave the exact tier. */
  readonly encodeValues: KernelInfo;
  /** Decodes keys' records, for the same. */
  readonly decodeKeys: KernelInfo;
  /** Decodes values' records. */
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
  /** Bytes the cache will allocate. */
  readonly bytes: CacheBytes;
  /** Bytes of the largest buffer, each of which is bound whole. */
  readonly largestBinding: number;
  /** Bytes of scratch buffers: partial results, scores, q.centroid tables. */
  readonly scratch: ScratchBytes;
  /**
   * Bits per channel of everything resident (codes, exact tiers, codebooks, tables) when the pool
   * is full: `8 * bytes / (tokens * channels)`, with `channels` the sum of `2 * keyValueHeads *
   * headDim` over layers.
   */
  readonly effectiveBits: number;
  /** Features of the device that the chosen kernels use. */
  readonly features: readonly GPUFeatureName[];
  /** What the chosen kernels take products of queries and keys in: `f16` where one of them does. */
  readonly precision: Precision;
  /**
   * Bits per channel of the codes and what records hold beside them, mean over layers and sides.
   */
  readonly nominalBits: number;
  /** The record that attention was chosen by; absent where it was chosen by estimates. */
  readonly tuning?: TuningRecord;
  /** The plan in words: per layer the schemes, kernels, bytes and why each was chosen. */
  describe(): string;
}
