import type { ResolvedOptions } from "./cache_options.ts";
import { exactBytes, LAYER_BYTES, poolBytes, sinkBytes } from "./cache_sizes.ts";
import type { LayerPolicy } from "./cache_types.ts";
import type { Codebook } from "./codebook.ts";
import { type CodebookOffsets, layerParameters } from "./uniforms.ts";

/** The buffers of one layer. */
export interface LayerBuffers {
  /** Records of the keys, all pages. */
  readonly keyRecords: GPUBuffer;
  /** Records of the values, all pages. */
  readonly valueRecords: GPUBuffer;
  /** Sinks and recent tokens as f16, `[slot][side][sinks + ring][keyValueHeads][headDim]`. */
  readonly exact: GPUBuffer;
  /** Centroids of keys and values, then their channel scales. */
  readonly codebooks: GPUBuffer;
  /** Learned sink logits, `[queryHeads]`. */
  readonly sinkLogits: GPUBuffer;
  /** The WGSL struct `Layer`. */
  readonly parameters: GPUBuffer;
}

const STORAGE = 0x80 | 0x04 | 0x08; // STORAGE | COPY_SRC | COPY_DST
const UNIFORM = 0x40 | 0x08; // UNIFORM | COPY_DST

/** A logit whose exponential is 0 beside any other. */
const NO_SINK = -3e38;

/** A buffer the kernels read and write. */
export function storageBuffer(device: GPUDevice, label: string, size: number): GPUBuffer {
  return device.createBuffer({
    label,
    size: Math.max(16, Math.ceil(size / 4) * 4),
    usage: STORAGE,
  });
}

/** A buffer of parameters. */
export function uniformBuffer(device: GPUDevice, label: string, size: number): GPUBuffer {
  return device.createBuffer({ label, size, usage: UNIFORM });
}

/** Centroids and scales of one layer as one run of words, and where each part begins. */
function packCodebooks(
  keys: Codebook | undefined,
  values: Codebook | undefined,
): { readonly words: Uint32Array<ArrayBuffer>; readonly offsets: CodebookOffsets } {
  const centroids = [keys, values].map((codebook) =>
    new Uint32Array(
      codebook?.centroids.slice().buffer ?? new ArrayBuffer(0),
    )
  );
  const scales = [keys, values].map((codebook) =>
    new Uint32Array(
      codebook?.scale?.slice().buffer ?? new ArrayBuffer(0),
    )
  );
  const parts = [...centroids, ...scales];
  const starts: number[] = [];
  let length = 0;
  for (const part of parts) {
    starts.push(length);
    length += part.length;
  }
  const words = new Uint32Array(length);
  parts.forEach((part, i) => words.set(part, starts[i]!));
  const offset = (i: number) => (parts[i]!.length === 0 ? 0 : starts[i]!);
  return {
    words,
    offsets: { values: starts[1]!, keyScale: offset(2), valueScale: offset(3) },
  };
}

/** Allocates one layer and uploads its codebooks and parameters. */
export function createLayerBuffers(
  device: GPUDevice,
  options: ResolvedOptions,
  layer: number,
  policy: LayerPolicy,
  codebooks: { readonly keys: Codebook | undefined; readonly values: Codebook | undefined },
  sinkLogits: Float32Array<ArrayBuffer> | undefined,
): LayerBuffers {
  const { words, offsets } = packCodebooks(codebooks.keys, codebooks.values);
  const label = `couplet layer ${layer}`;
  const buffers: LayerBuffers = {
    keyRecords: storageBuffer(device, `${label} key records`, poolBytes(options, policy.keys)),
    valueRecords: storageBuffer(
      device,
      `${label} value records`,
      poolBytes(options, policy.values),
    ),
    exact: storageBuffer(device, `${label} exact tier`, exactBytes(options)),
    codebooks: storageBuffer(device, `${label} codebooks`, words.byteLength),
    sinkLogits: storageBuffer(device, `${label} sink logits`, sinkBytes(options)),
    parameters: uniformBuffer(device, `${label} parameters`, LAYER_BYTES),
  };
  if (words.length > 0) device.queue.writeBuffer(buffers.codebooks, 0, words);
  const none = new Float32Array(options.shape.queryHeads).fill(NO_SINK);
  device.queue.writeBuffer(buffers.sinkLogits, 0, sinkLogits ?? none);
  device.queue.writeBuffer(buffers.parameters, 0, layerParameters(options, layer, offsets));
  return buffers;
}
