/** Resolves schemes, kernels and bytes. */
import {
  checkPlanOptions,
  isOwn,
  type ResolvedLayer,
  type ResolvedOptions,
  resolveOptions,
} from "./options.ts";
import { layerBytes, residentBytes, sharedTableBytes, tokenChannels, totalBytes } from "./sizes.ts";
import {
  type AttentionWay,
  decodeStep,
  hasPrefill,
  largestStep,
  parameterSets,
  type StepSize,
} from "./steps.ts";
import { chooseAttention } from "./choose_attention.ts";
import type { KeySpace } from "../model/model.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import { checkBuffer, checkWorkgroups, divideHeads, wholeBuffers } from "./divide_heads.ts";
import { type KernelFamily, kernelFeatures, type KeyVariant } from "../kernels/name.ts";
import { BASE_LIMITS, type PlanLimits } from "./limits.ts";
import {
  DEFAULT_PRECISION,
  isAsFine,
  kernelPrecision,
  type Precision,
  PRECISIONS,
} from "../kernels/precision.ts";
import { recordBits } from "../records/layout.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { codesAnchored } from "../schemes/key_turn.ts";
import type { Scheme } from "../schemes/scheme.ts";
import { sideLayout } from "../schemes/side_layout.ts";
import { type Side, sideDim, SIDES } from "../model/side.ts";
import { kernelParts, type KernelQuery, requireKernel } from "../kernels/select.ts";
import { checkTuning, findTuned, layerKind, type TuningRecord } from "./tuning_record.ts";
import { type CachePlan, type LayerPlan, PLAN_FIELDS, type PlanOptions } from "./plan.ts";
import { describePlan } from "./describe.ts";
import { spanPlanner } from "./spans.ts";
import { stepScratch } from "./step_scratch.ts";

/**
 * Plans a cache for a model and a device: schemes, kernels and bytes. Nothing is allocated.
 *
 * @throws {CoupletError} `shape` and `scheme` where options are unknown, out of range, or
 * contradict each other; `kernel` where no kernel covers a layer; `limits` where the device cannot
 * hold what was asked for; `tuning` where the record is of another version or shape, or its kernels
 * cannot be used.
 */
export function planCache(options: PlanOptions): CachePlan {
  checkPlanOptions(PLAN_FIELDS, options);
  const resolved = resolveOptions(options);
  const limits = options.limits ?? BASE_LIMITS;
  const { tuning } = options;
  if (tuning !== undefined) checkTuning(tuning, resolved);
  const { precision = DEFAULT_PRECISION } = options;
  const kernels = usableKernels(options.kernels, options.features, precision);
  const rounding = new Set(
    options.kernels
      .filter((kernel) => !isAsFine(kernelPrecision(kernelParts(kernel)), precision))
      .map(({ name }) => name),
  );
  const kernelPlans = new Map<string, LayerKernels>();
  let largestBinding = 0;
  const layers = resolved.layers.map((layer, index): LayerPlan => {
    const id = Object.values(layerKind(layer)).join("/");
    let chosen = kernelPlans.get(id);
    if (chosen === undefined) {
      chosen = planLayer(resolved, kernels, limits, layer, tuning, rounding);
      kernelPlans.set(id, chosen);
    }
    const { parts, largest } = divideHeads(resolved, layer, index, limits);
    largestBinding = Math.max(largestBinding, largest);
    return { ...chosen, parts, bytes: layerBytes(resolved, layer, parts.length) };
  });

  const spans = options.spans && spanPlanner(options.spans)(resolved, kernels, limits, layers);
  const kinds = spans?.kinds ?? [];
  const own = stepScratch(resolved, resolved, layers);
  const scratch = {
    partials: own.partials + (spans?.scratch.partials ?? 0),
    scores: Math.max(own.scores, spans?.scratch.scores ?? 0),
    tables: Math.max(own.tables, spans?.scratch.tables ?? 0),
    spans: spans?.scratch.spans ?? 0,
  };
  const buffers = [...wholeBuffers(resolved, scratch), ...spans?.buffers ?? []];
  for (const buffer of buffers) checkBuffer(buffer, limits);
  checkWorkgroups(resolved, limits);

  const bytes = totalBytes(
    layers.map((layer) => layer.bytes),
    sharedTableBytes(resolved, parameterSets(layers)),
    spans?.bytes ?? 0,
    scratch.partials + scratch.scores + scratch.tables + scratch.spans,
  );
  const attentions = [...layers, ...kinds.flatMap(({ layers }) => layers)]
    .flatMap(({ decode, prefill }) => [decode, prefill]);
  const sides = resolved.layers.filter(isOwn).flatMap((layer) =>
    SIDES.map((side) => recordBits(sideLayout(layer, side), sideDim(layer, side)))
  );
  const attending = attentions.flatMap(({ attend, score }) => kernelParts((attend ?? score)!));
  const planned = PRECISIONS.findLast((one) =>
    attending.some((parts) => kernelPrecision(parts) === one)
  )!;
  return {
    options: resolved,
    layers,
    pageTable: requireKernel(kernels, { family: "page_table", schemes: [] }, limits),
    bytes,
    scratch,
    ...(tuning === undefined ? {} : { tuning }),
    largestBinding: Math.max(largestBinding, ...buffers.map((buffer) => buffer.bytes)),
    effectiveBits: (8 * residentBytes(bytes)) /
      ((resolved.capacity.tokens + (spans?.tokens ?? 0)) * tokenChannels(resolved)),
    features: [...new Set(attending.flatMap(kernelFeatures))],
    precision: planned,
    nominalBits: sides.reduce((sum, bits) => sum + bits, 0) / sides.length,
    ...(options.spans === undefined ? {} : { spanKinds: options.spans }),
    spans: kinds,
    describe: () => describePlan(resolved, layers, kinds, bytes, planned),
  };
}

