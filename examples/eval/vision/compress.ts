/** What methods do to a video. */
import { protectedTokens, type Sequence } from "@couplet/kv";
import { readBuffer } from "../../../tools/read_buffer.ts";
import { embedTokens } from "../../engine/reference.ts";
import type { SeenVideo, SpanPart, VisionHost } from "../../vision/host.ts";
import { embedVideo } from "../../vision/projector.ts";
import type { Video } from "../../vision/videos.ts";
import type { VisionModel } from "../../vision/vision_model.ts";
import { spanName, type VisionMethod } from "./methods.ts";
import type { HeadVectors, LiteralCodec } from "./literal_codecs.ts";

/** A video that was read, and all that methods need to know of it. */
export interface EvaluatedVideo {
  readonly host: VisionHost;
  readonly device: GPUDevice;
  readonly model: VisionModel;
  readonly video: Video;
  readonly seen: SeenVideo;
  /** Part of its tokens that methods of two pairs protect. */
  readonly protect: number;
}

/** A sequence that sees a video as a method makes it. */
export interface TreatedVideo {
  readonly sequence: Sequence;
  /** Tokens of each of its parts. */
  readonly parts: readonly number[];
}

/** Makes of a video what a method, the one of that index, makes of it. */
export async function treat(
  evaluated: EvaluatedVideo,
  { treatment }: VisionMethod,
  index: number,
): Promise<TreatedVideo> {
  const { host, seen } = evaluated;
  const whole = [seen.tokens];
  switch (treatment.kind) {
    case "hidden":
      return { sequence: host.compress(seen, []), parts: whole };
    case "literal": {
      const layers = await literalLayers(evaluated, treatment.codec);
      return { sequence: host.substitute(seen, layers), parts: whole };
    }
    case "span": {
      const parts = spanParts(evaluated, treatment.schemes.length, index);
      return {
        sequence: host.compress(seen, parts),
        parts: parts.map(({ indices }) => indices?.length ?? seen.tokens),
      };
    }
  }
}

/** The tokens of each of a method's spans: all, or those that are protected and the others. */
function spanParts(
  { model, video, protect }: EvaluatedVideo,
  parts: number,
  method: number,
): SpanPart[] {
  if (parts === 1) return [{ name: spanName(method, 0) }];
  const selection = protectedTokens({
    visual: embedVideo(model, video.pixels),
    text: embedTokens(model.text, video.questions.flatMap(({ tokenIds }) => tokenIds)),
    width: model.text.config.hiddenSize,
    share: protect,
  });
  return [selection.protected, selection.others].flatMap((indices, part) =>
    indices.length === 0 ? [] : [{ name: spanName(method, part), indices }]
  );
}

/** A video's keys and values, coded and decoded on the CPU. */
async function literalLayers({ device, seen, model }: EvaluatedVideo, codec: LiteralCodec) {
  const { keyValueHeads, headDim } = model.text.config;
  return await Promise.all(seen.layers.map(async ({ keys, values }) => {
    const read = async (buffer: GPUBuffer) =>
      headsOf(new Float32Array(await readBuffer(device, buffer)), keyValueHeads, headDim);
    return {
      keys: tokensOf(codec.keys(await read(keys))),
      values: tokensOf(codec.values(await read(values))),
    };
  }));
}

/** `[tokens][heads][headDim]` as `[heads][tokens]` vectors. */
function headsOf(vectors: Float32Array, count: number, headDim: number): HeadVectors {
  const tokens = vectors.length / (count * headDim);
  return Array.from({ length: count }, (_, head) =>
    Array.from({ length: tokens }, (_, token) => {
      const start = (token * count + head) * headDim;
      return new Float64Array(vectors.subarray(start, start + headDim));
    }));
}

/** The inverse of {@linkcode headsOf}. */
function tokensOf(heads: HeadVectors): Float32Array<ArrayBuffer> {
  return Float32Array.from(
    heads[0]!.flatMap((_, token) => heads.flatMap((head) => [...head[token]!])),
  );
}
