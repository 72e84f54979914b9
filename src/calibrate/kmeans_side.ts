import { allocateBuffers, largestBuffer } from "./gpu_memory.ts";
import { kmeansTileSamples } from "./kmeans_layout.ts";
import { type CalibrationSamples, samplesOfHeads, tokensOf } from "./samples.ts";

/** Planes are padded to whole workgroups of every width's assignment. */
function sampleAlignment(): number {
  return Math.max(...[1, 2, 4, 8, 16, 32].map(kmeansTileSamples));
}

/** One layer and side's samples on the device, for any scheme. */
export interface KmeansSide {
  /** The samples as given. */
  readonly samples: CalibrationSamples;
  /** Samples of a plane, padding included. */
  readonly padded: number;
  /**
   * `[channels of all heads][padded]`: one row of samples per channel, `(value * scale - mean) /
   * unit`. Centred, so that the kernels' arithmetic does not cancel, and near one, so that it does
   * not overflow.
   */
  readonly planes: Float32Array<ArrayBuffer>;
  /** `[channels of all heads]`. */
  readonly means: Float32Array;
  /** A power of two. */
  readonly unit: number;
  /** `planes` on the device. */
  readonly buffer: GPUBuffer;
}

/** Some neighbouring KV heads of a layer and side. */
export interface HeadPart {
  /** The first of them. */
  readonly firstHead: number;
  /** Their samples. */
  readonly samples: CalibrationSamples;
}

/** Samples in parts that fit the device's buffers: whole heads, as many as fit. */
export function headParts(device: GPUDevice, samples: CalibrationSamples): HeadPart[] {
  const { keyValueHeads } = samples;
  const most = Math.max(1, Math.floor(largestBuffer(device) / headBytes(samples)));
  if (most >= keyValueHeads) return [{ firstHead: 0, samples }];
  return Array.from({ length: Math.ceil(keyValueHeads / most) }, (_, part) => {
    const firstHead = part * most;
    const heads = Math.min(most, keyValueHeads - firstHead);
    return { firstHead, samples: samplesOfHeads(samples, firstHead, heads) };
  });
}

/** Bytes of one KV head's planes. */
function headBytes(samples: CalibrationSamples): number {
  return paddedSamples(samples) * samples.headDim * 4;
}

/**
 * Uploads samples.
 *
 * @throws {CoupletError} `limits` where they exceed the device's buffers.
 */
export async function uploadSide(
  device: GPUDevice,
  samples: CalibrationSamples,
): Promise<KmeansSide> {
  const { values, scale } = samples;
  const padded = paddedSamples(samples);
  const channels = samples.keyValueHeads * samples.headDim;
  const { planes: buffer } = await allocateBuffers(device, { planes: channels * padded * 4 });

  const means = new Float32Array(channels);
  let largest = 0;
  for (let channel = 0; channel < channels; channel++) {
    let sum = 0;
    let low = Infinity;
    let high = -Infinity;
    for (let at = channel; at < values.length; at += channels) {
      const value = values[at]! * (scale?.[channel] ?? 1);
      sum += value;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    // Rounded before it is subtracted, so that samples that are all equal become exact zeros.
    means[channel] = (sum * channels) / values.length;
    largest = Math.max(largest, high - means[channel]!, means[channel]! - low);
  }
  const unit = largest > 0 ? 2 ** Math.ceil(Math.log2(largest)) : 1;
  const planes = new Float32Array(channels * padded);
  for (let channel = 0; channel < channels; channel++) {
    const factor = scale?.[channel] ?? 1;
    for (let at = channel, p = channel * padded; at < values.length; at += channels, p++) {
      planes[p] = (values[at]! * factor - means[channel]!) / unit;
    }
  }
  device.queue.writeBuffer(buffer, 0, planes);
  return { samples, padded, planes, means, unit, buffer };
}

function paddedSamples(samples: CalibrationSamples): number {
  const alignment = sampleAlignment();
  return Math.ceil(tokensOf(samples) / alignment) * alignment;
}
