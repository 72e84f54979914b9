/** What codebooks of spans are learned on: keys, as they are scored, and values of videos. */
import { type CalibrationSamples, SIDES } from "@couplet/kv";
import { readBuffer } from "../../tools/read_buffer.ts";
import type { VisionHost } from "./host.ts";
import type { VisionModel } from "./vision_model.ts";

/**
 * Reads videos, and gives every layer's keys and values of their visual tokens.
 *
 * @param onProgress Called with the share of the videos that are read.
 */
export async function spanSamples(
  host: VisionHost,
  device: GPUDevice,
  { text: { config } }: VisionModel,
  videos: readonly Uint8Array[],
  onProgress: (fraction: number) => void = () => {},
): Promise<CalibrationSamples[]> {
  const { keyValueHeads, headDim, layers } = config;
  const parts = Array.from({ length: layers }, () => ({
    keys: [] as Float32Array[],
    values: [] as Float32Array[],
  }));
  for (const [i, pixels] of videos.entries()) {
    const seen = await host.read(pixels);
    for (const [layer, buffers] of seen.layers.entries()) {
      for (const side of SIDES) {
        parts[layer]![side].push(new Float32Array(await readBuffer(device, buffers[side])));
      }
    }
    host.forget(seen);
    onProgress((i + 1) / videos.length);
  }
  return parts.flatMap((part, layer) =>
    SIDES.map((side) => {
      const values = new Float32Array(part[side].reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const one of part[side]) {
        values.set(one, at);
        at += one.length;
      }
      return { layer, side, keyValueHeads, headDim, values };
    })
  );
}
