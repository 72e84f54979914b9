import { COPY_DST, COPY_SRC, STORAGE, UNIFORM } from "../base/buffer_usage.ts";
import { exactBytes, LAYER_BYTES, poolBytes, sinkBytes, universalKey } from "../plan/sizes.ts";
import { packCodebooks, sharesCodebooks } from "../codebooks/device.ts";
import type { SideCodebook } from "../codebooks/codebook.ts";
import type { CachePlan } from "../plan/plan.ts";
import type { HeadRange } from "../plan/divide_heads.ts";
import type { Side } from "../model/side.ts";
import { layerParameters } from "./uniforms.ts";

/** The tokens of some of a layer's KV heads. */
export interface PartBuffers {
  /** The KV heads. */
  readonly heads: HeadRange;
  /** Records of the keys, `[page][heads][words]`. */
  readonly keyRecords: GPUBuffer;
  /** Records of the values, `[page][heads][words]`. */
  readonly valueRecords: GPUBuffer;
  /** Sinks and recent tokens as f16, `[slot][side][sinks + ring][heads][channels of the side]`. */
  readonly exact: GPUBuffer;
  /** The WGSL struct `Layer`. */
  readonly parameters: GPUBuffer;
}

/** The buffers of one layer. */
export interface LayerBuffers {
  /** The buffers of its tokens: one part, or several where one binding cannot hold all KV heads. */
  readonly parts: readonly PartBuffers[];
  /**
   * Grids and centroids of keys and values, then their channel scales; absent where no scheme has
   * any.
   */
  readonly codebooks?: GPUBuffer;
  /** Learned sink logits, `[queryHeads]`. */
  readonly sinkLogits: GPUBuffer;
}

/** The buffers of a layer, of its sequences or of a kind of span. */
export interface KernelBuffers extends Omit<LayerBuffers, "sinkLogits"> {
  /** Learned sink logits; absent for spans, whose results are merged with the sequences'. */
  readonly sinkLogits?: GPUBuffer;
  /**
   * Levels of spans, `[spans][side][heads][headDim]` words: a scale, and a minimum in the upper
   * half.
   */
  readonly levels?: GPUBuffer;
}

/** One layer's codebooks, where its schemes have any. */
export type LayerCodebooks = Readonly<Record<Side, SideCodebook | undefined>>;

/** A logit whose exponential is 0 beside any other. */
const NO_SINK = -3e38;

/** A buffer the kernels read and write. */
export function storageBuffer(device: GPUDevice, label: string, size: number): GPUBuffer {
  return device.createBuffer({
    label,
    size: Math.ceil(size / 4) * 4,
    usage: STORAGE | COPY_SRC | COPY_DST,
  });
}

/** A buffer of parameters. */
export function uniformBuffer(device: GPUDevice, label: string, size: number): GPUBuffer {
  return device.createBuffer({ label, size, usage: UNIFORM | COPY_DST });
}

/**
 * Allocates one layer and uploads its codebooks and parameters.
 *
 * @param universal Buffers of data-free schemes' codebooks, by the schemes of the layers that share
 * them. A missing one is added.
 * @param shared The buffers of the layer whose keys and values it shares; absent where it has its own.
 */
export function createLayerBuffers(
  device: GPUDevice,
  { options, layers }: CachePlan,
  index: number,
  codebooks: LayerCodebooks,
  sinkLogits: Float32Array<ArrayBuffer> | undefined,
  universal: Map<string, GPUBuffer>,
  shared?: LayerBuffers,
): LayerBuffers {
  const layer = options.layers[index]!;
  const { words, offsets } = packCodebooks(
    codebooks.keys,
    codebooks.values,
    layer,
  );
  const label = `couplet layer ${index}`;
  const parts = layers[index]!.parts.map((heads, i): PartBuffers => {
    const storage = (name: string, size: number) => storageBuffer(device, `${label} ${name}`, size);
    const held = shared?.parts[i] ?? {
      heads,
      keyRecords: storage("key records", poolBytes(options, layer, "keys", heads.count)),
      valueRecords: storage("value records", poolBytes(options, layer, "values", heads.count)),
      exact: storage("exact tier", exactBytes(options, layer, heads.count)),
    };
    const part = { ...held, parameters: uniformBuffer(device, `${label} parameters`, LAYER_BYTES) };
    const parameters = layerParameters(options, layer, heads, offsets);
    device.queue.writeBuffer(part.parameters, 0, parameters);
    return part;
  });
  const buffers = {
    parts,
    sinkLogits: storageBuffer(device, `${label} sink logits`, sinkBytes(layer)),
  };
  const none = new Float32Array(layer.queryHeads).fill(NO_SINK);
  device.queue.writeBuffer(buffers.sinkLogits, 0, sinkLogits ?? none);
  if (words.length === 0) return buffers;
  const schemes = universalKey(layer);
  const kept = shared?.codebooks ?? (sharesCodebooks(layer) ? universal.get(schemes) : undefined);
  if (kept !== undefined) return { ...buffers, codebooks: kept };
  const packed = storageBuffer(device, `${label} codebooks`, words.byteLength);
  device.queue.writeBuffer(packed, 0, words);
  if (sharesCodebooks(layer)) universal.set(schemes, packed);
  return { ...buffers, codebooks: packed };
}

/** Every buffer of a layer. */
export function buffersOfLayer({ parts, codebooks, sinkLogits }: LayerBuffers): GPUBuffer[] {
  return [
    ...parts.flatMap(({ keyRecords, valueRecords, exact, parameters }) => [
      keyRecords,
      valueRecords,
      exact,
      parameters,
    ]),
    ...(codebooks === undefined ? [] : [codebooks]),
    sinkLogits,
  ];
}