/**
 * Each kernel once, because sets share kernels, and only those that need no other features and have
 * at least the given precision.
 */
export function usableKernels(
  kernels: readonly KernelInfo[],
  features: PlanOptions["features"],
  precision: Precision,
): KernelInfo[] {
  const names = new Set<string>();
  return kernels.filter((kernel) => {
    const parts = kernelParts(kernel);
    return names.size < names.add(kernel.name).size &&
      kernelFeatures(parts).every((feature) => features?.has(feature)) &&
      isAsFine(kernelPrecision(parts), precision);
  });
}

/** The variant of the kernels that encode and decode keys; undefined where any space has the same. */
function codecVariant(scheme: Scheme, space: KeySpace): KeyVariant | undefined {
  if (space === "as-scored") return undefined;
  if (scheme.positional) return "rope";
  return space === "anchored" && codesAnchored(scheme) ? "anchored" : undefined;
}

/** The kernels of a layer's plan. */
type LayerKernels = Omit<LayerPlan, "parts" | "bytes">;

function planLayer(
  options: ResolvedOptions,
  kernels: readonly KernelInfo[],
  limits: PlanLimits,
  layer: ResolvedLayer,
  tuning: TuningRecord | undefined,
  rounding: ReadonlySet<string>,
): LayerKernels {
  const { keys, values, headDim, valueHeadDim, keyOptions: { space } } = layer;
  const find = (family: KernelFamily, query: Partial<KernelQuery>) =>
    requireKernel(kernels, { family, schemes: [], ...query }, limits);
  const one = (family: "encode" | "decode", side: Side) => {
    const id = layer[side];
    const variant = codecVariant(parseScheme(id), side === "keys" ? space : "as-scored");
    const query = { schemes: [id], headDim: sideDim(layer, side) };
    return find(family, { ...query, ...(variant && { variants: [variant] }) });
  };
  const attention = (way: AttentionWay, step: StepSize) => {
    const tuned = tuning === undefined ? undefined : findTuned(tuning, layer, way, rounding);
    return chooseAttention(options, kernels, limits, layer, step, tuned);
  };
  const others = {
    keys,
    values,
    encodeKeys: one("encode", "keys"),
    encodeValues: one("encode", "values"),
    decodeKeys: one("decode", "keys"),
    decodeValues: one("decode", "values"),
    storeKeys: find("store", { headDim }),
    storeValues: find("store", { headDim: valueHeadDim }),
    loadKeys: find("load", { headDim }),
    loadValues: find("load", { headDim: valueHeadDim }),
    combine: find("combine", { headDim: valueHeadDim }),
    copy: find("copy", {}),
    restore: find("restore", {}),
  };
  const decode = attention("decode", decodeStep(options));
  // Without steps of several tokens of a sequence, tuning does not measure them.
  const prefill = tuning !== undefined && !hasPrefill(options)
    ? decode
    : attention("prefill", largestStep(options));
  return { ...others, decode, prefill };
}
