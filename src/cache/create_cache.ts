/** Creates a cache from a plan. */
import { checkSinkLogits } from "../plan/options.ts";
import { checkOptions } from "../base/check_options.ts";
import { compileLayer } from "./compiled_layer.ts";
import { DeviceCache } from "./device_cache.ts";
import { raise } from "../base/raise.ts";
import { cacheCodebook, checkCodebookSet } from "../codebooks/find.ts";
import { createLayerBuffers, type LayerCodebooks } from "./layer_buffers.ts";
import { compileKernel } from "./pipelines.ts";
import type { CachePlan } from "../plan/plan.ts";
import { bySide } from "../model/by_side.ts";
import { checkTuningDevice } from "../plan/tuning_record.ts";
import { allBuffers, createSharedBuffers } from "./shared_buffers.ts";
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
  if (codebooks !== undefined) checkCodebookSet(codebooks, options.keys.space, model);
  const layerCodebooks = options.layers.map((layer, index) => {
    const shape = { keyValueHeads: layer.keyValueHeads, headDim: options.shape.headDim };
    return bySide((side) => cacheCodebook(codebooks, shape, index, side, layer[side]));
  });
  checkDevice(device, plan);
  if (plan.tuning !== undefined) checkTuningDevice(plan.tuning, device);
  checkSinkLogits(sinkLogits, options.shape);

  const [pageTable, ...compiled] = await Promise.all([
    compileKernel(device, plan.pageTable),
    ...plan.layers.map((layer) => compileLayer(device, plan, layer)),
  ]);
  const { layers, shared, invalid, exhausted } = await allocate(init, layerCodebooks);
  const error = invalid ?? exhausted;
  if (error !== null) {
    for (const buffer of allBuffers(layers, shared)) buffer.destroy();
    raise(
      invalid === null ? "memory" : "device",
      WHAT,
      error.message || "the device is out of memory",
      `Plan a smaller cache; this one takes ${plan.bytes.total} bytes`,
    );
  }
  return new DeviceCache(init, { layers: compiled, pageTable }, layers, layerCodebooks, shared);
}

/**
 * Allocates all buffers. Both error scopes are closed before the first await, so that no other
 * scope is opened between.
 */
async function allocate(
  { device, plan, sinkLogits }: CacheInit,
  codebooks: readonly LayerCodebooks[],
) {
  const { queryHeads } = plan.options.shape;
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  const universal = new Map<string, GPUBuffer>();
  const layers = codebooks.map((own, layer) => {
    const logits = sinkLogits?.slice(layer * queryHeads, (layer + 1) * queryHeads);
    return createLayerBuffers(device, plan, layer, own, logits, universal);
  });
  const shared = createSharedBuffers(device, plan);
  const scopes = [device.popErrorScope(), device.popErrorScope()] as const;
  const [invalid, exhausted] = await Promise.all(scopes);
  return { layers, shared, invalid, exhausted };
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
