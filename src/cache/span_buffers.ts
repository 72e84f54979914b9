/** The buffers of a kind of span. */
import { packCodebooks } from "../codebooks/device.ts";
import { levelBytes } from "../plan/plan_spans.ts";
import { LAYER_BYTES, pageTableBytes, poolBytes } from "../plan/sizes.ts";
import {
  type KernelBuffers,
  type LayerCodebooks,
  storageBuffer,
  uniformBuffer,
} from "./layer_buffers.ts";
import type { SpanPlan } from "../plan/spans.ts";
import { layerParameters } from "./uniforms.ts";

/** The buffers of a kind of span. */
export interface SpanBuffers {
  /** Its page table, `[spans][pages]`. */
  readonly pages: GPUBuffer;
  /** By layer, in one part each. */
  readonly layers: readonly KernelBuffers[];
  /** All of them, but for that of exact vectors. */
  readonly all: readonly GPUBuffer[];
}

/**
 * Allocates the buffers of a kind of span, and uploads its codebooks and parameters.
 *
 * @param codebooks Its codebooks, by layer.
 * @param exact The buffer that a span's exact vectors are in while it is coded.
 */
export function createSpanBuffers(
  device: GPUDevice,
  { name, options }: SpanPlan,
  codebooks: readonly LayerCodebooks[],
  exact: GPUBuffer,
): SpanBuffers {
  const label = `couplet spans ${name}`;
  const layers = options.layers.map((layer, index): KernelBuffers => {
    const { keyValueHeads: count } = layer;
    const storage = (what: string, bytes: number) =>
      storageBuffer(device, `${label} layer ${index} ${what}`, bytes);
    const { keys, values } = codebooks[index]!;
    const { words, offsets } = packCodebooks(keys, values, layer);
    const heads = { first: 0, count };
    const parameters = uniformBuffer(device, `${label} layer ${index} parameters`, LAYER_BYTES);
    device.queue.writeBuffer(parameters, 0, layerParameters(options, layer, heads, offsets));
    const part = {
      heads,
      keyRecords: storage("key records", poolBytes(options, layer, "keys", count)),
      valueRecords: storage("value records", poolBytes(options, layer, "values", count)),
      exact,
      parameters,
    };
    const fitted = levelBytes(options, layer);
    const packed = words.length > 0 ? storage("codebooks", words.byteLength) : undefined;
    if (packed !== undefined) device.queue.writeBuffer(packed, 0, words);
    return {
      parts: [part],
      ...(packed && { codebooks: packed }),
      ...(fitted > 0 && { levels: storage("levels", fitted) }),
    };
  });
  const pages = storageBuffer(device, `${label} page table`, pageTableBytes(options));
  const own = layers.flatMap(({ parts, codebooks, levels }) => [
    ...parts.flatMap(({ keyRecords, valueRecords, parameters }) => [
      keyRecords,
      valueRecords,
      parameters,
    ]),
    ...[codebooks, levels].filter((buffer) => buffer !== undefined),
  ]);
  return { pages, layers, all: [pages, ...own] };
}
