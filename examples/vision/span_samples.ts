/** What codebooks of spans are learned on: keys, as they are scored, and values of videos. */
import { type CalibrationSamples, queryScale, SIDES } from "@couplet/kv";
import { readBuffer } from "../../tools/read_buffer.ts";
import { joinFloats } from "../../src/base/join_floats.ts";
import { questionTokens } from "./answers.ts";
import type { VisionHost } from "./host.ts";
import type { Video } from "./videos.ts";
import type { VisionModel } from "./vision_model.ts";

/**
 * What makes some errors of a code count more than others:
 *
 * - `query`: what the queries of the videos' questions ask of the keys' channels
 */
export const SPAN_WEIGHTINGS = ["none", "query"] as const;

/** One of {@linkcode SPAN_WEIGHTINGS}. */
export type SpanWeighting = (typeof SPAN_WEIGHTINGS)[number];

/**
 * Reads videos, and gives every layer's keys and values of their visual tokens.
 *
 * @param onProgress Called with the share of the videos that are read.
 */
export async function spanSamples(
  host: VisionHost,
  device: GPUDevice,
  { text: { config } }: VisionModel,
  videos: readonly Video[],
  weighting: SpanWeighting,
  onProgress: (fraction: number) => void = () => {},
): Promise<CalibrationSamples[]> {
  const { queryHeads, keyValueHeads, headDim, layers } = config;
  const parts = Array.from({ length: layers }, () => ({
    keys: [] as Float32Array[],
    values: [] as Float32Array[],
    queries: [] as Float32Array[],
  }));
  for (const [i, { pixels, questions }] of videos.entries()) {
    const seen = await host.read(pixels);
    for (const [layer, buffers] of seen.layers.entries()) {
      for (const side of SIDES) {
        parts[layer]![side].push(new Float32Array(await readBuffer(device, buffers[side])));
      }
    }
    if (weighting === "query") {
      const queries = await host.queries(seen, questionTokens(questions));
      parts.forEach((part, layer) => part.queries.push(queries[layer]!));
    }
    host.forget(seen);
    onProgress((i + 1) / videos.length);
  }
  return parts.flatMap((part, layer) =>
    SIDES.map((side) => {
      const common = { layer, side, keyValueHeads, headDim, values: joinFloats(part[side]) };
      if (side === "values" || weighting === "none") return common;
      const queries = joinFloats(part.queries);
      // Every query sees all visual tokens, so all count alike: each is a sequence of its own.
      const lengths = new Array<number>(queries.length / (queryHeads * headDim)).fill(1);
      return {
        ...common,
        scale: queryScale({ queries, queryHeads, keyValueHeads, headDim, lengths }),
      };
    })
  );
}
