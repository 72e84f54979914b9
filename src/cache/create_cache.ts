/** Creates a cache from a plan. */
import { checkSinkLogits, type ResolvedOptions } from "../plan/options.ts";
import { checkOptions } from "../base/check_options.ts";
import { compileLayer } from "./compiled_layer.ts";
import { type CacheCodebooks, DeviceCache } from "./device_cache.ts";
import { raise } from "../base/raise.ts";
import { cacheCodebook, checkCodebookSet } from "../codebooks/find.ts";
import { createLayerBuffers, type LayerBuffers } from "./layer_buffers.ts";
import { compileKernel } from "./pipelines.ts";
import type { CachePlan } from "../plan/plan.ts";
import { bySide } from "../model/by_side.ts";
import { sideDim } from "../model/side.ts";
import { checkTuningDevice } from "../plan/tuning_record.ts";
import { allBuffers, createSharedBuffers } from "./shared_buffers.ts";
import { type CacheSpans, NO_SPANS, type SpanSupport, spanSupport } from "./spans.ts";
import type { Parameters } from "./parameters.ts";
import { type Cache, type CacheInit, INIT_FIELDS } from "./cache.ts";

const WHAT = "Cannot create the cache";

/**
 * Allocates a cache and compiles its kernels.
 *
 * @throws {CoupletError} `usage` for options that {@linkcode CacheInit} does not have; `codebook`
 * where a codebook is missing, of another model or of another shape; `limits` where the device
 * offers less than the plan needs; `tuning` where the plan's kernels were measured on another
 * device; `device` where it refuses a kernel; `memory` where it is out of memory.
 */
export async function createCache(init: CacheInit): Promise<Cache> {
  checkOptions("usage", WHAT, INIT_FIELDS, init);
  const { device, plan, codebooks, model, sinkLogits } = init;
  const { options } = plan;
  if (codebooks !== undefined) checkCodebookSet(codebooks, options, model);
  const findCodebooks = ({ layers }: ResolvedOptions) =>
    layers.map((own) =>
      bySide((side) => {
        const heads = { ...own, headDim: sideDim(own, side) };
        return cacheCodebook(codebooks, heads, own.source, side, own[side]);
      })
    );
  const found = { layers: findCodebooks(options), spans: options.spans.map(findCodebooks) };
  checkDevice(device, plan);
  if (plan.tuning !== undefined) checkTuningDevice(plan.tuning, device);
  checkSinkLogits(sinkLogits, options.shape);

  const support = plan.spanKinds && spanSupport(plan.spanKinds);
  const [pageTable, layers, compiled] = await Promise.all([
    compileKernel(device, plan.pageTable),
    Promise.all(plan.layers.map((_, layer) => compileLayer(device, plan, layer))),
    support?.compile(device, plan),
  ]);
  const { buffers, invalid, exhausted } = await allocate(init, found, support);
  const error = invalid ?? exhausted;
  if (error !== null) {
    for (const buffer of allBuffers(buffers)) buffer.destroy();
    raise(
      invalid === null ? "memory" : "device",
      WHAT,
      error.message || "the device is out of memory",
      `Plan a smaller cache; this one takes ${plan.bytes.total} bytes`,
    );
  }
  const { spans: own, shared } = buffers;
  const spans = (parameters: Parameters): CacheSpans =>
    support?.create(device, plan, compiled!, own, shared, pageTable, parameters) ?? NO_SPANS;
  return new DeviceCache(init, { layers, pageTable, spans }, buffers, found);
}

/**
 * Allocates all buffers. Both error scopes are closed before the first await, so that no other
 * scope is opened between.
 */
async function allocate(
  { device, plan, sinkLogits }: CacheInit,
  codebooks: CacheCodebooks,
  support: SpanSupport | undefined,
) {
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  const universal = new Map<string, GPUBuffer>();
  let logit = 0;
  const layers: LayerBuffers[] = [];
  codebooks.layers.forEach((own, layer) => {
    const { queryHeads, source } = plan.options.layers[layer]!;
    const logits = sinkLogits?.slice(logit, logit += queryHeads);
    layers.push(createLayerBuffers(device, plan, layer, own, logits, universal, layers[source]));
  });
  const shared = createSharedBuffers(device, plan);
  const spans = support?.allocate(device, plan, codebooks.spans, shared) ?? [];
  const scopes = [device.popErrorScope(), device.popErrorScope()] as const;
  const [invalid, exhausted] = await Promise.all(scopes);
  return { buffers: { layers, shared, spans }, invalid, exhausted };
}

function checkDevice({ limits, features }: GPUDevice, plan: CachePlan): void {
  const { largestBinding } = plan;
  const missing = plan.features.filter((feature) => !features.has(feature));
  if (missing.length > 0) {
    raise(
      "limits",
      WHAT,
      `the plan has features that the device lacks: ${missing.join(", ")}`,
      "Request the device with them, or plan with the device's",
    );
  }
  const bound = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
  if (largestBinding <= bound) return;
  raise(
    "limits",
    WHAT,
    `its largest buffer takes ${largestBinding} bytes and the device binds at most ${bound}`,
    "Request the device with the limits requiredLimits() gives, or plan with the device's",
  );
}
